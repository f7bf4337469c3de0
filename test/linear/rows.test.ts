// Rows of a layer of xent/linear: ignored ones, broken ones, and none.
import { describe, expect, test } from "vitest";
import { createXentSync } from "xent";
import { copyBytes } from "../support/bytes.ts";
import { everything, example, IGNORED } from "../support/linear.ts";
import { thrown } from "../support/thrown.ts";

describe("rows", () => {
  const spec = { rows: 12, features: 10, classes: 11, chunkRows: 5, bias: true };

  test("that are ignored are not read: their gradient is 0, and the others' is as without them", () => {
    using xent = createXentSync();
    using layer = example(xent, spec);
    const ignored = [0, 3, 4, 11];
    for (const row of ignored) {
      layer.labels[row] = IGNORED;
      layer.features.fill(Number.NaN, row * 10, (row + 1) * 10);
    }
    layer.featuresGradient?.fill(7);
    const result = layer.run({ gradient: true, ignoreIndex: IGNORED, predictions: true });
    using rest = example(xent, { ...spec, rows: 8 });
    const kept = Array.from({ length: 12 }, (_, row) => row).filter((row) => !ignored.includes(row));
    rest.setWeight(layer.weight);
    rest.setBias(layer.bias as Float32Array);
    for (const [i, row] of kept.entries()) {
      rest.features.set(layer.features.subarray(row * 10, (row + 1) * 10), i * 10);
      rest.labels[i] = layer.labels[row] as number;
    }
    const without = rest.run({ gradient: true, predictions: true });
    expect(result.count).toBe(8);
    expect(result.sum).toBe(without.sum);
    expect([...(layer.weightGradient ?? [])]).toEqual([...(rest.weightGradient ?? [])]);
    expect([...(layer.biasGradient ?? [])]).toEqual([...(rest.biasGradient ?? [])]);
    for (const [i, row] of kept.entries()) {
      expect(result.loss[row]).toBe(without.loss[i]);
      expect(result.predictions[row]).toBe(without.predictions[i]);
      expect(layer.featuresGradient?.slice(row * 10, row * 10 + 10)).toEqual(
        rest.featuresGradient?.slice(i * 10, i * 10 + 10),
      );
    }
    for (const row of ignored) {
      expect(result.loss[row]).toBe(0);
      expect(result.predictions[row]).toBe(-1);
      expect(layer.featuresGradient?.slice(row * 10, row * 10 + 10)).toEqual(new Float32Array(10));
    }
  });

  test("of which all are ignored, or none there are, give zeros, or leave what is to be added to", () => {
    using xent = createXentSync();
    for (const rows of [0, 12]) {
      using layer = example(xent, { ...spec, rows });
      layer.labels.fill(IGNORED);
      for (const accumulate of [true, false]) {
        layer.weightGradient?.fill(3);
        layer.biasGradient?.fill(3);
        const result = layer.run({ gradient: true, reduction: "mean", ignoreIndex: IGNORED, accumulate });
        expect([result.sum, result.mean, result.count]).toEqual([0, 0, 0]);
        expect(new Set(layer.weightGradient)).toEqual(new Set([accumulate ? 3 : 0]));
        expect(new Set(layer.biasGradient)).toEqual(new Set([accumulate ? 3 : 0]));
        expect(new Set(layer.featuresGradient)).toEqual(new Set(rows === 0 ? [] : [0]));
        expect(result.temperatureGradient).toBe(-0);
      }
    }
  });

  test.each([Number.NaN, Infinity, -Infinity])(
    "with %d have losses and gradients that are NaN, and no others",
    (bad) => {
      using xent = createXentSync();
      using layer = example(xent, spec);
      const before = layer.run({ gradient: true });
      const gradient = layer.featuresGradient?.slice();
      layer.features[6 * 10 + 3] = bad;
      const after = layer.run({ gradient: true });
      for (let row = 0; row < 12; row++) {
        const of = (array: Float32Array | undefined) => array?.slice(row * 10, row * 10 + 10);
        expect(after.loss[row]).toBe(row === 6 ? Number.NaN : before.loss[row]);
        if (row === 6) expect(of(layer.featuresGradient)?.every(Number.isNaN)).toBe(true);
        else expect(of(layer.featuresGradient)).toEqual(of(gradient));
      }
      // A sum over the rows.
      expect(layer.weightGradient?.every(Number.isNaN)).toBe(true);
    },
  );

  test("with invalid labels are NaN where that is asked for, and else an error, before anything is written", () => {
    using xent = createXentSync();
    using layer = example(xent, spec);
    const before = layer.run({ gradient: true });
    const gradients = copyBytes(layer.weightGradient as Float32Array);
    layer.labels[2] = 11;
    expect(thrown(() => layer.run({ gradient: true }))).toEqual(
      "RangeError: Received a label value of 11 at row 2, which is outside the valid range of [0, 11)",
    );
    expect(copyBytes(layer.weightGradient as Float32Array)).toEqual(gradients);
    const after = layer.run({ invalidLabels: "nan" });
    for (let row = 0; row < 12; row++) expect(after.loss[row]).toBe(row === 2 ? Number.NaN : before.loss[row]);
  });

  test("have the next row's label with a shift, and the last one of a sequence none", () => {
    using xent = createXentSync();
    using layer = example(xent, { ...spec, shift: 1, sequence: 4 });
    using plain = example(xent, spec);
    for (let row = 0; row < 12; row++) {
      plain.labels[row] = row % 4 === 3 ? IGNORED : (layer.labels[row + 1] as number);
    }
    expect(everything(layer)).toEqual(everything(plain, { ignoreIndex: IGNORED }));
  });
});
