// Layers of xent/linear without gradients, whose logits are computed in tiles of 8192 classes.
import { describe, expect, test } from "vitest";
import { createXent, createXentSync } from "xent";
import { bytesOf, createLinear, type LinearOptions, type LinearTargets } from "xent/linear";
import { bitsOf } from "../support/example.ts";
import { assertExact, example, IGNORED } from "../support/linear.ts";
import { thrown } from "../support/thrown.ts";
import { variants } from "../support/variants.ts";

const KINDS: [string, LinearTargets][] = [
  ["labels", false],
  ["soft targets", true],
  ["other logits", "logits"],
  ["another layer", { features: 4, weight: "float16", bias: true }],
];
const rows = 6;
const weights = (classes: number): number[] => Array.from({ length: classes }, (_, j) => (j % 7) / 4);

describe.each(variants)("%s", (variant) => {
  test.each(KINDS)("losses with %s are within the bounds for any number of classes", (_, targets) => {
    using xent = createXentSync({ variant });
    for (const classes of [8193, 16_384, 20_000]) {
      const spec = { rows, features: 5, classes, bias: true, gradient: false, chunkRows: 4, targets };
      using layer = example(xent, spec, classes);
      assertExact(layer, spec, { temperature: 1.5 });
    }
  });

  test.each<[string, LinearTargets, LinearOptions]>([
    ["labels, smoothed", false, { labelSmoothing: 0.1, zLoss: 0.01, classWeights: weights(17_000) }],
    ["labels with a softcap", false, { softcap: 3, temperature: 0.5, sampleWeights: [0, 1, 2, 3, 0.5, 1] }],
    ["soft targets", true, { labelSmoothing: 0.1, zLoss: 0.01, softcap: 4, classWeights: weights(17_000) }],
    ["other logits", "logits", { temperature: 3, mask: [true, true, false, true, true, true] }],
  ])("losses with options are within the bounds: %s", (_, targets, options) => {
    using xent = createXentSync({ variant });
    const spec = { rows, features: 5, classes: 17_000, gradient: false, targets, weight: "bfloat16" as const };
    using layer = example(xent, spec);
    assertExact(layer, spec, options);
  });

  test.each(KINDS)("predictions, counts and means with %s agree with those of a layer with gradients", (_, targets) => {
    using xent = createXentSync({ variant });
    const spec = { rows: 60, features: 5, classes: 17_000, bias: true, targets };
    const [tiled, whole] = [example(xent, { ...spec, gradient: false }), example(xent, spec)];
    if (targets === false) for (const layer of [tiled, whole]) layer.labels[3] = IGNORED;
    const options = targets === false ? { predictions: true, ignoreIndex: IGNORED } : { predictions: true };
    const [a, b] = [tiled.run(options), whole.run(options)];
    expect(a.predictions).toEqual(b.predictions);
    expect([a.correct, a.count, a.normalizer]).toEqual([b.correct, b.count, b.normalizer]);
    expect(Object.keys(a).sort()).toEqual(Object.keys(b).sort());
    expect(Math.abs(a.mean / b.mean - 1)).toBeLessThan(1e-6);
  });
});

test.each(KINDS)(
  "runs with %s give the same bits with any number of threads, in run and in runAsync",
  async (_, targets) => {
    const spec = { rows: 90, features: 40, classes: 20_000, gradient: false, chunkRows: 50, targets };
    const options = { predictions: true, reduction: "mean" } as const;
    using alone = createXentSync();
    const expected = bitsOf(example(alone, spec).run(options) as never);
    using xent = await createXent({ threads: 3 });
    using layer = example(xent, spec);
    expect(bitsOf(layer.run(options) as never)).toEqual(expected);
    expect(bitsOf((await layer.runAsync(options)) as never)).toEqual(expected);
  },
);

test("rows with NaN, with Infinity and with an invalid label agree with those of a layer with gradients", () => {
  using xent = createXentSync();
  const spec = { rows, features: 5, classes: 17_000, bias: true };
  const layers = [example(xent, { ...spec, gradient: false }), example(xent, spec)];
  const [a, b] = layers.map((layer) => {
    layer.features[3] = Number.NaN;
    layer.weight.fill(0, 16_400 * 5, 16_401 * 5);
    layer.features[5 + 2] = Infinity;
    layer.labels[2] = 17_000;
    // The bias is -Infinity in a whole tile, and nowhere +Infinity.
    (layer.bias as Float32Array).fill(-Infinity, 0, 8300);
    layer.labels.set([7, 16_300, 16_301], 3);
    return layer.run({ invalidLabels: "nan", predictions: true });
  });
  for (const row of [0, 1, 2]) expect(a?.loss[row]).toBeNaN();
  expect(a?.loss[3]).toBe(Infinity);
  for (const row of [4, 5]) expect(Math.abs((a?.loss[row] as number) - (b?.loss[row] as number))).toBeLessThan(1e-5);
  const special = (array: Float32Array | undefined) => Array.from(array ?? [], (x) => (Number.isFinite(x) ? 0 : x));
  expect(special(a?.loss)).toEqual(special(b?.loss));
  expect(special(a?.logSumExp)).toEqual(special(b?.logSumExp));
  expect(a?.predictions).toEqual(b?.predictions);
  layers[0]?.run({ invalidLabels: "nan" });
  expect(thrown(() => layers[0]?.run())).toMatch(/Received a label value of 17000 at row 2/);
});

test("without gradients, only the arrays grow with the number of classes", () => {
  const of = (classes: number, targets: LinearTargets): number => {
    const spec = { rows: 256, features: 64, classes, weight: "float16" as const, targets };
    const bytes = bytesOf(spec);
    const own = 4 * 256 * 64 + 2 * 64 * classes + (targets === false ? 0 : 4 * 256 * 8 + 2 * 8 * classes);
    return bytes - own;
  };
  for (const targets of [false, { features: 8, weight: "float16" } as const]) {
    // Both have two batches of at most 8192 classes, of which the second differs, and class weights of a tile.
    expect(of(151_936, targets)).toBeLessThan(of(16_383, targets) + 2 ** 16);
    expect(of(151_936, targets)).toBeLessThan((targets ? 32 : 16) * 2 ** 20 + 2 ** 22);
  }
  using xent = createXentSync();
  const spec = { rows: 256, features: 64, classes: 100_000 };
  const before = xent.memory.buffer.byteLength;
  using layer = createLinear(xent, spec);
  const bytes = bytesOf(spec);
  expect(Math.abs(xent.memory.buffer.byteLength - before - bytes)).toBeLessThanOrEqual(2 ** 17);
  expect(layer.run().mean).toBeCloseTo(Math.log(100_000), 5);
});
