// The tarball before the linters of packages, and the sources before JSR's.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { engines } from "../runtimes/engines.ts";
import { output, type PackedProject, packedProject } from "../support/packed.ts";

const core = fileURLToPath(new URL("../../packages/xent", import.meta.url));
const tools = fileURLToPath(new URL("node_modules/.bin", import.meta.url));
const manifest = JSON.parse(readFileSync(join(core, "package.json"), "utf8")) as {
  version: string;
  exports: Record<string, unknown>;
};
let project: PackedProject;
let tarball: string;

beforeAll(() => {
  project = packedProject();
  tarball = join(project.folder, `xent-${manifest.version}.tgz`);
}, 60_000);

afterAll(() => project.remove());

describe("the tarball", () => {
  test("passes publint, suggestions included", () => {
    output(join(tools, "publint"), ["--strict", tarball], core);
  });

  // Which is not asked about data: what an import of wasm gives is another thing in every bundler.
  test("passes attw for every kind of resolver, as an ES module and as CommonJS", () => {
    const data = Object.keys(manifest.exports).filter((name) => name.endsWith(".wasm"));
    output(join(tools, "attw"), [tarball, "--exclude-entrypoints", ...data], core);
  });
});

describe("the sources", () => {
  test("are for JSR what the tarball is for npm: the same version, and the same code", () => {
    const code = Object.keys(manifest.exports).filter((name) => !/\.(wasm|json)$/.test(name));
    const jsr = JSON.parse(readFileSync(join(core, "jsr.json"), "utf8"));
    expect(jsr.version).toBe(manifest.version);
    expect(jsr.exports).toEqual({
      ".": "./src/index.ts",
      "./linear": "./src/linear/index.ts",
      "./worker": "./src/pool/worker.ts",
    });
    expect(Object.keys(jsr.exports)).toEqual(code);
  });

  const deno = engines.find(({ name, installed }) => installed && name === "Deno");
  test.runIf(deno)("are what JSR takes, types and all", () => {
    vi.stubEnv("DENO_DIR", join(project.folder, ".deno"));
    output(deno?.command as string, ["publish", "--dry-run", "--allow-dirty"], core);
  });
});
