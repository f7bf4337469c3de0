// xent/linear: a linear layer and its loss, compared with the same in f64.
import { describe, expect, test } from "vitest";
import { createXentSync } from "xent";
import type { LinearOptions, WeightType } from "xent/linear";
import { assertExact, everything, example, IGNORED, numbersOf, type Spec } from "../support/linear.ts";
import { variants } from "../support/variants.ts";

const TAILS = [1, 3, 4, 5, 7, 8, 9];
const TYPES: WeightType[] = ["float32", "float16", "bfloat16"];

describe.each(variants)("%s", (variant) => {
  test.each(TAILS)("loss and gradients are within the bounds, %i rows", (rows) => {
    using xent = createXentSync({ variant });
    for (const [n, features] of TAILS.entries()) {
      for (const [m, classes] of TAILS.entries()) {
        const spec = { rows, features, classes, bias: (n + m) % 2 === 0, weight: TYPES[(n + 2 * m + rows) % 3] };
        using layer = example(xent, spec, rows * 100 + n * 10 + m);
        assertExact(layer, spec, {});
      }
    }
  });

  test.each<Spec>([
    { rows: 5, features: 511, classes: 3 },
    { rows: 6, features: 512, classes: 65, bias: true },
    { rows: 7, features: 513, classes: 49 },
    { rows: 9, features: 1030, classes: 100, weight: "bfloat16" },
    { rows: 3, features: 33, classes: 1100, bias: true, weight: "float16" },
    { rows: 70, features: 24, classes: 130, chunkRows: 32 },
    { rows: 11, features: 270, classes: 40, chunkRows: 3 },
    { rows: 300, features: 9, classes: 17, bias: true },
  ])("loss and gradients of several blocks, items or chunks are within the bounds: %o", (spec) => {
    using xent = createXentSync({ variant });
    using layer = example(xent, spec);
    assertExact(layer, spec, { reduction: "mean" });
  });

  test.each<LinearOptions>([
    { reduction: "mean", labelSmoothing: 0.1 },
    { ignoreIndex: IGNORED, reduction: "mean", zLoss: 0.01 },
    { temperature: 0.3, classWeights: [1, 2, 0.5, 1, 3, 1, 1, 0.25, 1], reduction: "mean" },
    { softcap: 5, sampleWeights: Array.from({ length: 13 }, (_, i) => i / 4) },
    { ignoreIndex: 4, labelSmoothing: 0.2, classWeights: [1, 2, 0.5, 1, 3, 1, 1, 0.25, 1], temperature: 2 },
  ])("loss and gradients with the options of a batch are within the bounds: %o", (options) => {
    using xent = createXentSync({ variant });
    const spec = { rows: 13, features: 21, classes: 9, bias: true, chunkRows: 5 };
    using layer = example(xent, spec);
    if (options.ignoreIndex !== undefined) for (const row of [0, 5, 6, 12]) layer.labels[row] = options.ignoreIndex;
    assertExact(layer, spec, options);
  });

  test("16-bit weights give the same bits as the same numbers in 32 bits", () => {
    using xent = createXentSync({ variant });
    for (const weight of ["float16", "bfloat16"] as const) {
      const spec = { rows: 20, features: 515, classes: 77 };
      using narrow = example(xent, { ...spec, weight });
      using wide = example(xent, spec);
      wide.setWeight(numbersOf(narrow, weight));
      expect(everything(narrow)).toEqual(everything(wide));
    }
  });

  test.each(TYPES)("a setter takes arrays of numbers and Float32Arrays alike: %s", (weight) => {
    using xent = createXentSync({ variant });
    const spec = { rows: 4, features: 5, classes: 7, bias: true, weight };
    using layer = example(xent, spec);
    const expected = everything(layer);
    const bits = layer.weight.slice();
    const [features, bias] = [[...layer.features], [...(layer.bias as Float32Array)]];
    for (const array of [layer.features, layer.weight, layer.bias]) array?.fill(0);
    layer.setFeatures(features);
    layer.setBias(bias);
    layer.weight.set(bits);
    const numbers = numbersOf(layer, weight);
    layer.weight.fill(0);
    layer.setWeight(numbers);
    expect(layer.weight).toEqual(bits);
    expect(everything(layer)).toEqual(expected);
  });

  test("the gradients agree with finite differences", () => {
    using xent = createXentSync({ variant });
    const spec = { rows: 12, features: 30, classes: 20, bias: true };
    using layer = example(xent, spec);
    const options = { reduction: "mean", labelSmoothing: 0.05, temperature: 1.3 } as const;
    const { temperatureGradient } = layer.run({ ...options, gradient: true });
    const gradients = [layer.featuresGradient, layer.weightGradient, layer.biasGradient].map((x) => [...(x ?? [])]);
    const step = 2 ** -7;
    for (const [n, name] of (["features", "weight", "bias"] as const).entries()) {
      const array = layer[name] as Float32Array;
      for (const i of [0, 1, array.length - 1]) {
        const kept = array[i] as number;
        array[i] = kept + step;
        const more = layer.run(options).mean;
        array[i] = kept - step;
        const less = layer.run(options).mean;
        array[i] = kept;
        expect((more - less) / 2 / step).toBeCloseTo((gradients[n] as number[])[i] as number, 4);
      }
    }
    const at = (temperature: number): number => layer.run({ ...options, temperature }).mean;
    const little = step / 8;
    expect((at(1.3 + little) - at(1.3 - little)) / 2 / little).toBeCloseTo(temperatureGradient, 4);
  });
});
