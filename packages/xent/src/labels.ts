import { wrongType } from "./errors.ts";

/** Class indices, one a row. Arrays of ordinary numbers are for the one-call form, small inputs and teaching. */
export type Labels =
  | Int32Array
  | Int8Array
  | Int16Array
  | Uint8Array
  | Uint16Array
  | Uint32Array
  | BigInt64Array
  | BigUint64Array
  | readonly number[];

const LARGEST = 2 ** 31 - 1;

/** Throws TypeError unless these are labels of a supported type. The values are {@link readLabels}' business. */
export function assertLabels(labels: unknown): asserts labels is Labels {
  if (Array.isArray(labels)) return;
  const typed = ArrayBuffer.isView(labels) && !(labels instanceof DataView);
  const name = typed ? labels.constructor.name : "";
  if (!typed || !/^(Int(8|16|32)|Uint(8|16|32)|Big(Int|Uint)64)Array$/.test(name)) {
    throw wrongType("labels", "an integer typed array, or an array of integers", labels);
  }
}

/**
 * Checks labels of rows from `begin` to `end`, and copies them where there is a `target`. Returns how many rows are not
 * ignored. Throws before the first write: TypeError for what is not an integer, RangeError for one outside of
 * [0, classes).
 */
export function readLabels(
  labels: Labels,
  classes: number,
  ignoreIndex: number | undefined,
  begin: number,
  end: number,
): number {
  let counted = end - begin;
  if (labels instanceof Int32Array) {
    for (let row = begin; row < end; row++) {
      const label = labels[row] as number;
      if (label === ignoreIndex) counted--;
      else if (label >>> 0 >= classes) throw outside(label, row, classes);
    }
    return counted;
  }
  for (let row = begin; row < end; row++) {
    const label = labels[row];
    if (typeof label === "bigint") {
      // Compared in 64 bits: 2^32 must not become 0.
      if (ignoreIndex !== undefined && label === BigInt(ignoreIndex)) counted--;
      else if (label < 0n || label >= BigInt(classes)) throw outside(label, row, classes);
    } else if (typeof label === "number" && Number.isInteger(label)) {
      if (label === ignoreIndex) counted--;
      else if (label < 0 || label >= classes) throw outside(label, row, classes);
    } else {
      throw wrongType("labels", `integers, but row ${row} has something else`, label);
    }
  }
  return counted;
}

/** Copies labels that {@link readLabels} has let pass. */
export function copyLabels(labels: Labels, target: Int32Array): void {
  if (labels instanceof BigInt64Array || labels instanceof BigUint64Array) {
    for (let row = 0; row < labels.length; row++) target[row] = Number(labels[row]);
  } else {
    target.set(labels);
  }
}

/** The largest number of classes that 32-bit labels can name. */
export const MAX_CLASSES: number = LARGEST;

/** TensorFlow's words. */
function outside(label: number | bigint, row: number, classes: number): RangeError {
  return new RangeError(
    `Received a label value of ${label} at row ${row}, which is outside the valid range of [0, ${classes})`,
  );
}
