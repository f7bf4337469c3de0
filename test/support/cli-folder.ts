import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeEach } from "vitest";
import { npy } from "./array-files.ts";
import { type Ended, overriding, xentCommand } from "./cli.ts";
import { writeNew } from "./write.ts";

/** Three rows of four classes, as a file. */
export const logits: Buffer = npy(
  "float32",
  [3, 4],
  Float32Array.from({ length: 12 }, (_, i) => i),
);

/** A folder for a suite, in which each test has {@link logits} in logits.npy and labels in labels.txt, and functions to use it. */
export function cliFolder(name: string) {
  const folder = mkdtempSync(join(tmpdir(), `xent-${name}-`));
  const path = (file: string): string => join(folder, file);
  const write = (file: string, content: string | Uint8Array): void => writeNew(path(file), content);
  const run = (...args: string[]): Ended => xentCommand(args, { cwd: folder });
  const evaluate = (...args: string[]): Ended =>
    run(...overriding(["evaluate", "--threads", "1", "--logits", "logits.npy", "--labels", "labels.txt", ...args]));
  beforeEach(() => {
    write("logits.npy", logits);
    write("labels.txt", "0 1 2");
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  return { folder, path, write, run, evaluate };
}
