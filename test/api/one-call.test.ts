// The logits and labels that the one-call form accepts and refuses.
import { runInNewContext } from "node:vm";
import { describe, expect, test } from "vitest";
import { createXentSync, type Labels, type Logits, sparseSoftmaxCrossEntropyWithLogits } from "xent";
import { bitsOf, EVERYTHING, exampleBatch, exampleRows } from "../support/example.ts";
import { thrown } from "../support/thrown.ts";

function transferred<T extends Float32Array | Int32Array>(array: T): T {
  structuredClone(array, { transfer: [array.buffer as ArrayBuffer] });
  return array;
}

describe("logits and labels of the one-call form", () => {
  const { logits, labels } = exampleRows(4, 3);
  const expected = bitsOf(sparseSoftmaxCrossEntropyWithLogits(logits, labels, EVERYTHING));

  test.each<[string, Logits]>([
    ["numbers", [...logits]],
    ["rows of numbers", [0, 1, 2, 3].map((row) => [...logits.subarray(3 * row, 3 * row + 3)])],
    ["in the middle of its memory", Float32Array.of(9, ...logits, 9).subarray(1, 13)],
    ["over shared memory", new Float32Array(new SharedArrayBuffer(48)).map((_, at) => logits[at] as number)],
    ["Float32Array of another realm", runInNewContext("Float32Array.from(logits)", { logits })],
    [
      "rows of numbers of another realm",
      runInNewContext("[0, 3, 6, 9].map((at) => Array.from(logits.slice(at, at + 3)))", { logits }),
    ],
  ])("%s", (_, logits) => {
    expect(bitsOf(sparseSoftmaxCrossEntropyWithLogits(logits, labels, EVERYTHING))).toEqual(expected);
  });

  test.each<[string, unknown, unknown, string]>([
    ["too few labels", logits, [0, 1, 2, 0, 1], 'RangeError: "labels" has 5 rows, which do not divide 12 logits'],
    ["no labels", logits, [], 'RangeError: "labels" has 0 rows, which do not divide 12 logits'],
    ["no logits", [], [0], 'RangeError: "logits" expected at least one class, got 0 logits'],
    ["too few rows", [[1, 2]], [0, 1], 'RangeError: "labels" has 2 rows, which do not fit 1 rows of 2 logits'],
    [
      "too many rows",
      [
        [1, 2],
        [3, 4],
      ],
      [0],
      'RangeError: "labels" has 1 rows, which do not fit 2 rows of 2 logits',
    ],
    [
      "rows, no labels",
      [
        [1, 2],
        [3, 4],
      ],
      [],
      'RangeError: "labels" has 0 rows, which do not fit 2 rows of 2 logits',
    ],
    [
      "a longer row",
      [
        [1, 2],
        [1, 2],
        [1, 2, 3],
      ],
      [0, 0, 0],
      'RangeError: "logits" has 2 numbers in row 0, but 3 in row 2',
    ],
    ["an empty row", [[1, 2], []], [0, 0], 'RangeError: "logits" has 2 numbers in row 0, but 0 in row 1'],
    ["empty rows", [[], []], [0, 0], 'RangeError: "logits" expected at least one class, got 0 logits'],
    ["empty rows, no labels", [[], []], [], 'RangeError: "logits" expected at least one class, got 0 logits'],
    [
      "a number among rows",
      [[1, 2], 3],
      [0, 0],
      'TypeError: "logits" expected rows of numbers, but row 1 is something else, got 3',
    ],
    [
      "a row among numbers",
      [1, [2]],
      [0],
      'TypeError: "logits" expected numbers, but entry 1 is something else, got Array',
    ],
    [
      "a string among numbers",
      [1, "2"],
      [0],
      'TypeError: "logits" expected numbers, but entry 1 is something else, got "2"',
    ],
    [
      "a hole among numbers",
      Object.assign([1], { 2: 3 }),
      [0],
      'TypeError: "logits" expected numbers, but entry 1 is something else, got undefined',
    ],
    [
      "a bigint in a row",
      [[1, 2n]],
      [0],
      'TypeError: "logits" expected numbers, but row 0 has something else at 1, got 2n',
    ],
    [
      "Int32Array",
      new Int32Array(12),
      labels,
      'TypeError: "logits" expected a Float32Array, Float64Array, Float16Array or Uint16Array, or (nested) arrays of numbers, got Int32Array',
    ],
    [
      "Uint16Array that does not say what its numbers are",
      new Uint16Array(12),
      labels,
      'TypeError: "logits" is a Uint16Array: say what its numbers are, with logits: "float16" or "bfloat16"',
    ],
    [
      "Uint8Array",
      new Uint8Array(12),
      labels,
      'TypeError: "logits" expected a Float32Array, Float64Array, Float16Array or Uint16Array, or (nested) arrays of numbers, got Uint8Array',
    ],
    [
      "a string",
      "123",
      labels,
      'TypeError: "logits" expected a Float32Array, Float64Array, Float16Array or Uint16Array, or (nested) arrays of numbers, got "123"',
    ],
    [
      "null",
      null,
      labels,
      'TypeError: "logits" expected a Float32Array, Float64Array, Float16Array or Uint16Array, or (nested) arrays of numbers, got null',
    ],
    [
      "undefined",
      undefined,
      labels,
      'TypeError: "logits" expected a Float32Array, Float64Array, Float16Array or Uint16Array, or (nested) arrays of numbers, got undefined',
    ],
  ])("%s", (_, logits, labels, message) => {
    expect(thrown(() => sparseSoftmaxCrossEntropyWithLogits(logits as Logits, labels as Labels))).toBe(message);
  });

  const detached = (title: string) =>
    `TypeError: "${title}" is detached: its memory was transferred, or belonged to a WebAssembly.Memory that has grown`;
  test.each<[string, Logits, Labels, string]>([
    ["logits", transferred(logits.slice()), labels, detached("logits")],
    ["labels", logits, transferred(labels.slice()), detached("labels")],
    ["logits, with no labels", transferred(logits.slice()), [], detached("logits")],
    ["labels, with no logits", [], transferred(labels.slice()), detached("labels")],
  ])("detached: %s", (_, logits, labels, message) => {
    expect(thrown(() => sparseSoftmaxCrossEntropyWithLogits(logits, labels))).toBe(message);
  });

  test("detached: a batch's logits from before the memory grew", () => {
    using xent = createXentSync();
    const { logits } = exampleBatch(xent, { rows: 4, classes: 3 });
    xent.createBatch({ rows: 1, classes: 100_000 });
    expect(thrown(() => xent.sparseSoftmaxCrossEntropyWithLogits(logits, labels))).toBe(detached("logits"));
  });
});
