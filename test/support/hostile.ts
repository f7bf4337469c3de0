// For suites about hostile callers: an instance with two batches, and options whose getters run code.
import { expect } from "vitest";
import { type Batch, createXentSync, type RunOptions } from "xent";
import { copyBytes, firstDifference } from "../support/bytes.ts";
import { bitsOf, EVERYTHING, exampleBatch, exampleRows, type RowsSpec } from "../support/example.ts";

export const PAGE = 65536;
export const ROWS = 5;
export const CLASSES = 7;
export const SPEC: RowsSpec = { rows: ROWS, classes: CLASSES, gradient: true };
export const EXPECTED = bitsOf(exampleBatch(createXentSync(), SPEC).run(EVERYTHING));
export const { logits, labels } = exampleRows(ROWS, CLASSES);

/** An instance with the batch under test, and another one that must not change. */
export function scene(shared = false) {
  const xent = createXentSync({ maxBytes: 16 * PAGE, shared });
  const other = exampleBatch(xent, SPEC, 2);
  other.run(EVERYTHING);
  const batch = exampleBatch(xent, SPEC);
  const partsOf = ({ logits, labels, gradient, loss }: Batch) =>
    [logits, labels, gradient ?? loss, loss].map(copyBytes);
  const before = partsOf(other);
  const check = (): void => {
    for (const [i, part] of partsOf(other).entries())
      expect(firstDifference(part, before[i] as Uint8Array)).toBeUndefined();
    using fresh = exampleBatch(xent, SPEC);
    expect(bitsOf(fresh.run(EVERYTHING))).toEqual(EXPECTED);
  };
  return { xent, batch, other, check };
}

/** A getter that acts before it returns its value. */
export const doing =
  <T>(act: () => void, value: T) =>
  (): T => {
    act();
    return value;
  };

/** Options with this getter. */
export const reading = (name: string, read: () => unknown): RunOptions =>
  Object.defineProperty({ ...EVERYTHING }, name, { get: read, enumerable: true });

export const NAMES = [
  "gradient",
  "reduction",
  "ignoreIndex",
  "classWeights",
  "sampleWeights",
  "labelSmoothing",
  "zLoss",
  "softcap",
];
export const OPTIONS = [...NAMES, "temperature", "predictions", "invalidLabels"];
export const everything = (name: string): unknown => (EVERYTHING as Record<string, unknown>)[name];
export const boom = (): never => {
  throw new Error("boom");
};
