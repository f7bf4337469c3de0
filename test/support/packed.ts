import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect } from "vitest";

/** What a command prints; it has to succeed. */
export function output(command: string, args: string[], cwd: string): string {
  const { error, status, stdout, stderr } = spawnSync(command, args, { cwd, encoding: "utf8" });
  if (error) throw error;
  expect(status, `${command} ${args.join(" ")}:\n${stdout}${stderr}`).toBe(0);
  return stdout;
}

/** A project of its own, with nothing in it but the package as its users get it: packed and installed. */
export interface PackedProject {
  readonly folder: string;
  /** What the tarball contains. */
  readonly files: string[];
  write(name: string, content: string): void;
  remove(): void;
}

export function packedProject(): PackedProject {
  const folder = mkdtempSync(join(tmpdir(), "xent-"));
  const write = (name: string, content: string): void => writeFileSync(join(folder, name), content);
  const core = fileURLToPath(new URL("../../packages/xent", import.meta.url));
  const pack = ["pack", "--json", "--ignore-scripts", "--pack-destination", folder];
  const [packed] = JSON.parse(output("npm", pack, core)) as [{ filename: string; files: { path: string }[] }];
  write("package.json", JSON.stringify({ name: "project", private: true, type: "module" }));
  output("npm", ["install", "--offline", "--ignore-scripts", "--no-audit", "--no-fund", packed.filename], folder);
  return {
    folder,
    files: packed.files.map(({ path }) => path),
    write,
    remove: () => rmSync(folder, { recursive: true, force: true }),
  };
}
