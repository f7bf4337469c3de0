// Layers of xent/linear that are compared with soft targets, with other logits, or with another layer.
import { describe, expect, test } from "vitest";
import { createXent, createXentSync } from "xent";
import { createLinear, type Layer, type LinearOptions, type LinearTargets } from "xent/linear";
import { assertExact, everything, example, gathered } from "../support/linear.ts";
import { thrown } from "../support/thrown.ts";
import { variants } from "../support/variants.ts";

const KINDS: [string, LinearTargets][] = [
  ["soft targets", true],
  ["other logits", "logits"],
  ["a wider layer", { features: 23, bias: true }],
  ["a layer of 16 bits", { features: 5, weight: "bfloat16" }],
];

describe.each(variants)(
  "%s",
  (variant) => {
    test.each(KINDS)("loss and gradients with %s are within the bounds", (_, targets) => {
      using xent = createXentSync({ variant });
      for (const rows of [1, 4, 7]) {
        for (const features of [1, 9, 16]) {
          for (const classes of [1, 2, 5, 8, 67]) {
            const spec = { rows, features, classes, targets, bias: rows === 7 };
            using layer = example(xent, spec, rows * 100 + features);
            assertExact(layer, spec, { reduction: "mean" });
          }
        }
      }
    });

    test.each<[string, LinearTargets, LinearOptions]>([
      [
        "soft targets",
        true,
        { labelSmoothing: 0.1, zLoss: 0.01, temperature: 0.7, classWeights: [1, 2, 0.5, 1, 3, 1, 0] },
      ],
      ["soft targets", true, { softcap: 5, sampleWeights: [0, 1, 2, 3, 0.5, 1, 0, 1, 1, 1, 1], reduction: "mean" }],
      ["other logits", "logits", { temperature: 3, sampleWeights: [0, 1, 2, 3, 0.5, 1, 0, 1, 1, 1, 1] }],
      [
        "another layer",
        { features: 3 },
        {
          mask: [4, 5, 6].reduce((all, row) => all.with(row, false), Array<boolean>(11).fill(true)),
          reduction: "mean",
        },
      ],
    ])("%s take the options of a batch: %o, %o", (_, targets, options) => {
      using xent = createXentSync({ variant });
      const spec = { rows: 11, features: 6, classes: 7, chunkRows: 4, targets, bias: true };
      using layer = example(xent, spec);
      assertExact(layer, spec, options);
    });

    test.each(KINDS)("the gradient with %s is the one that finite differences give", (_, targets) => {
      using xent = createXentSync({ variant });
      using layer = example(xent, { rows: 12, features: 30, classes: 20, bias: true, targets });
      const options = { reduction: "mean", temperature: 1.3 } as const;
      const { temperatureGradient } = layer.run({ ...options, gradient: true });
      const step = 2 ** -6;
      for (const name of ["features", "weight", "bias"] as const) {
        const array = layer[name] as Float32Array;
        const gradient = (layer[`${name}Gradient`] as Float32Array).slice();
        for (const i of [0, 1, array.length - 1]) {
          const kept = array[i] as number;
          const at = (x: number): number => {
            array[i] = x;
            return layer.run(options).mean;
          };
          expect((at(kept + step) - at(kept - step)) / 2 / step).toBeCloseTo(gradient[i] as number, 4);
          array[i] = kept;
        }
      }
      // Target logits are divided by the temperature, too, and have no gradient.
      if (targets !== true) expect(temperatureGradient).toBeNaN();
      else {
        const at = (temperature: number): number => layer.run({ ...options, temperature }).mean;
        const little = step / 16;
        expect((at(1.3 + little) - at(1.3 - little)) / 2 / little).toBeCloseTo(temperatureGradient, 4);
      }
    });
  },
  120_000,
);

test.each(KINDS)("%s give the same bits with any number of threads, in run and in runAsync", async (_, targets) => {
  const spec = { rows: 150, features: 64, classes: 700, bias: true, chunkRows: 100, targets };
  const options = { gradient: true, predictions: true, reduction: "mean" } as const;
  using alone = createXentSync();
  const expected = everything(example(alone, spec));
  using xent = await createXent({ threads: 3 });
  using layer = example(xent, spec);
  expect(everything(layer)).toEqual(expected);
  layer.weightGradient?.fill(9);
  expect(gathered(layer, (await layer.runAsync(options)) as never)).toEqual(expected);
});

test("rows that a mask leaves out are not read, and do not count", () => {
  using xent = createXentSync();
  const spec = { rows: 6, features: 4, classes: 5, targets: { features: 3 }, chunkRows: 4 } as const;
  using layer = example(xent, spec);
  const before = layer.run({ gradient: true, reduction: "mean", mask: [true, false, true, true, false, true] });
  const gradient = layer.weightGradient?.slice();
  for (const row of [1, 4]) {
    layer.features.fill(Number.NaN, row * 4, (row + 1) * 4);
    layer.targetLayer.features.fill(Number.NaN, row * 3, (row + 1) * 3);
  }
  const after = layer.run({ gradient: true, reduction: "mean", mask: Uint8Array.of(1, 0, 1, 1, 0, 1) });
  expect(after).toEqual(before);
  expect(after.count).toBe(4);
  expect([after.loss[1], after.loss[4]]).toEqual([0, 0]);
  expect(layer.weightGradient).toEqual(gradient);
  expect(layer.featuresGradient?.slice(4, 8)).toEqual(new Float32Array(4));
});

test("a layer compared with itself has no divergence, and no gradient", () => {
  using xent = createXentSync();
  const spec = { rows: 3, features: 9, classes: 40, bias: true };
  using layer = example(xent, { ...spec, targets: { features: 9, bias: true } });
  const target: Layer = layer.targetLayer;
  target.setFeatures(layer.features);
  target.setWeight(layer.weight as Float32Array);
  target.setBias(layer.bias as Float32Array);
  expect([...layer.run({ gradient: true }).loss]).toEqual([0, 0, 0]);
  expect(new Set(layer.weightGradient)).toEqual(new Set([0]));
});

describe("errors", () => {
  const spec = { rows: 4, features: 3, classes: 5 };

  test.each<[object, RegExp]>([
    [
      { targets: "probabilities" },
      /RangeError: "targets" expected true, false, "logits" or the specification of a layer/,
    ],
    [{ targets: 1 }, /TypeError: "targets" expected true, false, "logits" or the specification of a layer, got 1/],
    [{ targets: { features: 0 } }, /RangeError: "targets.features" expected an integer from 1/],
    [{ targets: { features: 1, weight: "int8" } }, /RangeError: "targets.weight" expected "float32"/],
    [{ targets: { features: 1, bias: 1 } }, /TypeError: "targets.bias" expected true or false/],
    [{ targets: { features: 1, rows: 4 } }, /TypeError: "targets" has no option "rows"/],
    [{ targets: true, labels: "int32" }, /TypeError: "labels" expected a layer with labels: this one has targets/],
    [{ targets: "logits", shift: 1 }, /TypeError: "shift" expected a layer with labels/],
    [{ targets: true, sequence: 4 }, /TypeError: "sequence" expected a layer with labels/],
  ])("of the specification %o", (given, message) => {
    using xent = createXentSync();
    expect(thrown(() => createLinear(xent, { ...spec, ...given }))).toMatch(message);
  });

  test("of arrays that a layer does not have", () => {
    using xent = createXentSync();
    using labelled = createLinear(xent, spec);
    expect(labelled.targets).toBeUndefined();
    expect(labelled.targetLayer).toBeUndefined();
    expect(() => labelled.setTargets(new Float32Array(20))).toThrow("this layer has labels, and takes no targets");
    using soft = createLinear(xent, { ...spec, targets: true });
    expect(() => soft.labels).toThrow("this layer has soft targets, and no labels");
    expect(() => soft.setLabels([1])).toThrow("this layer has soft targets, and no labels");
    expect(() => soft.setTargets(new Float32Array(21))).toThrow(/"source" takes 21 elements, of which 20 are left/);
    expect(() => soft.setTargets(new Uint16Array(20) as never)).toThrow(/whose numbers are bits/);
    using other = createLinear(xent, { ...spec, targets: { features: 2 } });
    expect(() => other.labels).toThrow("this layer has target logits, and no labels");
    expect(() => other.setTargets([1])).toThrow("a layer for its targets: write to targetLayer");
    expect(() => other.targetLayer.setBias([1])).toThrow("this layer has no bias");
    expect(() => other.targetLayer.setFeatures(new Float32Array(9))).toThrow(/takes 9 elements, of which 8 are left/);
  });

  test("of options that have no meaning with targets", () => {
    using xent = createXentSync();
    using soft = createLinear(xent, { ...spec, targets: true });
    expect(() => soft.run({ ignoreIndex: 0 })).toThrow('"ignoreIndex" expected a layer with labels');
    expect(() => soft.run({ mask: [true, true, true, true] })).toThrow('"options" has no option "mask"');
    using logits = createLinear(xent, { ...spec, targets: "logits" });
    expect(() => logits.run({ labelSmoothing: 0.1 })).toThrow('"labelSmoothing" is no option of a divergence');
    expect(() => logits.run({ ignoreIndex: 0 })).toThrow('give a "mask"');
    expect(() => logits.run({ mask: [true] })).toThrow('"mask" expected one for each of 4 rows, got 1');
  });

  test("of views of a layer that was disposed", () => {
    using xent = createXentSync();
    const layer = createLinear(xent, { ...spec, targets: { features: 2 } });
    const { targetLayer } = layer;
    layer.dispose();
    expect(() => targetLayer.features).toThrow("this layer was disposed");
    expect(() => targetLayer.setFeatures([1])).toThrow("this layer was disposed");
  });
});
