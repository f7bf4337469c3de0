// What TensorFlow, PyTorch, optax, Keras and ONNX should return (50-digit arithmetic), on every variant, in both forms.
import { afterAll, describe, expect, test } from "vitest";
import { createXentSync, type LossOptions, type Xent } from "xent";
import { type Expected, expectResult, typedLogits } from "../support/expected.ts";
import { checksum, type Generator, type GoldenCase, generate, goldenCases, readGolden } from "../support/golden.ts";
import { variants } from "../support/variants.ts";

/** The common result of one call and of batches with a separate and an in-place gradient. */
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
    test(`${file}.json has more than 70 cases`, () => expect(cases.length).toBeGreaterThan(70));
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
