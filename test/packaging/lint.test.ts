// The tarball passes the linters of packages, and the sources pass that of JSR.
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

  // Imports of wasm are excluded: every bundler gives something else.
  test("passes attw for every resolver, as an ES module and as CommonJS", () => {
    const data = Object.keys(manifest.exports).filter((name) => name.endsWith(".wasm"));
    output(join(tools, "attw"), [tarball, "--exclude-entrypoints", ...data], core);
  });
});

describe("the sources", () => {
  test("have the version and the exports of the tarball in jsr.json", () => {
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
  test.runIf(deno)("are accepted by JSR, with their types", () => {
    vi.stubEnv("DENO_DIR", join(project.folder, ".deno"));
    output(deno?.command as string, ["publish", "--dry-run", "--allow-dirty"], core);
  });
});
