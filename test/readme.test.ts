// What the README shows is what happens. (Its recipes: recipes.test.ts. Its programs for each runtime: runtimes.test.ts.)
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import * as xent from "xent";

const root = fileURLToPath(new URL("..", import.meta.url));
const readme = readFileSync(new URL("../README.md", import.meta.url), "utf8");

/** Code blocks of the sections that are not other suites' business. */
const blocks = readme
  .split(/^## /m)
  .filter((section) => !/^(Runtimes|Recipes)\n/.test(section))
  .flatMap((section) => [...section.matchAll(/^```(\w+)\n(.*?)^```$/gms)])
  .map(([, language, code]) => ({ language: language as string, code: code as string }));
const programs = blocks.filter(({ language }) => language === "js").map(({ code }) => code);
const packaged = readFileSync(new URL("../packages/xent/README.md", import.meta.url), "utf8").matchAll(
  /^```js\n(.*?)^```$/gms,
);

/** What the reader is to have. */
const READERS = `
  const modelOutput = new Float32Array(128 * 32000);
  const nextTokens = new Int32Array(128);
  const backward = (gradient) => console.log(gradient[0].toFixed(9), gradient[1].toFixed(12));`;

/** The output of a program whose statements \`value; // what it is\` print the value. */
function outputOf(program: string): string {
  const printing = program.replace(/^(\w+); \/\/ .*$/gm, "console.log($1);");
  const args = ["--input-type=module", "--eval", `${READERS}${printing}`];
  const { status, stdout, stderr } = spawnSync(process.execPath, args, { cwd: root, encoding: "utf8" });
  expect(status, stderr).toBe(0);
  return stdout;
}

test("the first program prints what is written behind its values", () => {
  const program = programs[0] as string;
  const shown = [...program.matchAll(/^\w+; \/\/ (.*)$/gm)].map(([, value]) => value as string);
  expect(shown).toHaveLength(2);
  const [loss, gradient] = outputOf(program).split(/(?<=\])\n/) as [string, string];
  for (const [printed, written] of [
    [loss, shown[0]],
    [gradient, shown[1]],
  ] as const) {
    const [kind, digits] = (written as string).split(" [ ") as [string, string];
    expect(printed.startsWith(`${kind}(`)).toBe(true);
    const numbers = digits.match(/-?\d+\.\d+(?=…)/g) ?? [];
    const values = printed.match(/-?\d+\.\d+(e-\d+)?/g) ?? [];
    expect(numbers.length).toBeGreaterThan(1);
    for (const [i, number] of numbers.entries()) {
      const places = 10 ** (number.split(".")[1]?.length ?? 0);
      expect(Math.trunc(Number(values[i]) * places) / places).toBe(Number(number));
    }
  }
});

test.each([...programs.slice(1), ...Array.from(packaged, ([, code]) => code as string)])(
  "this program runs: %#",
  (program) => {
    expect(program).toContain('from "xent"');
    // The mean of 128 rows whose 32,000 logits are equal: (1 / 32000 - 1) / 128 at the label, 1 / 32000 / 128 elsewhere.
    if (program.includes("backward(")) expect(outputOf(program)).toBe("-0.007812256 0.000000244141\n");
    else outputOf(program);
  },
);

test("every function that a signature names is exported", () => {
  const named = blocks
    .filter(({ language }) => language === "ts")
    .flatMap(({ code }) => [...code.matchAll(/(?:^|\s{2,})(\w+)\(/gm)])
    .map(([, name]) => name as string);
  expect(named.length).toBeGreaterThanOrEqual(4);
  for (const name of named) expect(xent).toHaveProperty(name);
});
