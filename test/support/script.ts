import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "vitest";

const xent = new URL("../../packages/xent/dist/index.js", import.meta.url).href;

/** The JSON that a script with `xent` prints in a process of its own. */
export function printed([name = "", ...args]: readonly string[], script: string): unknown {
  const folder = mkdtempSync(join(tmpdir(), "xent-script-"));
  try {
    const file = join(folder, "script.mjs");
    writeFileSync(file, `import * as xent from ${JSON.stringify(xent)};${script}`);
    const { status, stdout, stderr, error } = spawnSync(name, [...args, file], { encoding: "utf8", timeout: 60_000 });
    if (error) throw error;
    expect(status, stderr).toBe(0);
    return JSON.parse(stdout);
  } finally {
    rmSync(folder, { recursive: true });
  }
}
