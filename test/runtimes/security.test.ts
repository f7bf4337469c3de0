// xent evaluates no strings and uses no files, network, processes or environment. package.test.ts checks that it has no dependencies,
// runtimes.test.ts that Deno runs it without permissions.
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { output } from "../support/packed.ts";
import { engines } from "./engines.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));
const dist = join(root, "packages/xent/dist");

describe("a job uses only WebAssembly, also with threads,", () => {
  const installed = engines.filter(({ name, installed }) => name.startsWith("Node.js") && installed);

  test.each(installed)("in $name, with evaluation of strings disallowed", ({ command }) => {
    const printed = output(command, ["--disallow-code-generation-from-strings", "test/support/trapped.mjs"], root);
    const { threads, losses, seen, control } = JSON.parse(printed);
    expect(seen).toEqual([]);
    expect(control).toEqual([
      "fs.readFileSync()",
      "globalThis.fetch()",
      "globalThis.eval()",
      "net.Socket made",
      "process.env.HOME",
    ]);
    expect(threads).toBe(2);
    // A thousand rows of a hundred equal logits, and the first row by the formula.
    for (const loss of losses.slice(1)) expect(loss).toBeCloseTo(1000 * Math.log(100), 2);
    expect(losses).toHaveLength(5);
  });

  test.each(installed.filter(({ name }) => /2[46]$/.test(name)))(
    "in $name, with permission to read only its own files",
    ({ command }) => {
      const program =
        'import { sparseSoftmaxCrossEntropyWithLogits } from "xent"; console.log(sparseSoftmaxCrossEntropyWithLogits([[0, -Infinity]], [0]).loss[0]);';
      const permissions = ["--permission", `--allow-fs-read=${root}`];
      expect(output(command, [...permissions, "--input-type=module", "--eval", program], root)).toBe("0\n");
    },
  );
});

test("the sources name none of these interfaces", () => {
  const scripts = readdirSync(dist).filter((file) => /\.c?js$/.test(file));
  expect(scripts).toContain("index.js");
  const forbidden =
    /\beval\(|\bFunction\(|\bimport\(|\brequire\(|\bfetch\(|XMLHttpRequest|WebSocket|importScripts|sendBeacon|document\.|localStorage|indexedDB|node:(?!(os|worker_threads)\\?")|process\.(?!getBuiltinModule)/;
  for (const file of scripts) {
    const code = readFileSync(join(dist, file), "utf8").replace(/\/\*[\s\S]*?\*\/|^\s*\/\/.*$/gm, "");
    expect(forbidden.exec(code)?.[0], file).toBeUndefined();
  }
});
