// The memory of a layer of xent/linear.
import { describe, expect, test } from "vitest";
import { createXent, createXentSync } from "xent";
import { bytesOf, createLinear } from "xent/linear";
import { everything, example } from "../support/linear.ts";
import { thrown } from "../support/thrown.ts";

describe("memory", () => {
  const spec = { rows: 40, features: 30, classes: 50, bias: true, chunkRows: 12 };

  test("gradients are added to with accumulate, and written without", () => {
    using xent = createXentSync();
    using layer = example(xent, { ...spec, chunkRows: 40 });
    const of = () => [layer.weightGradient as Float32Array, layer.biasGradient as Float32Array];
    layer.run({ gradient: true });
    const first = of().map((x) => x.slice());
    layer.run({ gradient: true, accumulate: true });
    for (const [i, x] of of().entries()) expect([...x]).toEqual(Array.from(first[i] ?? [], (y) => 2 * y));
    layer.run({ gradient: true });
    expect(of()).toEqual(first);
  });

  test("only the gradients that a layer was created with are there, with the same bits", () => {
    using xent = createXentSync();
    using all = example(xent, spec);
    all.run({ gradient: true });
    for (const name of ["features", "weight", "bias"] as const) {
      using layer = example(xent, { ...spec, gradient: [name] });
      layer.run({ gradient: true });
      for (const other of ["features", "weight", "bias"] as const) {
        const expected = name === other ? all[`${name}Gradient`] : undefined;
        expect(layer[`${other}Gradient`]).toEqual(expected);
      }
    }
  });

  test.each([1, 3])(
    "is what bytesOf says, and at most 4 MB beside the caller's arrays and a chunk: %i threads",
    async (threads) => {
      const large = { rows: 1000, features: 768, classes: 4000, gradient: true, bias: true };
      using xent = await createXent({ threads });
      const before = xent.memory.buffer.byteLength;
      using layer = createLinear(xent, large);
      const bytes = bytesOf(large, threads);
      // Memory grows by pages, of which one may have had room.
      expect(Math.abs(xent.memory.buffer.byteLength - before - bytes)).toBeLessThanOrEqual(65536);
      const { features, weight, labels, bias, featuresGradient, weightGradient, biasGradient, chunkRows } = layer;
      const arrays = [features, weight, labels, bias, featuresGradient, weightGradient, biasGradient];
      const own = arrays.reduce((sum, array) => sum + (array?.byteLength ?? 0), 0);
      expect(bytes - own - 4 * chunkRows * large.classes).toBeLessThan(2 ** 22);
    },
  );

  test("that does not suffice is an error that names the largest chunk that fits", () => {
    const big = { rows: 300, features: 100, classes: 20_000, gradient: true } as const;
    const maxBytes = bytesOf({ ...big, chunkRows: 90 }) + 2 ** 17;
    using xent = createXentSync({ maxBytes });
    using batch = xent.createBatch({ rows: 2, classes: 3 });
    const { logits } = batch;
    const error = thrown(() => createLinear(xent, big));
    const [, rows] = /^RangeError: .*"chunkRows" of (\d+) is the largest that fits/.exec(error) ?? [];
    expect(Number(rows)).toBeGreaterThan(80);
    // Nothing has moved, and nothing is lost.
    expect(logits.length).toBe(6);
    expect(() => createLinear(xent, { ...big, chunkRows: Number(rows) + 4 })).toThrow(RangeError);
    using layer = createLinear(xent, { ...big, chunkRows: Number(rows) });
    expect(layer.run({ gradient: true }).mean).toBeCloseTo(Math.log(20_000), 5);
    expect(() => createLinear(xent, { ...big, rows: 1e6 })).toThrow(/not even chunks of one row fit/);
  });

  test("that grows keeps what is in a layer, whose views are taken anew", () => {
    using xent = createXentSync();
    using layer = example(xent, spec);
    const expected = everything(layer);
    const { features } = layer;
    using batch = xent.createBatch({ rows: 1000, classes: 10_000 });
    expect(batch.rows).toBe(1000);
    expect(features.length).toBe(0);
    expect(everything(layer)).toEqual(expected);
  });

  test("is given back, and used again: zero", () => {
    using xent = createXentSync();
    example(xent, spec).dispose();
    const bytes = xent.memory.buffer.byteLength;
    for (let i = 0; i < 50; i++) {
      using layer = createLinear(xent, { ...spec, gradient: true });
      expect(layer.run({ gradient: true }).mean).toBeCloseTo(Math.log(50), 6);
      expect(new Set(layer.featuresGradient)).toEqual(new Set([0]));
      layer.features.fill(9);
    }
    expect(xent.memory.buffer.byteLength).toBe(bytes);
  });
});
