// What setLogits, setLabels and setTargets write: the same numbers, or nothing and an error.
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  createXentSync,
  type Labels,
  type Logits,
  type LogitsType,
  softmaxCrossEntropyWithLogits,
  type Targets,
} from "xent";
import { bfloat16Bits, float16Bits } from "../support/half.ts";
import { thrown } from "../support/thrown.ts";

const xent = createXentSync();
/** Undefined in older runtimes. */
const Float16: typeof Float16Array | undefined = globalThis.Float16Array;
const numbers = [1, 2, 3];
const halves = Uint16Array.from(numbers, float16Bits);
/** log(e^-2 + e^-1 + 1) + 2 */
const oneTwoThree = 2.40760596444438;

describe("setLogits", () => {
  const types: LogitsType[] = ["float32", "float64", "float16", "bfloat16"];

  test.each(types)("writes the same numbers from every kind of array into %s", (logits) => {
    using batch = xent.createBatch({ rows: 1, classes: 3, logits });
    const sources: Logits[] = [
      numbers,
      [numbers],
      Float32Array.from(numbers),
      Float64Array.from(numbers),
      [Float32Array.from(numbers)],
      ...(Float16 ? [Float16.from(numbers)] : []),
      ...(logits === "float16" ? [halves, [halves]] : []),
      ...(logits === "bfloat16" ? [Uint16Array.from(numbers, bfloat16Bits)] : []),
    ];
    for (const source of sources) {
      batch.logits.fill(0);
      batch.setLogits(source);
      const loss = batch.run().loss[0] as number;
      // Of logits in f64 the loss is not rounded.
      if (logits === "float64") expect(Math.abs(loss / oneTwoThree - 1)).toBeLessThanOrEqual(2 ** -49);
      else expect(loss).toBe(Math.fround(oneTwoThree));
    }
  });

  test.each(types)("reads rows that are views of the same %s array before it writes", (logits) => {
    using batch = xent.createBatch({ rows: 2, classes: 3, stride: 4, logits });
    batch.setLogits([
      [1, 2, 3],
      [4, 5, 6],
    ]);
    const before = batch.logits.slice();
    const row = (i: number) => batch.logits.subarray(4 * i, 4 * i + 3);
    batch.setLogits([row(1), row(0)] as Logits);
    expect([...row(0), ...row(1)]).toEqual([...before.subarray(4, 7), ...before.subarray(0, 3)]);
  });

  test.each(["float32", "float64"] as const)("refuses bits in a batch of %s", (logits) => {
    using batch = xent.createBatch({ rows: 1, classes: 3, logits });
    expect(thrown(() => batch.setLogits(halves))).toBe(
      `TypeError: "source" is a Uint16Array, whose numbers are bits, but this batch has ${logits} logits: create it with logits: "float16" or "bfloat16"`,
    );
  });

  test.each([
    ["float16", float16Bits, 10, 15],
    ["bfloat16", bfloat16Bits, 7, 127],
  ] as const)("rounds to the nearest %s, of two to the even one", (logits, exactBits, fraction, bias) => {
    const [tiny, huge] = [2 ** (1 - bias - fraction), 2 ** (bias + 1) - 2 ** (bias - fraction)];
    using batch = xent.createBatch({ rows: 1, classes: 1, logits });
    const bitsFor = (x: number): number => {
      batch.setLogits([x]);
      return batch.logits[0] as number;
    };
    const check = (steps: number, part: number, exponent: number): void => {
      // A number of this type, and a fraction of the step to the next one.
      const step = Math.max(tiny, 2 ** (exponent - fraction));
      const below = Math.min(huge, steps * step);
      const exact = below + part * step;
      const up = part > 0.5 || (part === 0.5 && Math.floor(below / step) % 2 === 1);
      const nearest = up ? below + step : below;
      for (const sign of [1, -1])
        expect(bitsFor(sign * exact)).toBe(nearest > huge ? bitsFor(sign * Infinity) : exactBits(sign * nearest));
    };
    fc.assert(
      fc.property(
        fc.integer({ min: 2 ** fraction, max: 2 ** (fraction + 1) - 1 }),
        fc.constantFrom(0, 0.25, 0.5 - 2 ** -30, 0.5, 0.5 + 2 ** -30, 0.75),
        fc.integer({ min: 1 - bias, max: Math.min(bias, 100) }),
        check,
      ),
    );
    for (let steps = 0; steps < 2 ** fraction; steps += 3) check(steps, 0.5, 1 - bias);
    expect([bitsFor(Infinity), bitsFor(-0), bitsFor(1e300), bitsFor(tiny / 2), bitsFor(tiny * 0.51)]).toEqual([
      exactBits(Infinity),
      0x8000,
      exactBits(Infinity),
      0,
      1,
    ]);
    batch.setLogits([Number.NaN]);
    expect(batch.run().loss[0]).toBeNaN();
  });

  test("writes from the given element on, and no others", () => {
    using batch = xent.createBatch({ rows: 2, classes: 2 });
    batch.setLogits([1, 2, 3, 4]);
    batch.setLogits([9], 1);
    batch.setLogits(Float32Array.of(8), 3);
    batch.setLogits([], 4);
    expect([...batch.logits]).toEqual([1, 9, 3, 8]);
  });

  test("writes nested rows at the start of rows, and refuses rows of another length", () => {
    using padded = xent.createBatch({ rows: 2, classes: 2, stride: 3 });
    for (const rows of [
      [
        [1, 2],
        [3, 4],
      ],
      [Float32Array.of(1, 2), Float32Array.of(3, 4)],
      [[[1, 2]], [[3, 4]]],
    ] as Logits[]) {
      padded.logits.fill(7);
      padded.setLogits(rows);
      expect([...padded.logits]).toEqual([1, 2, 7, 3, 4, 7]);
    }
    padded.setLogits([
      [1, 2, 0],
      [3, 4, 0],
    ]);
    expect([...padded.logits]).toEqual([1, 2, 0, 3, 4, 0]);
    padded.setLogits([[5, 6]], 3);
    expect([...padded.logits]).toEqual([1, 2, 0, 5, 6, 0]);
    expect(thrown(() => padded.setLogits([[1], [2]]))).toBe(
      'RangeError: "source" of sizes [2, 1] does not fit rows of 2 logits',
    );
    expect(
      thrown(() =>
        padded.setLogits(
          [
            [1, 2],
            [3, 4],
          ],
          3,
        ),
      ),
    ).toMatch(/^RangeError: "source" takes 5 elements/);
    using images = xent.createBatch({ shape: [1, 2, 3], axis: 1 });
    images.setLogits([
      [
        [1, 2, 3],
        [4, 5, 6],
      ],
    ]);
    expect([...images.logits]).toEqual([1, 2, 3, 4, 5, 6]);
    expect(
      thrown(() =>
        images.setLogits([
          [1, 4],
          [2, 5],
          [3, 6],
        ]),
      ),
    ).toMatch(/does not fit 2 classes with 3 interleaved rows/);
  });

  test("accepts views of the memory of the batch", () => {
    using batch = xent.createBatch({ rows: 1, classes: 4 });
    batch.setLogits([1, 2, 3, 4]);
    batch.setLogits(batch.logits.subarray(0, 3), 1);
    expect([...batch.logits]).toEqual([1, 1, 2, 3]);
  });

  test("writes nothing if an entry is no number or the batch is busy", async () => {
    using batch = xent.createBatch({ rows: 1, classes: 3 });
    expect(thrown(() => batch.setLogits([1, "2" as never]))).toMatch(
      /^TypeError: "source" expected numbers, but entry 1/,
    );
    expect([...batch.logits]).toEqual([0, 0, 0]);
    const job = batch.runAsync();
    expect(thrown(() => batch.setLogits(numbers))).toMatch(/^TypeError: this batch is in the middle of runAsync/);
    await job;
  });
});

describe("setLabels", () => {
  test.each<[string, Labels]>([
    ["numbers", [2, 1]],
    ["BigInts", [2n, 1n]],
    ["rows", [[2], [1n]]],
    ["an Int32Array", Int32Array.of(2, 1)],
    ["a BigInt64Array", BigInt64Array.of(2n, 1n)],
    ["a Uint8Array", Uint8Array.of(2, 1)],
  ])("writes %s into every type of labels", (_, source) => {
    for (const labels of ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"] as const) {
      using batch = xent.createBatch({ rows: 3, classes: 3, labels });
      batch.setLabels(source, 1);
      expect(Array.from(batch.labels as Iterable<number | bigint>, Number)).toEqual([0, 2, 1]);
    }
  });

  test.each([
    ["int8", -129, 128],
    ["uint8", -1, 256],
    ["int16", -(2 ** 15) - 1, 2 ** 15],
    ["uint16", -1, 2 ** 16],
    ["int32", -(2 ** 31) - 1, 2 ** 31],
    ["uint32", -1, 2 ** 32],
    ["int64", -(2n ** 63n) - 1n, 2n ** 63n],
    ["uint64", -1, 2n ** 64n],
  ] as const)("refuses what %s does not have, and takes its ends", (labels, below, above) => {
    using batch = xent.createBatch({ rows: 2, classes: 3, labels });
    for (const label of [below, above])
      expect(thrown(() => batch.setLabels([1, label]))).toBe(
        `RangeError: "source" has ${label} at 1, which is not ${labels.startsWith("u") ? "a" : "an"} ${labels}: create the batch with other labels`,
      );
    expect(Array.from(batch.labels as Iterable<number | bigint>, Number)).toEqual([0, 0]);
    batch.setLabels([BigInt(below) + 1n, BigInt(above) - 1n]);
    expect(Array.from(batch.labels as Iterable<number | bigint>, BigInt)).toEqual([
      BigInt(below) + 1n,
      BigInt(above) - 1n,
    ]);
  });

  test.each([
    [
      "floats",
      Float32Array.of(1, 2),
      /^TypeError: "source" expected an integer typed array, or an array of integers, got/,
    ],
    ["a fraction", [1, 1.5], /^TypeError: "source" expected integers, but row 1 is something else, got 1\.5$/],
    ["too many", [1, 1, 1], /^RangeError: "source" takes 3 elements, but only 2 fit at offset 0$/],
  ])("refuses %s", (_, source, message) => {
    using batch = xent.createBatch({ rows: 2, classes: 3 });
    expect(thrown(() => batch.setLabels(source as never))).toMatch(message);
  });
});

describe("setTargets", () => {
  test("writes numbers of every type, rounded to f32", () => {
    using batch = xent.createBatch({ rows: 1, classes: 3, targets: true });
    batch.setLogits(numbers);
    const { loss } = softmaxCrossEntropyWithLogits([numbers], [0, 0.1, 0.9]);
    for (const source of [[[0, 0.1, 0.9]], Float64Array.of(0, 0.1, 0.9), [Float32Array.of(0, 0.1, 0.9)]] as Targets[]) {
      batch.targets.fill(0);
      batch.setTargets(source);
      expect(batch.run().loss[0]).toBe(loss[0]);
    }
  });

  test("refuses a batch with labels, and bits", () => {
    using batch = xent.createBatch({ rows: 1, classes: 3 });
    expect(thrown(() => batch.setTargets(numbers))).toBe(
      "TypeError: this batch has labels: create it with targets: true",
    );
    expect(thrown(() => batch.setTargets(halves as never))).toMatch(
      /^TypeError: "source" expected a Float32Array, Float64/,
    );
  });
});
