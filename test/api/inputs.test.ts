// Arrays of every kind give the same numbers, or an error that tells what to pass.
import { describe, expect, test } from "vitest";
import {
  klDivergenceWithLogits,
  type Labels,
  type Logits,
  type LossOptions,
  type ShapeOptions,
  softmaxCrossEntropyWithLogits,
  sparseSoftmaxCrossEntropyWithLogits,
  type Targets,
} from "xent";
import { bitsOf, exampleRows } from "../support/example.ts";
import { float16Bits } from "../support/half.ts";
import { thrown } from "../support/thrown.ts";

/** Undefined in older runtimes. */
const Float16: typeof Float16Array | undefined = globalThis.Float16Array;
const numbers = [1, 2, 3];
const halves = Uint16Array.from(numbers, float16Bits);
/** log(e^-2 + e^-1 + 1) + 2 */
const oneTwoThree = 2.40760596444438;

describe("logits of one call", () => {
  test.each<[string, Logits, ShapeOptions | undefined]>([
    ["rows that are a Float32Array", [Float32Array.from(numbers)], undefined],
    ["rows that are a Float64Array", [Float64Array.from(numbers)], undefined],
    ["rows of bits", [halves], { logits: "float16" }],
    ["three levels", [[numbers]], undefined],
    ["three levels with typed arrays", [[[Float32Array.from(numbers)]]], undefined],
    ["three levels, the classes in the middle", [[[1], [2], [3]]], { axis: 1 }],
    ...(Float16
      ? ([["rows that are a Float16Array", [Float16.from(numbers)], undefined]] satisfies [string, Logits, undefined][])
      : []),
  ])("may be %s", (_, logits, options) => {
    const { loss } = sparseSoftmaxCrossEntropyWithLogits(logits, [0], options);
    // Of logits in f64 the loss is not rounded.
    const double = loss instanceof Float64Array;
    expect(double).toBe(Array.isArray(logits) ? logits[0] instanceof Float64Array : logits instanceof Float64Array);
    expect(loss).toHaveLength(1);
    if (double) expect(Math.abs((loss[0] as number) / oneTwoThree - 1)).toBeLessThanOrEqual(2 ** -49);
    else expect(loss[0]).toBe(Math.fround(oneTwoThree));
  });

  test("are computed in f64 where their rows are Float64Arrays", () => {
    const rows = [Float64Array.of(1, 1 + 2 ** -40), Float64Array.of(0, -(2 ** -40))];
    const { gradient } = sparseSoftmaxCrossEntropyWithLogits(rows, [0, 0], { gradient: true });
    expect(gradient).toBeInstanceOf(Float64Array);
    expect(gradient[1]).toBeGreaterThan(0.5);
  });

  test.each<[string, unknown, unknown, string]>([
    [
      "rows of two kinds",
      [[1, 2], Float32Array.of(1, 2)],
      [0, 0],
      'TypeError: "logits" expected rows of numbers, but row 1 is something else, got Float32Array',
    ],
    [
      "rows of two typed arrays",
      [Float64Array.of(1, 2), Float32Array.of(1, 2)],
      [0, 0],
      'TypeError: "logits" expected rows of one kind, but row 1 is something else, got Float32Array',
    ],
    ["rows of two lengths", [[[1]], [[1], [2]]], [0], 'RangeError: "logits" has 1 numbers in row 0, but 2 in row 1'],
    [
      "integers in rows",
      [Int32Array.of(1)],
      [0],
      'TypeError: "logits" expected a Float32Array, Float64Array, Float16Array or Uint16Array, or (nested) arrays of numbers, got Int32Array',
    ],
    [
      "labels in another order of axes",
      [
        [
          [1, 2],
          [3, 4],
          [5, 6],
        ],
      ],
      [[0], [1], [0]],
      'RangeError: "labels" of sizes [3, 1] does not fit logits of [1, 3, 2] with the classes on axis -1',
    ],
  ])("are refused: %s", (_, logits, labels, message) => {
    expect(thrown(() => sparseSoftmaxCrossEntropyWithLogits(logits as never, labels as never))).toBe(message);
  });

  test("are refused where an array contains itself", () => {
    const own: unknown[] = [];
    own.push(own);
    expect(thrown(() => sparseSoftmaxCrossEntropyWithLogits(own as never, [0]))).toMatch(
      /^TypeError: "logits" expected arrays in at most 32 arrays/,
    );
  });
});

describe("labels of one call", () => {
  const { logits } = exampleRows(6, 5);
  const expected = bitsOf(sparseSoftmaxCrossEntropyWithLogits(logits, Int32Array.of(0, 1, 2, 3, 4, 0)));

  test.each<[string, Labels]>([
    ["BigInts", [0n, 1n, 2n, 3n, 4n, 0n]],
    ["BigInts and numbers", [0n, 1, 2n, 3, 4n, 0]],
    [
      "rows of numbers",
      [
        [0, 1, 2],
        [3, 4, 0],
      ],
    ],
    ["rows of typed arrays", [Int8Array.of(0, 1, 2), Int8Array.of(3, 4, 0)]],
    ["a column", [[0], [1], [2], [3], [4], [0]]],
  ])("may be %s", (_, labels) => {
    expect(bitsOf(sparseSoftmaxCrossEntropyWithLogits(logits, labels))).toEqual(expected);
  });

  test("may be nested like logits of three axes, with a last axis of 1 or without", () => {
    const shape = { shape: [2, 3, 5] };
    for (const labels of [
      [
        [0, 1, 2],
        [3, 4, 0],
      ],
      [
        [[0], [1], [2]],
        [[3], [4], [0]],
      ],
    ] as Labels[])
      expect(bitsOf(sparseSoftmaxCrossEntropyWithLogits(logits, labels, shape))).toEqual(expected);
    expect(
      thrown(() =>
        sparseSoftmaxCrossEntropyWithLogits(
          logits,
          [
            [0, 1],
            [2, 3],
            [4, 0],
          ],
          shape,
        ),
      ),
    ).toMatch(/^RangeError: "labels" of sizes \[3, 2\] does not fit logits of \[2, 3, 5\]/);
  });

  test("are no class beyond 64 bits, whatever their low bits", () => {
    const labels = [2n ** 64n, 0];
    const [first, second] = sparseSoftmaxCrossEntropyWithLogits(
      [
        [0, 0],
        [0, 0],
      ],
      labels,
      { invalidLabels: "nan" },
    ).loss;
    expect(first).toBeNaN();
    expect(second).toBe(Math.fround(Math.LN2));
    expect(
      thrown(() =>
        sparseSoftmaxCrossEntropyWithLogits(
          [
            [0, 0],
            [0, 0],
          ],
          labels,
        ),
      ),
    ).toMatch(/^RangeError: Received a label value of 18446744073709551616 at row 0/);
  });
});

describe("soft targets of one call", () => {
  const expected = bitsOf(softmaxCrossEntropyWithLogits([[1, 2, 3]], Float32Array.of(0, 0.25, 0.75)));

  test.each<[string, Targets]>([
    ["nested arrays", [[0, 0.25, 0.75]]],
    ["a Float64Array", Float64Array.of(0, 0.25, 0.75)],
    ["an array", [0, 0.25, 0.75]],
    ["rows of typed arrays", [Float64Array.of(0, 0.25, 0.75)]],
  ])("may be %s", (_, targets) => {
    expect(bitsOf(softmaxCrossEntropyWithLogits([[1, 2, 3]], targets))).toEqual(expected);
    // Here only the targets tell the sizes.
    if (targets !== undefined && Array.isArray(targets) && Array.isArray(targets[0]))
      expect(bitsOf(softmaxCrossEntropyWithLogits(Float32Array.from(numbers), targets))).toEqual(expected);
  });
});

test("no rows have no losses, with any kind of target", () => {
  for (const result of [
    sparseSoftmaxCrossEntropyWithLogits([], []),
    softmaxCrossEntropyWithLogits([], []),
    klDivergenceWithLogits([], []),
  ]) {
    expect([result.loss.length, result.count, result.sum, result.mean]).toEqual([0, 0, 0, 0]);
  }
  expect(thrown(() => softmaxCrossEntropyWithLogits([], [1]))).toBe(
    'RangeError: "targets" expected one for each of 0 logits, got 1',
  );
});

describe("weights", () => {
  const sums = (options: LossOptions) =>
    bitsOf(
      sparseSoftmaxCrossEntropyWithLogits(
        [
          [1, 2, 3],
          [3, 2, 1],
        ],
        [0, 1],
        options,
      ),
    );

  test.each(["classWeights", "sampleWeights"] as const)("%s may be a Float64Array", (name) => {
    const weights = name === "classWeights" ? [0.5, 0.1, 2] : [0.1, 2];
    const expected = sums({ [name]: Float32Array.from(weights) });
    expect(sums({ [name]: Float64Array.from(weights) })).toEqual(expected);
    expect(sums({ [name]: weights })).toEqual(expected);
    if (Float16)
      expect(sums({ [name]: Float16.from(weights.map(() => 0.5)) })).toEqual(sums({ [name]: weights.map(() => 0.5) }));
  });
});
