// What TensorFlow, PyTorch, optax, Keras and ONNX should return (50-digit arithmetic), on every variant, in both forms.
import { afterAll, describe, expect, test } from "vitest";
import { createXentSync, type LossOptions, type LossResult, type Xent } from "xent";
import { checksum, type Generator, type GoldenCase, generate, goldenCases, readGolden } from "./support/golden.ts";
import { bfloat16Bits, float16Bits } from "./support/half.ts";
import { ulp } from "./support/ulp.ts";
import { variants } from "./support/variants.ts";

type Expected = Pick<
  GoldenCase,
  "loss" | "logSumExp" | "gradient" | "gradientSamples" | "gradientChecks" | "predictions" | "reduced" | "dtype"
> & {
  classes: number;
  options: Record<string, unknown>;
  lossOverflowsFloat32?: boolean;
};

type Result = LossResult<Float32Array | Float64Array>;

/** Largest errors allowed, in ulp of float32: of a loss, of an entry of the gradient. */
function bounds({ options }: Expected): [number, number] {
  const plain = Object.keys(options).every((name) => ["reduction", "ignoreIndex", "axis"].includes(name));
  if (!plain) return [8, 32];
  return [2, 3];
}

function expectResult(result: Result, expected: Expected): void {
  const [lossBound, gradientBound] = bounds(expected);
  expect(result.loss.length).toBe(expected.loss.length);
  for (const [row, exact] of expected.loss.entries()) {
    const got = result.loss[row] as number;
    expect(ulp(got, exact), `loss of row ${row}: ${got}, exact ${exact}`).toBeLessThanOrEqual(lossBound);
  }
  for (const [row, exact] of (expected.logSumExp ?? []).entries()) {
    const got = result.logSumExp[row] as number;
    const representable = Math.abs(exact) < 2 ** 128;
    const error = representable ? Math.abs(got - exact) / Math.max(1, Math.abs(exact)) : ulp(got, exact);
    expect(error, `log-sum-exp of row ${row}: ${got}, exact ${exact}`).toBeLessThan(2.5e-7);
  }
  const gradient = result.gradient as Float32Array | Float64Array;
  // Targets take from p what p is: of a difference that vanishes, only the last place of its parts can be asked.
  const vanishing = expected.options["targets"] ? 3 * 2 ** -24 : 0;
  for (const [at, exact] of expected.gradient?.entries() ?? expected.gradientSamples ?? []) {
    const got = gradient[at] as number;
    if (Math.abs(got - exact) <= vanishing) continue;
    expect(ulp(got, exact), `gradient at ${at}: ${got}, exact ${exact}`).toBeLessThanOrEqual(gradientBound);
    if (expected.dtype === "float64" && exact !== 0 && Number.isFinite(exact)) {
      expect(Math.abs(got / exact - 1), `float64 gradient at ${at}`).toBeLessThan(1e-14);
    }
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
    else if (Number.isFinite(exact))
      expect(Math.abs(got - exact), name).toBeLessThanOrEqual(3e-6 * Math.max(1e-30, Math.abs(exact)));
    else expect(got, name).toBe(exact);
  }
}

function typedLogits({ dtype, logits }: GoldenCase): Float32Array | Float64Array | Uint16Array {
  if (dtype === "float32") return Float32Array.from(logits);
  if (dtype === "float64") return Float64Array.from(logits);
  return Uint16Array.from(logits, dtype === "float16" ? float16Bits : bfloat16Bits);
}

/** One call, and batches with the gradient apart and in place, all with the same result. */
function runInEveryForm(xent: Xent, golden: GoldenCase): void {
  const { dtype, shape, targets } = golden;
  const { axis = -1, ...rest } = golden.options as { axis?: number };
  const options: LossOptions = { ...rest, reduction: golden.gradientOf, gradient: true, predictions: true };
  const classes = shape.at(axis) as number;
  const expected = { ...golden, classes, options: { ...golden.options, ...(targets ? { targets } : {}) } };
  const logits = typedLogits(golden);
  const labels = Int32Array.from(golden.labels ?? []);
  const soft = targets && Float32Array.from(targets);

  const layout = { shape, axis };
  const bits = dtype === "float16" || dtype === "bfloat16" ? { logits: dtype } : {};
  const one = soft
    ? xent.softmaxCrossEntropyWithLogits(logits, soft, { ...options, ...layout, ...bits })
    : xent.sparseSoftmaxCrossEntropyWithLogits(logits, labels, { ...options, ...layout, ...bits });
  expectResult(one, expected);

  const forms = logits instanceof Uint16Array ? [true] : ([true, "in-place"] as const);
  for (const gradient of forms) {
    using batch = xent.createBatch({ ...layout, logits: dtype, gradient, targets: soft !== undefined });
    batch.logits.set(logits);
    if (soft) batch.targets?.set(soft);
    else batch.labels.set(labels);
    expectResult(batch.run(options), expected);
  }
}

describe.each(variants)("%s", (variant) => {
  const xent = createXentSync({ variant });
  afterAll(() => xent.dispose());

  for (const file of ["named", "numerics", "options"]) {
    const cases = goldenCases(file).filter((golden) => !golden.kerasProbabilities);
    test(`${file}.json has its cases`, () => expect(cases.length).toBeGreaterThan(70));
    test.each(cases.map((golden) => [golden.name, golden] as const))(`${file}: %s`, (_, golden) => {
      runInEveryForm(xent, golden);
    });
  }

  test.each(readGolden("generated").cases.map((entry) => [entry.name, entry] as const))("generated: %s", (_, entry) => {
    const { ignoreIndex } = entry.options as LossOptions;
    const generator = entry.generator as Generator;
    const { classes } = generator;
    const { labels, logits } = generate(generator, ignoreIndex);
    expect([checksum(logits), checksum(labels)]).toEqual([entry.logitsChecksum, entry.labelsChecksum]);
    const samples = (entry.gradientSamples ?? []).map(([row, column, value]): [number, number] => [
      row * classes + column,
      value,
    ]);
    const own = (entry.labelGradient ?? []).map((value, row): [number, number] => [
      row * classes + Math.max(0, labels[row] as number),
      value,
    ]);
    const counted = own.filter((_, row) => labels[row] !== ignoreIndex);
    const expected = {
      ...(entry as unknown as Expected),
      classes,
      dtype: "float32" as const,
      gradientSamples: [...samples, ...counted],
    };
    const options: LossOptions = {
      ...entry.options,
      reduction: entry.gradientOf ?? "sum",
      gradient: true,
      predictions: true,
    };
    expectResult(xent.sparseSoftmaxCrossEntropyWithLogits(logits, labels, options), expected);
    for (const gradient of [true, "in-place"] as const) {
      using batch = xent.createBatch({ rows: labels.length, classes, gradient });
      batch.logits.set(logits);
      batch.labels.set(labels);
      expectResult(batch.run(options), expected);
    }
  });
});
