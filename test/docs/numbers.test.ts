// docs/what-it-computes.md and its German twin: every number in their tables, recomputed.
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { createXentSync } from "xent";
import { naiveLoss, stableLoss } from "../support/f32.ts";
import { exactRow } from "../support/oracle.ts";
import { mulberry32 } from "../support/random.mjs";

// The variant whose bits are the same on every engine.
const xent = createXentSync({ variant: "simd128" });

const texts = ["what-it-computes.md", "was-es-berechnet.md"].map((name) => ({
  name,
  text: readFileSync(new URL(`../../docs/${name}`, import.meta.url), "utf8"),
}));

/** The cells of a table below its head. */
function table(text: string, name: string): string[][] {
  const [, lines = ""] = new RegExp(`<!-- table: ${name} -->\\n\\n.*\\n.*\\n((?:\\|.*\\n)+)`).exec(text) ?? [];
  const rows = lines.trim().split("\n");
  return rows.map((row) => row.split("|").slice(1, -1)).map((cells) => cells.map((cell) => cell.trim()));
}

const exactLoss = (x: number[], y: number): number =>
  exactRow({ x: x.map(Math.fround), target: y, sampleWeight: 1 }, {}).loss;
const lossOf = (x: number[], y: number): number => xent.sparseSoftmaxCrossEntropyWithLogits([x], [y]).loss[0] as number;

function shown(value: number): string {
  if (Number.isNaN(value)) return "NaN";
  if (value === Infinity) return "∞";
  if (value === 0) return "0";
  return Math.abs(value) < 1e-3 ? value.toExponential(3) : value.toFixed(6);
}

/** Numbers in [0, 1). */
function random(seed: number): () => number {
  const next = mulberry32(seed);
  return () => next() / 2 ** 32;
}

const found = new Map<number, string[]>();

/** Of each way to compute a loss, in 4,000 rows. Both texts have the same. */
function largestDifferences(classes: number): string[] {
  const known = found.get(classes);
  if (known) return known;
  const next = random(classes);
  const worst = [0, 0, 0];
  for (let row = 0; row < 4000; row++) {
    const x = Array.from({ length: classes }, () => Math.fround(16 * next() - 8));
    const y = Math.floor(classes * next());
    const exact = exactLoss(x, y);
    for (const [i, loss] of [naiveLoss, stableLoss, lossOf].entries()) {
      worst[i] = Math.max(worst[i] as number, Math.abs(loss(x, y) - exact));
    }
  }
  const differences = worst.map((difference) => difference.toExponential(1));
  found.set(classes, differences);
  return differences;
}

describe.each(texts)("every number is right in docs/$name:", ({ text }) => {
  test("the steps", () => {
    const [x = [], ...steps] = table(text, "steps").map(([, ...cells]) => cells.filter(Boolean));
    const logits = x.map(Number);
    const shifted = logits.map((v) => v - Math.max(...logits));
    const terms = shifted.map(Math.exp);
    const sum = terms.reduce((total, term) => total + term, 0);
    const softmax = terms.map((term) => term / sum);
    const loss = Math.log(sum) - (shifted[0] as number);
    const gradient = softmax.map((p, j) => p - Number(j === 0));
    const short = (values: number[]): string[] => values.map((v) => String(Number(v.toFixed(6))));
    const long = (values: number[]): string[] => values.map((v) => (Number.isInteger(v) ? String(v) : v.toFixed(6)));
    expect(steps).toEqual([short(shifted), ...[terms, [sum], softmax, [loss], gradient].map(long)]);
    const kernel = xent.sparseSoftmaxCrossEntropyWithLogits([logits], [0], { gradient: true });
    expect(steps.slice(4)).toEqual([[...kernel.loss], [...(kernel.gradient ?? [])]].map(long));
  });

  test("the rows where the naive form fails", () => {
    const rows = table(text, "rows");
    expect(rows).toHaveLength(6);
    for (const [logits = "", label = "", ...losses] of rows) {
      const x = JSON.parse(logits.replaceAll("`", "")) as number[];
      const y = Number(label);
      expect(losses).toEqual([naiveLoss, stableLoss, lossOf, exactLoss].map((loss) => shown(loss(x, y))));
    }
  });

  test("the largest differences in random rows", () => {
    const rows = table(text, "random");
    expect(rows.map(([classes]) => classes)).toEqual(["2", "10", "100", "1000"]);
    for (const [classes, ...differences] of rows) expect(differences).toEqual(largestDifferences(Number(classes)));
  });
});

test("both languages have the same numbers", () => {
  const [english, german] = texts.map(({ text }) =>
    ["steps", "rows", "random"].map((name) => table(text, name).map((row) => row.slice(1))),
  );
  expect(german).toEqual(english);
});

test.each([
  "docs/what-it-computes.md",
  "docs/was-es-berechnet.md",
  "packages/playground/src/texts/en.ts",
  "packages/playground/src/texts/de.ts",
])("%s tells for which rows the difference is less than 2e-6", (name) => {
  const text = readFileSync(new URL(`../../${name}`, import.meta.url), "utf8").replace(/\s+/g, " ");
  expect(text).toMatch(/2e-6[^.]*\[-8, 8\][^.]* 100 (classes|Klassen)/);
});
