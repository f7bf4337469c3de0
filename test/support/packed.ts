import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect } from "vitest";

/** The output of a command, which has to succeed. */
export function output(command: string, args: string[], cwd: string): string {
  const { error, status, stdout, stderr } = spawnSync(command, args, { cwd, encoding: "utf8" });
  if (error) throw error;
  expect(status, `${command} ${args.join(" ")}:\n${stdout}${stderr}`).toBe(0);
  return stdout;
}

/** A project with only the package in it, packed and installed as users get it. */
export interface PackedProject {
  readonly folder: string;
  /** The files of the tarball. */
  readonly files: string[];
  write(name: string, content: string): void;
  remove(): void;
}

export function packedProject(): PackedProject {
  const folder = mkdtempSync(join(tmpdir(), "xent-"));
  cpSync(installedOnce(), folder, { recursive: true });
  return {
    folder,
    files: JSON.parse(readFileSync(join(folder, LIST), "utf8")),
    write: (name, content) => writeFileSync(join(folder, name), content),
    remove: () => rmSync(folder, { recursive: true, force: true }),
  };
}

const core = fileURLToPath(new URL("../../packages/xent", import.meta.url));
const projects = fileURLToPath(new URL("../../.tools/packed", import.meta.url));
const LIST = "packed.json";

/** A project with the package. Suites share it until the package changes, for npm takes two seconds to install it. */
function installedOnce(): string {
  const digest = digestOf(core);
  const installed = join(projects, digest);
  if (existsSync(installed)) return installed;
  mkdirSync(projects, { recursive: true });
  for (const old of readdirSync(projects).filter((name) => !name.startsWith(digest)))
    rmSync(join(projects, old), { recursive: true, force: true });
  const folder = mkdtempSync(`${installed}-`);
  const pack = ["pack", "--json", "--ignore-scripts", "--pack-destination", folder];
  const [packed] = JSON.parse(output("npm", pack, core)) as [{ filename: string; files: { path: string }[] }];
  writeFileSync(join(folder, LIST), JSON.stringify(packed.files.map(({ path }) => path)));
  writeFileSync(join(folder, "package.json"), JSON.stringify({ name: "project", private: true, type: "module" }));
  output("npm", ["install", "--offline", "--ignore-scripts", "--no-audit", "--no-fund", packed.filename], folder);
  try {
    renameSync(folder, installed);
  } catch (error) {
    // Another suite was first.
    if (!existsSync(installed)) throw error;
    rmSync(folder, { recursive: true });
  }
  return installed;
}

function digestOf(folder: string): string {
  const hash = createHash("sha256");
  const files = readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map(({ parentPath, name }) => join(parentPath, name));
  for (const file of files.sort()) hash.update(file).update(readFileSync(file));
  return hash.digest("hex").slice(0, 16);
}
