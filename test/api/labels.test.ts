// Which labels are accepted, which are refused with which message, and that a refusal writes nothing.
import { runInNewContext } from "node:vm";
import { afterAll, describe, expect, test } from "vitest";
import {
  createXentSync,
  type Labels,
  type LossOptions,
  type LossResult,
  sparseSoftmaxCrossEntropyWithLogits,
} from "xent";
import { copyBytes, firstChange } from "../support/bytes.ts";
import { bitsOf, EVERYTHING, exampleBatch, exampleRows } from "../support/example.ts";
import { thrown } from "../support/thrown.ts";

const ROWS = 6;
const CLASSES = 5;
const { logits, labels: good } = exampleRows(ROWS, CLASSES);

const xent = createXentSync();
afterAll(() => xent.dispose());

type Form = (labels: Labels, options?: LossOptions) => LossResult;

const oneCall: Form = (labels, options) => sparseSoftmaxCrossEntropyWithLogits(logits, labels, options);

function inBatch(labels: Int32Array, options?: LossOptions): LossResult {
  using batch = xent.createBatch({ rows: ROWS, classes: CLASSES, gradient: true });
  batch.logits.set(logits);
  batch.labels.set(labels);
  const result = batch.run(options);
  return { ...result, loss: result.loss.slice() };
}

/** Valid labels, except for the given rows. */
function labelsWith<T>(bad: Record<number, T>): (number | T)[] {
  const labels: (number | T)[] = [...good];
  for (const [row, label] of Object.entries(bad)) labels[Number(row)] = label;
  return labels;
}

function outside(label: number | bigint, row: number, classes = CLASSES): string {
  return `RangeError: Received a label value of ${label} at row ${row}, which is outside the valid range of [0, ${classes})`;
}

describe("a label outside of [0, classes) is a RangeError in TensorFlow's words", () => {
  const int32: { labels: Record<number, number>; options?: LossOptions; row: number }[] = [
    { labels: { 3: -1 }, row: 3 },
    { labels: { 3: CLASSES }, row: 3 },
    { labels: { 0: 2 ** 31 - 1 }, row: 0 },
    { labels: { 5: -(2 ** 31) }, row: 5 },
    // The first bad row is named, not the worst one.
    { labels: { 2: 7, 4: -9 }, row: 2 },
    { labels: { 1: -9, 3: 7 }, row: 1 },
    { labels: { 3: -100 }, options: { ignoreIndex: -1 }, row: 3 },
    { labels: { 1: -1, 4: 7 }, options: { ignoreIndex: -1 }, row: 4 },
    { labels: { 3: CLASSES }, options: { ignoreIndex: 2 }, row: 3 },
    { labels: { 3: 9 }, options: { gradient: true, predictions: true, reduction: "mean" }, row: 3 },
  ];
  describe.each(int32)("$labels, options $options", ({ labels, options, row }) => {
    const message = outside(labels[row] as number, row);
    test("one call, Int32Array", () =>
      expect(thrown(() => oneCall(Int32Array.from(labelsWith(labels)), options))).toBe(message));
    test("one call, numbers", () => expect(thrown(() => oneCall(labelsWith(labels), options))).toBe(message));
    test("batch", () => expect(thrown(() => inBatch(Int32Array.from(labelsWith(labels)), options))).toBe(message));
  });

  test.each([2 ** 31, 2 ** 32, -(2 ** 32), 2 ** 53, -1e300])("%d does not wrap", (label) => {
    expect(thrown(() => oneCall(labelsWith({ 3: label })))).toBe(outside(label, 3));
  });

  test("a batch counts rows from its first one, and reads labels only of the rows that run", () => {
    using batch = exampleBatch(xent, { rows: ROWS, classes: CLASSES });
    batch.labels[1] = 77;
    expect(thrown(() => batch.run({ rows: [1, 3] }))).toBe(outside(77, 1));
    expect(batch.run({ rows: [2, ROWS] }).normalizer).toBe(4);
    expect(batch.run({ rows: [0, 1] }).normalizer).toBe(1);
    expect(batch.run({ rows: [1, 1] }).normalizer).toBe(0);
  });
});

describe("all 64 bits of a label count", () => {
  const wide = [
    0n,
    1n,
    2n,
    3n,
    -1n,
    -100n,
    2n ** 31n,
    2n ** 32n,
    2n ** 32n + 1n,
    -(2n ** 32n),
    2n ** 63n - 1n,
    2n ** 40n + 2n,
  ];

  test.each([undefined, 0, 1, -1, -100, 2 ** 32, 2 ** 32 + 1, -(2 ** 32), 2 ** 40 + 2])(
    "ignoreIndex: %s",
    (ignoreIndex) => {
      for (const type of ["int64", "uint64"] as const) {
        using batch = xent.createBatch({ rows: 1, classes: 3, labels: type });
        for (const label of wide) {
          (batch.labels as BigInt64Array)[0] = label;
          const [stored = 0n] = batch.labels;
          const isIgnored = ignoreIndex !== undefined && stored === BigInt(ignoreIndex);
          const run = () => batch.run(ignoreIndex === undefined ? {} : { ignoreIndex }).count;
          if (isIgnored) expect(run()).toBe(0);
          else if (stored >= 0n && stored < 3n) expect(run()).toBe(1);
          else expect(thrown(run)).toContain(`a label value of ${stored} at row 0`);
          expect(batch.run({ ...(ignoreIndex === undefined ? {} : { ignoreIndex }), invalidLabels: "nan" }).count).toBe(
            isIgnored ? 0 : 1,
          );
        }
      }
    },
  );
});

describe("a label that is not an integer is a TypeError", () => {
  test.each<[string, unknown, string]>([
    ["NaN", Number.NaN, "NaN"],
    ["a fraction", 1.5, "1.5"],
    ["Infinity", Infinity, "Infinity"],
    ["a string", "1", '"1"'],
    ["a boolean", true, "true"],
    ["null", null, "null"],
    ["undefined", undefined, "undefined"],
    ["an array", [1], "Array"],
    ["an object", { valueOf: () => 1 }, "Object"],
    ["a symbol", Symbol("1"), "symbol"],
  ])("%s among numbers", (_, label, shown) => {
    const message = `TypeError: "labels" expected integers, but row 3 is something else, got ${shown}`;
    expect(thrown(() => oneCall(labelsWith({ 3: label }) as never))).toBe(message);
  });

  test("a hole among numbers", () => {
    const labels = [...good];
    delete labels[2];
    expect(thrown(() => oneCall(labels))).toBe(
      'TypeError: "labels" expected integers, but row 2 is something else, got undefined',
    );
  });

  test("the error names the first label that is not an integer, even after one that is no class", () => {
    expect(thrown(() => oneCall(labelsWith<unknown>({ 1: 99, 2: "1" }) as never))).toMatch(/^TypeError: .* row 2 /);
    expect(thrown(() => oneCall(labelsWith<unknown>({ 1: "1", 2: 99 }) as never))).toMatch(/^TypeError: .* row 1 /);
  });

  test.each<[string, unknown, string]>([
    ["Float32Array", Float32Array.from(good), "Float32Array"],
    ["Float64Array", Float64Array.from(good), "Float64Array"],
    ["Uint8ClampedArray", Uint8ClampedArray.from(good), "Uint8ClampedArray"],
    ["DataView", new DataView(new ArrayBuffer(4 * ROWS)), "DataView"],
    ["ArrayBuffer", new ArrayBuffer(4 * ROWS), "ArrayBuffer"],
    ["Set", new Set(good), "Set"],
    ["an object with a length", { length: ROWS, 0: 1 }, "Object"],
    ["a string", "012340", '"012340"'],
    ["a number", 3, "3"],
    ["null", null, "null"],
    ["undefined", undefined, "undefined"],
  ])("%s as labels", (_, labels, shown) => {
    const message = `TypeError: "labels" expected an integer typed array, or an array of integers, got ${shown}`;
    expect(thrown(() => oneCall(labels as never))).toBe(message);
  });
});

describe("every integer type gives the same result", () => {
  const expected = bitsOf(oneCall(good, EVERYTHING));
  const elsewhere = (code: string): Labels => runInNewContext(code, { labels: good });
  test.each<[string, Labels]>([
    ["Int8Array", Int8Array.from(good)],
    ["Int16Array", Int16Array.from(good)],
    ["Uint8Array", Uint8Array.from(good)],
    ["Uint16Array", Uint16Array.from(good)],
    ["Uint32Array", Uint32Array.from(good)],
    ["BigInt64Array", BigInt64Array.from(good, BigInt)],
    ["BigUint64Array", BigUint64Array.from(good, BigInt)],
    ["numbers", [...good]],
    ["Buffer, which is a Uint8Array", Buffer.from(good)],
    [
      "Int32Array over shared memory",
      new Int32Array(new SharedArrayBuffer(4 * ROWS)).map((_, row) => good[row] as number),
    ],
    // Under Jest, whose tests run in a realm of their own, Node APIs return such arrays.
    ["Int32Array of another realm", elsewhere("Int32Array.from(labels)")],
    ["BigInt64Array of another realm", elsewhere("BigInt64Array.from(labels, BigInt)")],
    ["numbers of another realm", elsewhere("Array.from(labels)")],
    ["Int32Array in the middle of its memory", Int32Array.of(99, 99, ...good, 99).subarray(2, 2 + ROWS)],
  ])("%s", (_, labels) => expect(bitsOf(oneCall(labels, EVERYTHING))).toEqual(expected));

  test("-0 is class 0", () => expect(oneCall(labelsWith({ 3: -0 })).loss).toEqual(oneCall(labelsWith({ 3: 0 })).loss));
});

describe("ignoreIndex", () => {
  test.each<[string, number, Labels]>([
    ["inside of the range", 2, [2, 1, 2, 0, 4, 2]],
    ["-1", -1, [-1, 1, -1, 0, 4, -1]],
    ["the number of classes", CLASSES, [CLASSES, 1, CLASSES, 0, 4, CLASSES]],
    ["-100, as in PyTorch", -100, Int32Array.of(-100, 1, -100, 0, 4, -100)],
    ["the smallest", -(2 ** 31), Int32Array.of(-(2 ** 31), 1, -(2 ** 31), 0, 4, -(2 ** 31))],
    ["the largest", 2 ** 31 - 1, Uint32Array.of(2 ** 31 - 1, 1, 2 ** 31 - 1, 0, 4, 2 ** 31 - 1)],
    ["255 in a Uint8Array", 255, Uint8Array.of(255, 1, 255, 0, 4, 255)],
    ["-100 in 64 bits", -100, BigInt64Array.of(-100n, 1n, -100n, 0n, 4n, -100n)],
  ])("%s: the rows with this label do not count", (_, ignoreIndex, labels) => {
    const options: LossOptions = { ...EVERYTHING, ignoreIndex };
    const result = oneCall(labels, options);
    expect([...result.loss].map((loss) => loss === 0)).toEqual([true, false, true, false, false, true]);
    expect(result.normalizer).toBe(3);
    expect(bitsOf(inBatch(Int32Array.from(labels as number[], Number), options))).toEqual(bitsOf(result));
  });

  // 2^32 - 100 has the 32 bits of -100.
  test.each<[string, Labels]>([
    ["Uint32Array", Uint32Array.of(0, 2 ** 32 - 100, 0, 0, 0, 0)],
    ["BigUint64Array", BigUint64Array.of(0n, 2n ** 64n - 100n, 0n, 0n, 0n, 0n)],
    ["numbers", [0, 2 ** 32 - 100, 0, 0, 0, 0]],
  ])("does not match a label with the same low bits: %s", (_, labels) => {
    expect(thrown(() => oneCall(labels, { ignoreIndex: -100 }))).toBe(outside(labels[1] as number | bigint, 1));
  });
});

describe("a call that throws has written nothing", () => {
  test.each<[string, Record<number, number>, unknown]>([
    ["a bad label in the first row", { 0: 9 }, EVERYTHING],
    ["a bad label in the last row", { [ROWS - 1]: -1 }, EVERYTHING],
    ["a bad label in a range", { 2: 9 }, { ...EVERYTHING, rows: [1, 4] }],
    ["options that are no object", {}, 3],
    ["options that are null", {}, null],
    ["an unknown option", {}, { ...EVERYTHING, gradients: true }],
    ["gradient of the wrong type", {}, { gradient: 1 }],
    ["reduction of the wrong type", {}, { ...EVERYTHING, reduction: 1 }],
    ["reduction of the wrong value", {}, { ...EVERYTHING, reduction: "average" }],
    ["ignoreIndex of the wrong type", {}, { ...EVERYTHING, ignoreIndex: "1" }],
    ["ignoreIndex of the wrong value", {}, { ...EVERYTHING, ignoreIndex: 0.5 }],
    ["predictions of the wrong type", {}, { gradient: true, predictions: 1 }],
    ["rows of the wrong type", {}, { ...EVERYTHING, rows: 3 }],
    ["rows that are three", {}, { ...EVERYTHING, rows: [0, 1, 2] }],
    ["rows that are strings", {}, { ...EVERYTHING, rows: ["0", "1"] }],
    ["rows below 0", {}, { ...EVERYTHING, rows: [-1, 2] }],
    ["rows behind the end", {}, { ...EVERYTHING, rows: [0, ROWS + 1] }],
    ["rows the wrong way round", {}, { ...EVERYTHING, rows: [3, 2] }],
    ["rows between rows", {}, { ...EVERYTHING, rows: [0, 1.5] }],
  ])("batch: %s", (_, labels, options) => {
    using batch = exampleBatch(xent, { rows: ROWS, classes: CLASSES, gradient: true });
    for (const [row, label] of Object.entries(labels)) batch.labels[Number(row)] = label;
    const before = copyBytes(xent.memory);
    expect(thrown(() => batch.run(options as never))).toMatch(/^(Type|Range)Error: /);
    expect(firstChange(xent.memory, before)).toBeUndefined();
  });

  test.each([false, true])("batch: a gradient without memory for it, with an invalid label: %s", (bad) => {
    using batch = exampleBatch(xent, { rows: ROWS, classes: CLASSES });
    if (bad) batch.labels[0] = 9;
    const before = copyBytes(xent.memory);
    expect(thrown(() => batch.run(EVERYTHING))).toBe(
      'TypeError: "gradient" expected a batch with memory for it: create it with gradient: true or "in-place"',
    );
    expect(firstChange(xent.memory, before)).toBeUndefined();
  });

  test.each(["batch", "Xent"])("batch: use after dispose of the %s", (disposed) => {
    const other = createXentSync();
    const batch = exampleBatch(other, { rows: ROWS, classes: CLASSES, gradient: true });
    (disposed === "batch" ? batch : other).dispose();
    const before = copyBytes(other.memory);
    expect(thrown(() => batch.run(EVERYTHING))).toBe(`TypeError: this ${disposed} was disposed`);
    expect(firstChange(other.memory, before)).toBeUndefined();
  });

  // Not the logits of the tests above, which may still lie where these would be copied to.
  const { logits } = exampleRows(ROWS, CLASSES, 2);
  test.each<[string, unknown, unknown, unknown]>([
    ["a bad label", logits, labelsWith({ 3: 7 }), EVERYTHING],
    ["a label that is no integer", logits, labelsWith({ 3: 1.5 }), EVERYTHING],
    ["a bigint that is no class", logits, labelsWith<unknown>({ 3: 2n ** 64n }), EVERYTHING],
    ["labels of the wrong type", logits, Float32Array.from(good), EVERYTHING],
    ["logits of the wrong type", Int32Array.from(logits), good, EVERYTHING],
    ["a logit of the wrong type", [...logits].with(3, "0" as never), good, EVERYTHING],
    ["lengths that do not fit", logits.subarray(1), good, EVERYTHING],
    ["an unknown option", logits, good, { gradients: true }],
  ])("one call: %s", (_, logits, labels, options) => {
    const before = copyBytes(xent.memory);
    const call = () => xent.sparseSoftmaxCrossEntropyWithLogits(logits as never, labels as never, options as never);
    expect(thrown(call)).toMatch(/^(Type|Range)Error: /);
    expect(firstChange(xent.memory, before)).toBeUndefined();
  });
});
