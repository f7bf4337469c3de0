// The maps of the kernel and of the package: every module is on its map, and what a map names exists.
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";

const root = fileURLToPath(new URL("../..", import.meta.url));

/** The modules below a folder, by their paths without extension. */
function modulesIn(folder: string, extension: RegExp): string[] {
  return readdirSync(`${root}${folder}`, { recursive: true, encoding: "utf8" })
    .map((path) => path.replaceAll("\\", "/"))
    .filter((path) => extension.test(path))
    .map((path) => path.replace(extension, ""))
    .sort();
}

describe("packages/xent/src/index.ts", () => {
  const [, map = ""] = readFileSync(`${root}packages/xent/src/index.ts`, "utf8").split("// The modules.");
  const lines = map.slice(0, map.indexOf("\n\n")).split("\n//   ").slice(1);
  const modules = modulesIn("packages/xent/src", /(\.d)?\.ts$/).filter((path) => !/^(index$|generated\/)/.test(path));

  test("names every module", () => {
    const named = new Set(lines.flatMap((line) => line.match(/[\w-]+(\/[\w-]+)?/g) ?? []));
    expect(modules.filter((module) => !named.has(module))).toEqual([]);
  });

  test("names no module that does not exist", () => {
    const named = lines.filter((line) => /^\w/.test(line)).map((line) => /^[\w/-]+/.exec(line)?.[0]);
    expect(named.length).toBeGreaterThan(20);
    expect(named.filter((name) => !modules.includes(name as string))).toEqual([]);
  });
});

describe("crates/kernel/src/lib.rs", () => {
  const text = readFileSync(`${root}crates/kernel/src/lib.rs`, "utf8");
  const map = /^\/\/! # Map$([\s\S]*?)^\/\/! # /m.exec(text)?.[1] ?? "";

  test("names every module", () => {
    const named = new Set(Array.from(map.matchAll(/\[`(?:mod@)?(\w+)`\]/g), ([, name]) => name));
    const modules = modulesIn("crates/kernel/src", /\.rs$/).filter((path) => path !== "lib" && !path.includes("/"));
    expect(modules.length).toBeGreaterThan(10);
    expect(modules.filter((module) => !named.has(module))).toEqual([]);
  });
});

test("the comments of the kernel name only files that exist", () => {
  const kernel = `${root}crates/kernel/`;
  const folders = ["", "src/", "tests/", "tests/common/", "tests/common/any/", "examples/"];
  const inside = readdirSync(`${kernel}src`, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map(({ name }) => `src/${name}/`);
  const dead = modulesIn("crates/kernel", /\.rs$/).flatMap((path) =>
    [...readFileSync(`${kernel}${path}.rs`, "utf8").matchAll(/\/\/.*?\b([\w/]+\.rs)\b/g)]
      .map(([, name]) => name as string)
      .filter((name) => !name.startsWith("crates/") || !existsSync(`${root}${name}`))
      .filter((name) => ![...folders, ...inside].some((folder) => existsSync(`${kernel}${folder}${name}`)))
      .map((name) => `${path}.rs: ${name}`),
  );
  expect(dead).toEqual([]);
});
