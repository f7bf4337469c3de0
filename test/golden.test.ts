// What TensorFlow, PyTorch, optax, Keras and ONNX should return (50-digit arithmetic), on every variant, in both forms.
import { afterAll, describe, expect, test } from "vitest";
import { createXentSync, type LossOptions, type LossResult } from "xent";
import { checksum, type Generator, type GoldenCase, generate, goldenCases, readGolden } from "./support/golden.ts";
import { ulp } from "./support/ulp.ts";
import { variants } from "./support/variants.ts";

const SUPPORTED = ["reduction", "ignoreIndex"];

function isSupported(golden: GoldenCase): boolean {
  return (
    golden.dtype === "float32" &&
    golden.labels !== undefined &&
    golden.shape.length === 2 &&
    Object.keys(golden.options).every((name) => SUPPORTED.includes(name))
  );
}

interface Expected {
  classes: number;
  loss: number[];
  logSumExp?: number[];
  gradient?: number[];
  gradientSamples?: [number, number][];
  gradientChecks?: { sumAbs: number; sumSquares: number; weighted: number };
  predictions?: (number | null)[];
  lossOverflowsFloat32?: boolean;
  reduced: { sum: number; mean?: number; normalizer?: number };
}

function expectResult(result: LossResult, expected: Expected): void {
  const { classes } = expected;
  const [lossBound, gradientBound] = classes < 16 ? [4, 5] : [2, 3];
  expect(result.loss.length).toBe(expected.loss.length);
  for (const [row, exact] of expected.loss.entries()) {
    expect(ulp(result.loss[row] as number, exact), `loss of row ${row}: ${result.loss[row]}, exact ${exact}`).toBeLessThanOrEqual(lossBound);
  }
  for (const [row, exact] of (expected.logSumExp ?? []).entries()) {
    const got = result.logSumExp[row] as number;
    const error = Number.isFinite(exact) ? Math.abs(got - exact) / Math.max(1, Math.abs(exact)) : ulp(got, exact);
    expect(error, `log-sum-exp of row ${row}: ${got}, exact ${exact}`).toBeLessThan(2.5e-7);
  }
  const gradient = result.gradient as Float32Array;
  const entries = expected.gradient?.entries() ?? expected.gradientSamples ?? [];
  for (const [at, exact] of entries) {
    expect(ulp(gradient[at] as number, exact), `gradient at ${at}: ${gradient[at]}, exact ${exact}`).toBeLessThanOrEqual(gradientBound);
  }
  if (expected.gradientChecks) {
    const { sumAbs, sumSquares, weighted } = expected.gradientChecks;
    const sums = [0, 0, 0] as [number, number, number];
    for (const [i, g] of gradient.entries()) {
      sums[0] += Math.abs(g);
      sums[1] += g * g;
      sums[2] += g * ((i % 13) - 6);
    }
    expect(Math.abs(sums[0] - sumAbs)).toBeLessThanOrEqual(2e-7 * sumAbs);
    expect(Math.abs(sums[1] - sumSquares)).toBeLessThanOrEqual(4e-7 * sumSquares);
    expect(Math.abs(sums[2] - weighted)).toBeLessThanOrEqual(1e-6 * sumAbs);
  }
  for (const [row, exact] of (expected.predictions ?? []).entries()) {
    const undefinedRow = Number.isNaN(expected.logSumExp?.[row]);
    if (exact !== null || undefinedRow) expect(result.predictions?.[row], `prediction of row ${row}`).toBe(exact ?? -1);
  }
  for (const [name, exact] of Object.entries(expected.reduced)) {
    const got = result[name as "sum" | "mean" | "normalizer"];
    if (expected.lossOverflowsFloat32 && name !== "normalizer") expect(got, name).toBe(Infinity);
    else if (Number.isFinite(exact)) expect(Math.abs(got - exact), name).toBeLessThanOrEqual(3e-6 * Math.max(1e-30, Math.abs(exact)));
    else expect(got, name).toBe(exact);
  }
}

describe.each(variants)("%s", (variant) => {
  const xent = createXentSync({ variant });
  afterAll(() => xent.dispose());

  function inBothForms(logits: Float32Array, labels: Int32Array, options: LossOptions, expected: Expected): void {
    const all: LossOptions = { ...options, gradient: true, predictions: true };
    expectResult(xent.sparseSoftmaxCrossEntropyWithLogits(logits, labels, all), expected);
    for (const gradient of [true, "in-place"] as const) {
      using batch = xent.createBatch({ rows: labels.length, classes: expected.classes, gradient });
      batch.logits.set(logits);
      batch.labels.set(labels);
      expectResult(batch.run(all), expected);
    }
  }

  for (const file of ["named", "numerics"]) {
    const cases = goldenCases(file).filter(isSupported);
    test(`${file}.json has cases for this test`, () => expect(cases.length).toBeGreaterThan(20));
    test.each(cases.map((golden) => [golden.name, golden] as const))(`${file}: %s`, (_, golden) => {
      const classes = golden.shape[1] as number;
      if (golden.shape[0] === 0) return;
      const labels = Int32Array.from(golden.labels as number[]);
      const options = { ...golden.options, reduction: golden.gradientOf } as LossOptions;
      inBothForms(Float32Array.from(golden.logits), labels, options, { ...golden, classes });
    });
  }

  const generated = readGolden("generated").cases.filter((entry) =>
    Object.keys(entry.options).every((name) => SUPPORTED.includes(name)),
  );
  test.each(generated.map((entry) => [entry.name, entry] as const))("generated: %s", (_, entry) => {
    const options = entry.options as LossOptions;
    const { labels, logits } = generate(entry.generator as Generator, options.ignoreIndex);
    expect([checksum(logits), checksum(labels)]).toEqual([entry.logitsChecksum, entry.labelsChecksum]);
    const { classes } = entry.generator as Generator;
    const samples = (entry.gradientSamples ?? []).map(
      ([row, column, value]): [number, number] => [row * classes + column, value],
    );
    const own = (entry.labelGradient ?? []).map((value, row): [number, number] => [
      row * classes + Math.max(0, labels[row] as number),
      value,
    ]);
    const counted = own.filter((_, row) => labels[row] !== options.ignoreIndex);
    const expected = { ...(entry as unknown as Expected), classes, gradientSamples: [...samples, ...counted] };
    inBothForms(logits, labels, { ...options, reduction: entry.gradientOf ?? "sum" }, expected);
  });
});
