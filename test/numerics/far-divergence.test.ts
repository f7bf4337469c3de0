// Divergences of masked and of huge logits: the distances between both models are infinite, or near the end of their type.
import { afterAll, describe, expect, test } from "vitest";
import { createXentSync } from "xent";
import { exactDivergence, expectDivergence, FAR_ROWS } from "../support/divergence.ts";
import { bfloat16Bits, float16Bits } from "../support/half.ts";
import { variants } from "../support/variants.ts";

describe.each(variants)("%s", (variant) => {
  const xent = createXentSync({ variant });
  afterAll(() => xent.dispose());

  test("a logit of -inf makes the row infinite if its target has any weight", () => {
    const { loss } = xent.klDivergenceWithLogits(
      [
        [0, -Infinity],
        [0, -Infinity],
        [0, 0],
      ],
      [
        [0, -3000],
        [0, -Infinity],
        [0, -Infinity],
      ],
    );
    expect([...loss]).toEqual([Infinity, 0, Math.fround(Math.LN2)]);
  });

  test("classes whose probability underflows count, whatever the neighbours of the row are", () => {
    const x = [0, ...new Array<number>(39).fill(-4.2e9)];
    const t = [0, ...new Array<number>(39).fill(-113)];
    const neighbour = [14.5, ...new Array<number>(39).fill(0)];
    const { loss } = xent.klDivergenceWithLogits([neighbour, x], [neighbour, t]);
    const p = Math.exp(-113);
    expect(loss[0]).toBe(0);
    expect((loss[1] as number) / ((39 * p * 4.2e9) / (1 + 39 * p))).toBeCloseTo(1, 6);
  });

  test("a temperature near the end of float32 gives the divergence of smaller numbers", () => {
    const [x, t] = [
      [-6.81, -1.37, 4.8],
      [14.19, -1.7, -23.98],
    ];
    const of = (unit: number): number => {
      const [logits, targets] = [x, t].map((row) => row?.map((value) => value * unit)) as [number[], number[]];
      return xent.klDivergenceWithLogits([logits], [targets], { temperature: 5 * unit }).loss[0] as number;
    };
    expect(Math.abs(of(1e37) / of(1) - 1)).toBeLessThan(4e-6);
  });

  test("masks of finite size are ordinary logits", () => {
    const most = -3.4028234663852886e38;
    const { loss } = xent.klDivergenceWithLogits(
      [
        [0, most],
        [0, -1e9],
      ],
      [
        [0, -9],
        [0, -9],
      ],
    );
    const p = 1 / (1 + Math.exp(9));
    expect((loss[0] as number) / (p * -most)).toBeCloseTo(1, 6);
    expect((loss[1] as number) / (p * 1e9)).toBeCloseTo(1, 6);
  });

  test.each(FAR_ROWS)("follows the formula in real numbers: $name", ({ type, t, x, temperature = 1 }) => {
    const array = type === "float32" ? Float32Array : Float64Array;
    // Alone, at the start and at the end of several tiles without weight, and all over them.
    const none = Array<number>(1500).fill(-Infinity);
    const over = (row: readonly number[]): number[] => row.flatMap((value, j) => Array(j === 0 ? 1 : 700).fill(value));
    const alone = (row: readonly number[]): readonly number[] => row;
    const first = (row: readonly number[]): number[] => [...row, ...none];
    const last = (row: readonly number[]): number[] => [...none, ...row];
    for (const place of [alone, first, last, over]) {
      const [logits, targets] = [array.from(place(x)), array.from(place(t))];
      const exact = [exactDivergence(Array.from(logits, Number), Array.from(targets, Number), temperature)];
      for (const gradient of [true, "in-place"] as const) {
        using batch = xent.createBatch({ rows: 1, classes: logits.length, logits: type, gradient, targets: "logits" });
        (batch.logits as Float64Array).set(logits);
        (batch.targets as Float64Array).set(targets);
        const result = batch.run({ temperature, gradient: true });
        expectDivergence(result, exact);
        // Of losses before they are rounded.
        expectDivergence({ loss: [result.sum] }, exact);
      }
    }
  });

  test("the largest numbers of float16 and bfloat16 follow the formula", () => {
    const bits = { float16: float16Bits, bfloat16: bfloat16Bits };
    for (const [type, most] of [
      ["float16", 65_504],
      ["bfloat16", 2 ** 127],
    ] as const) {
      const [x, t] = [
        [most, 0, -most],
        [most, 0, 1],
      ];
      const [logits, targets] = [x, t].map((row) => Uint16Array.from(row, bits[type]));
      using batch = xent.createBatch({ rows: 1, classes: 3, logits: type, gradient: true, targets: "logits" });
      batch.setLogits(logits as Uint16Array);
      batch.setTargets(targets as Uint16Array);
      for (const temperature of [1, 2 ** -6]) {
        expectDivergence(batch.run({ gradient: true, temperature }), [exactDivergence(x, t, temperature)]);
      }
    }
  });

  test("a logit of -inf in a tile without weight makes the row infinite", () => {
    const t = new Float32Array(3000).fill(-3000).fill(0, 0, 1);
    const x = new Float32Array(3000).fill(-5000).fill(0, 0, 1);
    const options = { shape: [1, 3000] } as const;
    expect(xent.klDivergenceWithLogits(x, t, options).loss[0]).toBe(0);
    x[2999] = -Infinity;
    expect(xent.klDivergenceWithLogits(x, t, options).loss[0]).toBe(Infinity);
  });

  test.each([1e3, 1e4, 1e6, 1e8])("a mask of -%d in one model does not change the digits of other tiles", (mask) => {
    const n = 8192;
    const [x, t] = [new Float32Array(n).fill(-200), new Float32Array(n).fill(-200)];
    [x[0], t[0]] = [-mask, -Math.log(mask)];
    [x[1], t[1]] = [0, -60];
    [x[n - 1], t[n - 1]] = [0, 0];
    const { loss, gradient } = xent.klDivergenceWithLogits(x, t, { shape: [1, n], gradient: true });
    expectDivergence({ loss, gradient }, [exactDivergence([...x], [...t], 1)]);
  });
});
