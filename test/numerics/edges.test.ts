// Extreme inputs: huge, masked, without weight, saturated. Each of them has found a bug.
import { runInNewContext } from "node:vm";
import { describe, expect, test } from "vitest";
import { createXentSync, type LossOptions } from "xent";
import { ulp } from "../support/ulp.ts";
import { variants } from "../support/variants.ts";

const LOWEST = -3.4028234663852886e38;

describe.each(variants)("%s", (variant) => {
  const xent = createXentSync({ variant });
  const run = (row: number[], label: number, options: LossOptions) =>
    xent.sparseSoftmaxCrossEntropyWithLogits([row], [label], { gradient: true, predictions: true, ...options });

  test.each<[string, number[], number, LossOptions, number]>([
    ["a mask of -1e15 has no weight under a temperature", [0, 1, -1e15], 0, { temperature: 1.5 }, 1.081036852],
    ["the lowest float has no weight under a temperature", [0, 1, LOWEST], 0, { temperature: 1.1 }, 1.247625467],
    ["a mask has no weight under a huge softcap", [0, 1, -1e30], 0, { softcap: 1e20 }, Math.log1p(Math.E)],
    ["one class costs nothing, however large", [3e38], 0, { temperature: 100 }, 0],
    ["three equal logits of 1e8, temperature 0.7", [1e8, 1e8, 1e8], 0, { temperature: 0.7 }, Math.log(3)],
    ["three equal logits of 1e9, temperature 0.3", [1e9, 1e9, 1e9], 1, { temperature: 0.3 }, Math.log(3)],
    ["three equal logits of 1e8, temperature 0.001", [1e8, 1e8, 1e8], 2, { temperature: 0.001 }, Math.log(3)],
    ["three equal logits of 1e8, softcap 1e9", [1e8, 1e8, 1e8], 0, { softcap: 1e9 }, Math.log(3)],
    [
      "a label without weight counts nothing, even at -inf",
      [-Infinity, 0, 1],
      0,
      { classWeights: [0, 1, 1], labelSmoothing: 0.3 },
      0.1 * (Math.log1p(Math.E) + Math.log1p(Math.exp(-1))),
    ],
  ])("%s", (_, row, label, options, expected) => {
    expect(ulp(run(row, label, options).loss[0] as number, expected)).toBeLessThanOrEqual(8);
  });

  test.each(["float16", "bfloat16"] as const)(
    "infinities and NaN of %s keep their meaning, among many classes",
    (logits) => {
      const [one, infinity] = logits === "float16" ? [0x3c00, 0x7c00] : [0x3f80, 0x7f80];
      for (const classes of [8, 300]) {
        for (const [bits, loss] of [
          [infinity, NaN],
          [infinity + 1, NaN],
          [infinity + 0x8001, NaN],
          [infinity + 0x8000, Math.log(classes - 1)],
        ] as const) {
          const row = new Uint16Array(classes).fill(one).with(2, bits);
          const result = xent.sparseSoftmaxCrossEntropyWithLogits(row, [0], { logits });
          expect(ulp(result.loss[0] as number, loss), `${bits.toString(16)} of ${classes}`).toBeLessThanOrEqual(2);
        }
      }
    },
  );

  // A masked class must not make its row leave the group of rows that it is computed in.
  test.each([4, 5, 8, 10])("one more class than %i, at -Infinity and with target 0, changes no bit", (classes) => {
    const rows = 64;
    using without = xent.createBatch({ rows, classes, targets: true, gradient: true });
    using masked = xent.createBatch({ rows, classes: classes + 1, targets: true, gradient: true });
    masked.logits.fill(-Infinity);
    for (let row = 0; row < rows; row++) {
      for (let j = 0; j < classes; j++) {
        const [x, q] = [4 * Math.sin(5 * row + 3 * j), Math.abs(Math.cos(7 * row + 2 * j))];
        const [at, to] = [row * classes + j, row * (classes + 1) + j];
        [without.logits[at], masked.logits[to]] = [x, x];
        [without.targets[at], masked.targets[to]] = [q, q];
      }
    }
    const [expected, found] = [without.run({ gradient: true }), masked.run({ gradient: true })];
    expect(found.loss).toEqual(expected.loss);
    expect(found.logSumExp).toEqual(expected.logSumExp);
    expect(found.gradient.filter((_, i) => i % (classes + 1) < classes)).toEqual(expected.gradient);
    expect(found.gradient.filter((_, i) => i % (classes + 1) === classes).every((g) => g === 0)).toBe(true);
  });

  // The kernel adds 1.5 * 2^23 (2^52) to the power of two. A sum whose bits are a subset of those of that number was taken for one in range.
  test.each([
    ["float32", 1.5 * 2 ** 23, [2 ** 23, 1.5 * 2 ** 21, 2 ** 21, 2 ** 19, 2 ** 17, 2 ** 7]],
    ["float64", 1.5 * 2 ** 52, [2 ** 52, 1.5 * 2 ** 50, 2 ** 50, 2 ** 48]],
  ] as const)("%s logits millions below the others have no weight", (logits, round, sums) => {
    for (const axis of [1, 2]) {
      for (const classes of [3, 40, 300]) {
        const spec = { shape: axis === 1 ? [4, classes, 8] : [4, 8, classes], axis, logits, gradient: true } as const;
        using plain = xent.createBatch(spec);
        using soft = xent.createBatch({ ...spec, targets: true });
        using other = xent.createBatch({ ...spec, targets: "logits" });
        const [of, step] = axis === 1 ? [8, 1] : [1, classes];
        soft.targets.fill(1 / (classes - 1));
        for (const temperature of [1, 3]) {
          for (const sum of sums) {
            // 32 rows, the logit of class 1 of each another one.
            for (let row = 0; row < 32; row++) {
              const place = axis === 1 ? Math.floor(row / 8) * 8 * classes + (row % 8) : row * step;
              for (const batch of [plain, soft, other]) {
                batch.logits[place + of] = (row - (round - sum) * Math.LN2) * temperature;
              }
              soft.targets[place + of] = 0;
              other.targets[place + of] = other.logits[place + of] as number;
            }
            for (const [batch, expected] of [
              [plain, Math.log(classes - 1)],
              [soft, Math.log(classes - 1)],
              [other, 0],
            ] as const) {
              const { loss, gradient } = batch.run({ temperature, gradient: true });
              for (const x of loss) expect(Math.abs(x - expected), `${batch.classes} ${sum}`).toBeLessThan(1e-6);
              for (let row = 0; row < 32; row++) {
                const place = axis === 1 ? Math.floor(row / 8) * 8 * classes + (row % 8) : row * step;
                expect(gradient[place + of]).toBe(0);
              }
            }
          }
        }
      }
    }
  });

  // A padded row: neither its logits nor its targets are read.
  test.each(["float32", "float64"] as const)(
    "a row with sample weight 0 counts 0, even if a target is NaN: %s",
    (logits) => {
      const [rows, row] = [6, 3];
      for (const classes of [1, 3, 5, 10, 100, 257, 512, 513, 9000]) {
        for (const axis of [0, 1]) {
          for (const targets of [true, "logits"] as const) {
            const shape = axis === 0 ? [classes, rows] : [rows, classes];
            using batch = xent.createBatch({ shape, axis, logits, targets, gradient: true });
            const [ofRow, ofClass] = axis === 0 ? [1, rows] : [classes, 1];
            batch.targets.fill(1 / classes)[row * ofRow + (classes >> 1) * ofClass] = NaN;
            const { loss, gradient } = batch.run({ gradient: true, sampleWeights: [1, 1, 1, 0, 1, 1] });
            const entries = gradient.filter((_, i) => Math.floor(i / ofRow) % rows === row);
            expect([loss[row], ...new Set(entries)], `${classes} classes, axis ${axis}, ${targets}`).toEqual([0, 0]);
            expect(gradient.some(Number.isNaN)).toBe(false);
          }
        }
      }
    },
  );

  test("target weights that add up to 0 still have a loss", () => {
    const { loss, gradient } = xent.softmaxCrossEntropyWithLogits([[0, 2]], Float32Array.of(1, -1), { gradient: true });
    expect(loss[0]).toBeCloseTo(2, 6);
    expect(Array.from(gradient ?? [])).toEqual([-1, 1]);
  });

  test("a label that is no class is never a correct prediction", () => {
    const options: LossOptions = { invalidLabels: "nan", predictions: true };
    expect(xent.sparseSoftmaxCrossEntropyWithLogits([[0, 1]], Int32Array.of(-1), options).correct).toBe(0);
  });

  test("a temperature does not change the prediction", () => {
    const row = [1.5047506093978882, 1.5047507286071777];
    expect(run(row, 1, { temperature: 1.3 }).predictions?.[0]).toBe(1);
  });

  test("a vanishing gradient vanishes at any offset", () => {
    const classes = 1025;
    const targets = new Float32Array(classes).fill(1 / classes);
    for (const offset of [0, 1e12, 1e16, 3e38]) {
      const logits = new Float32Array(classes).fill(offset);
      const options = { shape: [1, classes], gradient: true };
      const { gradient } = xent.softmaxCrossEntropyWithLogits(logits, targets, options);
      expect(Math.max(...(gradient?.map(Math.abs) ?? [1]))).toBeLessThan(1e-9);
    }
  });

  test("a z-loss does not change the gradient of an impossible label", () => {
    for (const top of [1000, 1e15, 3e38]) {
      const row = [0, ...new Array<number>(9).fill(top)];
      expect(run(row, 0, { zLoss: 1e-4 }).gradient?.[0]).toBe(-1);
      const weightless = { zLoss: 1, classWeights: [0, 1, 1, 1, 1, 1, 1, 1, 1, 1] };
      expect(run(row, 0, weightless).gradient?.[0]).toBe(0);
    }
  });

  test("a label without weight keeps its tiny probability", () => {
    const got = run([0, 40], 0, { zLoss: 1, classWeights: [0, 1] }).gradient?.[0] as number;
    expect(ulp(got, (80 * Math.exp(-40)) / (1 + Math.exp(-40)))).toBeLessThan(32);
  });

  // Measured from such a label, the loss is a small difference of large parts.
  test.each([-1e4, -1e9, -1e12, -1e15, -1e20, LOWEST, -Infinity])(
    "a masked label without weight leaves the others' smoothed loss: %d",
    (mask) => {
      const options = { shape: [1, 4], classWeights: [1, 1, 1, 0], labelSmoothing: 0.1 };
      const expected = 0.025 * 3 * (1 + Math.log1p(Math.exp(-1) + Math.exp(-2)));
      for (const logits of [Float32Array.of(0, 1, 2, mask), Float64Array.of(0, 1, 2, mask)]) {
        const { loss } = xent.sparseSoftmaxCrossEntropyWithLogits(logits, [3], options);
        const got = loss[0] as number;
        if (logits instanceof Float64Array) expect(Math.abs(got / expected - 1)).toBeLessThan(2 ** -49);
        else expect(ulp(got, expected)).toBeLessThan(1);
      }
    },
  );

  test("a label at -inf without weight adds nothing to a small loss", () => {
    const losses = [
      [[0, -Infinity], [1, 0], 0],
      [[0, 0, -Infinity], [1, 1, 0], (0.2 / 3) * Math.LN2],
      [[5, 0, -Infinity], [1, 0, 0], (0.1 / 3) * Math.log1p(Math.exp(-5))],
    ] as const;
    for (const [row, classWeights, expected] of losses) {
      const label = row.length - 1;
      const got = run([...row], label, { classWeights: [...classWeights], labelSmoothing: 0.1 }).loss[0] as number;
      expect(expected === 0 ? got : ulp(got, expected)).toBeLessThan(1);
    }
  });

  test("one class costs nothing, also with a softcap and smoothing", () => {
    expect(run([900], 0, { softcap: 1000, temperature: 0.5, labelSmoothing: 0.5 }).loss[0]).toBe(0);
  });

  // A row of few classes is computed in a group with its neighbours. Those around 800 would be centred alone.
  test("rows near the end of the window do not depend on their neighbours", () => {
    const [row, neighbour] = [Float32Array.of(801, 800.0999755859375), [799, 797]];
    const teacher = Float32Array.of(801, 800.4000244140625);
    const both = Float32Array.of(...neighbour, ...row);
    expect(xent.sparseSoftmaxCrossEntropyWithLogits(both, [0, 0]).loss[1]).toBe(
      xent.sparseSoftmaxCrossEntropyWithLogits(row, [0]).loss[0],
    );
    const shape = [2, 2];
    expect(xent.klDivergenceWithLogits(both, Float32Array.of(...neighbour, ...teacher), { shape }).loss[1]).toBe(
      xent.klDivergenceWithLogits(row, teacher, { shape: [1, 2] }).loss[0],
    );
  });

  test("weights beyond float32 give infinities, not NaN", () => {
    const options = { classWeights: [1e30, 1e30, 1e30], sampleWeights: [1e30] };
    expect(Array.from(run([0, -Infinity, 1], 0, options).gradient ?? [])).toEqual([-Infinity, 0, Infinity]);
  });

  test("weights may be arrays of another realm", () => {
    const classWeights = runInNewContext("Float32Array.of(1, 2)") as Float32Array;
    expect(run([0, 1], 1, { classWeights }).normalizer).toBe(2);
  });

  test("weights may be views of the memory", () => {
    const growing = createXentSync({ variant });
    const weights = growing.createBatch({ rows: 1, classes: 4 });
    weights.logits.fill(0.5);
    const batch = growing.createBatch({ rows: 1, classes: 200_000 });
    const { sum } = batch.run({ sampleWeights: weights.logits.subarray(0, 1), labelSmoothing: 0.1 });
    expect(sum).toBeCloseTo(0.5 * Math.log(200_000), 5);
  });
});
