// test/golden/errors.json: invalid labels, types, shapes and values. The class, row and value of each error, or NaN instead of it.
import { describe, expect, test } from "vitest";
import {
  createXentSync,
  type Labels,
  type LossOptions,
  type ShapeOptions,
  sparseSoftmaxCrossEntropyWithLogits,
} from "xent";
import { type RawCase, readGolden } from "../support/golden.ts";
import { thrown } from "../support/thrown.ts";
import { ulp } from "../support/ulp.ts";

interface ErrorCase extends RawCase {
  shape: number[];
  labelsShape: number[];
  labelsDtype: string;
  expected?: {
    error: "TypeError" | "RangeError";
    reason: string;
    row?: number;
    value?: number | string;
    classes?: number;
  };
  ifNaN?: { loss: unknown; gradient: unknown };
  loss?: unknown;
  gradient?: unknown;
}

const flat = (nested: unknown): unknown[] => (Array.isArray(nested) ? nested.flatMap(flat) : [nested]);
const cases = readGolden("errors").cases as unknown as ErrorCase[];

const ARRAYS: Record<string, (labels: unknown[]) => unknown> = {
  int8: (labels) => Int8Array.from(labels as number[]),
  uint8: (labels) => Uint8Array.from(labels as number[]),
  int16: (labels) => Int16Array.from(labels as number[]),
  uint16: (labels) => Uint16Array.from(labels as number[]),
  int32: (labels) => Int32Array.from(labels as number[]),
  uint32: (labels) => Uint32Array.from(labels as number[]),
  int64: (labels) => BigInt64Array.from(labels as number[], BigInt),
  uint64: (labels) => BigUint64Array.from(labels as number[], BigInt),
  float32: (labels) => Float32Array.from(labels as number[]),
  bool: (labels) => labels,
};

function call(entry: ErrorCase, more: LossOptions = {}) {
  const xent = createXentSync();
  const logits = Float32Array.from(flat(entry.logits).map(Number));
  const labels = ARRAYS[entry.labelsDtype]?.(flat(entry.labels)) as Labels;
  const options: LossOptions & ShapeOptions = { ...entry.options, ...more, shape: entry.shape, gradient: true };
  if (options.classWeights) options.classWeights = Float32Array.from(options.classWeights);
  return xent.sparseSoftmaxCrossEntropyWithLogits(logits, labels, options);
}

/** Whether the logits may be nested arrays: an empty one does not tell the number of classes. */
function isNested({ shape, labelsShape, logits, options }: ErrorCase): boolean {
  const isMatrix = shape.length === 2 && labelsShape.length === 1 && (logits as unknown[]).length > 0;
  return isMatrix && Object.keys(options).every((name) => name === "ignoreIndex");
}

function callNested({ logits, labelsDtype, labels, options }: ErrorCase): unknown {
  return sparseSoftmaxCrossEntropyWithLogits(
    logits as number[][],
    ARRAYS[labelsDtype]?.(labels as unknown[]) as Labels,
    options,
  );
}

function expectNumbers(got: ArrayLike<number>, exact: unknown): void {
  for (const [i, value] of flat(exact).map(Number).entries())
    expect(ulp(got[i] as number, value)).toBeLessThanOrEqual(5);
}

function outside({ value, row, classes }: NonNullable<ErrorCase["expected"]>): string {
  return `RangeError: Received a label value of ${value} at row ${row}, which is outside the valid range of [0, ${classes})`;
}

test("there are cases of all kinds", () => {
  expect(cases.filter((entry) => entry.expected).length).toBeGreaterThan(60);
  expect(cases.filter((entry) => entry.ifNaN).length).toBeGreaterThan(50);
});

// A flat array of labels has no shape that could be wrong.
const shaped = ["labels-rank-mismatch", "labels-extra-dim-1"];

describe("golden errors", () => {
  test.each(cases.filter((entry) => !shaped.includes(entry.name)).map((entry) => [entry.name, entry] as const))(
    "%s",
    (_, entry) => {
      const { expected } = entry;
      if (expected === undefined) {
        const result = call(entry);
        expectNumbers(result.loss, entry.loss);
        expectNumbers(result.gradient as Float32Array, entry.gradient);
        return;
      }
      const error = thrown(() => call(entry));
      expect(error).toMatch(new RegExp(`^${expected.error}: `));
      if (expected.reason === "label out of range") expect(error).toBe(outside(expected));
    },
  );

  test.each(cases.filter(isNested).map((entry) => [entry.name, entry] as const))("%s, of nested arrays", (_, entry) => {
    const error = thrown(() => callNested(entry));
    const { expected } = entry;
    if (expected === undefined) expect(error).toBe("nothing");
    else if (expected.row === undefined) expect(error).toMatch(new RegExp(`^${expected.error}: "(labels|logits)" `));
    else expect(error).toBe(outside(expected));
  });

  test.each(cases.filter((entry) => entry.ifNaN).map((entry) => [entry.name, entry] as const))(
    '%s is a NaN row with invalidLabels "nan"',
    (_, entry) => {
      const result = call(entry, { invalidLabels: "nan" });
      expectNumbers(result.loss, entry.ifNaN?.loss);
      expectNumbers(result.gradient as Float32Array, entry.ifNaN?.gradient);
    },
  );
});
