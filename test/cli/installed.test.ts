// The command as users install it: packed, installed into an empty project, and printing what the docs show.
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { zipSync } from "fflate";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { npy } from "../support/array-files.ts";
import { blocksRunBy } from "../support/blocks.ts";
import { binary, xentProcess } from "../support/cli.ts";
import { output } from "../support/packed.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));
const data = join(root, "packages/examples/data");

/** Folders of all dependencies of a package, where npm has hoisted them. */
function dependenciesOf(folder: string): string[] {
  const { dependencies = {} } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
  return Object.keys(dependencies).flatMap((name) => {
    const found = join(root, "node_modules", name);
    return [found, ...dependenciesOf(found)];
  });
}

describe("an installed package", () => {
  const project = mkdtempSync(join(tmpdir(), "xent-cli-"));
  const cli = join(root, "packages/cli");
  let files: string[] = [];

  beforeAll(() => {
    // All of them are tarballs, so npm needs no registry and no cache.
    const folders = [...new Set([cli, ...dependenciesOf(cli)])];
    const pack = ["pack", "--json", "--ignore-scripts", "--pack-destination", project, ...folders];
    const packed = JSON.parse(output("npm", pack, root)) as { filename: string; files: { path: string }[] }[];
    files = packed[0]?.files.map(({ path }) => path) ?? [];
    writeFileSync(join(project, "package.json"), JSON.stringify({ name: "project", private: true }));
    const tarballs = packed.map(({ filename }) => `./${filename}`);
    output("npm", ["install", "--offline", "--ignore-scripts", "--no-audit", "--no-fund", ...tarballs], project);
  }, 120_000);
  afterAll(() => rmSync(project, { recursive: true, force: true }));

  test("contains the files that run, and no others", () => {
    const known = /^(package\.json|README\.md|LICENSE-\w+|dist\/[\w-]+\.js)$/;
    expect(files.filter((path) => !known.test(path))).toEqual([]);
    expect(files).toContain("dist/main.js");
  });

  test("is run by npx, and computes", () => {
    const { version } = JSON.parse(readFileSync(join(cli, "package.json"), "utf8"));
    expect(output("npm", ["exec", "--offline", "--", "xent", "--version"], project)).toBe(`${version}\n`);
    // npm starts slowly, and has only to find the command.
    const xent = (...args: string[]): string => output(join(project, "node_modules/.bin/xent"), args, project);
    expect(xent("explain", "2", "-5", "0.5", "-0.1", "--label", "0")).toContain("0.2975");
    writeFileSync(join(project, "logits.f32"), Buffer.alloc(4 * 4 * 3));
    writeFileSync(join(project, "labels.txt"), "0 1 2");
    const evaluate = ["evaluate", "--logits", "logits.f32", "--classes", "4", "--labels", "labels.txt", "--json"];
    expect(JSON.parse(xent(...evaluate)).mean).toBe(Math.fround(Math.log(4)));
  });
});

const runtimes = join(root, "test/runtimes/node_modules");

describe.each([
  ["Deno", join(runtimes, "@deno/linux-x64-glibc/deno"), ["run", "--allow-all"]],
  ["Bun", join(runtimes, "@oven/bun-linux-x64/bin/bun"), []],
])("in %s", (_, engine, flags) => {
  const inEngine = (...args: string[]): string => output(engine, [...flags, binary, ...args], data);

  test.skipIf(!existsSync(engine))("the command gives the same results: simd128 has the same bits", () => {
    const logits = new Float32Array(12 * 1000).map((_, i) => (i % 7) + (i % 11));
    const files = zipSync({
      "logits.npy": npy("float32", [12, 1000], logits),
      "labels.npy": npy(
        "int64",
        [12],
        BigInt64Array.from({ length: 12 }, (_, row) => BigInt(40 * row)),
      ),
    });
    const folder = mkdtempSync(join(tmpdir(), "xent-cli-"));
    const file = join(folder, "both.npz");
    writeFileSync(file, files);
    for (const args of [
      ["explain", "20", "0", "-1", "--label", "0"],
      ["evaluate", "--logits", file, "--labels", file, "--batch-rows", "5"],
    ]) {
      const { seconds, ...there } = JSON.parse(inEngine(...args, "--variant", "simd128", "--json"));
      const { seconds: _, ...here } = JSON.parse(xentProcess([...args, "--variant", "simd128", "--json"]).stdout);
      expect(there).toEqual(here);
    }
    rmSync(folder, { recursive: true });
  });
});

describe("the docs", () => {
  const shown = blocksRunBy("console").flatMap(({ file, line, code }) =>
    Array.from(code.matchAll(/^\$ xent (.*)\n((?:(?!\$ ).*\n)*)/gm), ([, command = "", printed = ""]) => {
      return { file, line, command, printed };
    }),
  );
  /** Without the time and the number of threads, which differ from run to run. */
  const lasting = (printed: string): string => printed.replace(/^time .*$/m, "").replace(/threads: \d+$/m, "");

  test("show both commands", () => {
    expect(shown.map(({ command }) => command.split(" ")[0])).toEqual(["explain", "evaluate"]);
  });

  test.each(shown)("show the output of xent $command ($file:$line)", ({ command, printed }) => {
    const { stdout } = xentProcess([...command.split(" "), "--variant", "simd128"], { cwd: data });
    expect(lasting(stdout)).toBe(lasting(printed));
  });
});
