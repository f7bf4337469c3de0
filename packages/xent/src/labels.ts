import { choice, wrongType } from "./errors.ts";
import { entriesOf, leavesOf, type NestedArray } from "./nested.ts";
import { assertAttached, bareView, typedArrayKind } from "./typed-array.ts";

/** Class indices, one for each row: a typed array, or (nested) arrays of numbers or BigInts. */
export type Labels = LabelsArrays[LabelsType] | NestedArray<number | bigint> | NestedArray<LabelsArrays[LabelsType]>;

/** Labels in order, and the shape, if the arrays are nested. */
export interface LabelRows {
  readonly labels: FlatLabels;
  readonly shape: readonly number[] | undefined;
}

/** Labels that have been read: one for each row, in order. */
export type FlatLabels = LabelsArrays[LabelsType] | readonly (number | bigint)[];

/** The typed arrays of labels. */
export interface LabelsArrays {
  int32: Int32Array;
  int8: Int8Array;
  int16: Int16Array;
  uint8: Uint8Array;
  uint16: Uint16Array;
  uint32: Uint32Array;
  int64: BigInt64Array;
  uint64: BigUint64Array;
}

/** The name of a type of labels. */
export type LabelsType = keyof LabelsArrays;

/** Constructors by the name of the type. */
export const LABELS: {
  readonly [T in LabelsType]: {
    new (buffer: ArrayBufferLike, byteOffset: number, length: number): LabelsArrays[T];
    readonly BYTES_PER_ELEMENT: number;
    readonly name: string;
  };
} = {
  int32: Int32Array,
  int8: Int8Array,
  int16: Int16Array,
  uint8: Uint8Array,
  uint16: Uint16Array,
  uint32: Uint32Array,
  int64: BigInt64Array,
  uint64: BigUint64Array,
};

/** Returns the name of a type of labels, or throws. */
export function labelsType(name: unknown): LabelsType {
  return choice("labels", name, Object.keys(LABELS) as LabelsType[]);
}

/** The type of a typed array of labels. */
export function labelsTypeOf(labels: unknown): LabelsType | undefined {
  const kind = typedArrayKind(labels);
  const entry = Object.entries(LABELS).find(([, type]) => type.name === kind);
  return entry?.[0] as LabelsType | undefined;
}

/** Throws TypeError unless these are labels of a supported type. {@link readLabels} checks the values. */
export function flatLabels(title: string, labels: unknown): LabelRows {
  const expected = "an integer typed array, or an array of integers";
  if (!Array.isArray(labels)) {
    if (labelsTypeOf(labels) === undefined) throw wrongType(title, expected, labels);
    assertAttached(title, labels);
    return { labels: bareView(labels as LabelsArrays[LabelsType]), shape: undefined };
  }
  const found = leavesOf(title, labels);
  const [leaf] = found.leaves;
  if (found.kind !== "Array" && labelsTypeOf(leaf) === undefined) throw wrongType(title, expected, leaf);
  const all = entriesOf(title, found, { expected: "integers", entry: "row" }, isLabel, Array<number | bigint>);
  // An Int32Array is checked and copied faster, without a type check for each label.
  const isInt32 = all.every((label) => label === (Number(label) | 0));
  const flat = isInt32 ? Int32Array.from(all as readonly number[]) : all;
  return { labels: flat, shape: found.shape.length > 1 ? found.shape : undefined };
}

function isLabel(entry: unknown): entry is number | bigint {
  return typeof entry === "bigint" || Number.isInteger(entry);
}

/** Labels in an array of this type. Throws RangeError for a label that the type cannot hold. */
export function exactLabels(title: string, labels: FlatLabels, type: LabelsType): LabelsArrays[LabelsType] {
  const { name, BYTES_PER_ELEMENT: bytes } = LABELS[type];
  if (typedArrayKind(labels) === name) return labels as LabelsArrays[LabelsType];
  const isUnsigned = type.startsWith("u");
  const bits = 8 * bytes - (isUnsigned ? 0 : 1);
  const least = isUnsigned ? 0 : -(2 ** bits);
  const exact = new LABELS[type](new ArrayBuffer(bytes * labels.length), 0, labels.length);
  for (let i = 0; i < labels.length; i++) {
    const label = labels[i] as number | bigint;
    // JavaScript compares numbers and BigInts exactly.
    if (label < least || label >= 2 ** bits) {
      const a = isUnsigned ? "a" : "an";
      throw new RangeError(
        `"${title}" has ${label} at ${i}, which is not ${a} ${type}: create the batch with other labels`,
      );
    }
    if (bytes === 8) (exact as BigInt64Array)[i] = BigInt(label);
    else (exact as Int32Array)[i] = Number(label);
  }
  return exact;
}

/** The values that stand for ignored and invalid labels in a copy. */
export const IGNORED = -1;
export const INVALID = -2;

/** Which label belongs to which row, and which values are allowed. */
export interface LabelRules {
  readonly classes: number;
  readonly ignoreIndex: number | undefined;
  /** Whether a label outside the range is an error; otherwise its row is NaN. */
  readonly strict: boolean;
  /** Row i has label i + shift of its sequence; the last `shift` rows of each sequence have none and are ignored. */
  readonly shift: number;
  /** Rows of a sequence. */
  readonly sequence: number;
  /** Weight of each class in the normalizer; 1 if absent. */
  readonly classWeights: Float32Array | undefined;
}

/** The default: row i has label i. */
export function isDirect(labels: FlatLabels, rules: LabelRules): boolean {
  return labels instanceof Int32Array && rules.shift === 0;
}

/**
 * Checks the labels of the rows from `begin` to `end`. Returns how many are not ignored, and the sum of their weights, which is the
 * same number without class weights. Throws TypeError for a label that is not an integer, RangeError for one outside of [0, classes).
 */
export function readLabels(
  labels: FlatLabels,
  rules: LabelRules,
  begin: number,
  end: number,
): [count: number, normalizer: number] {
  const { classes, ignoreIndex, strict, shift, classWeights } = rules;
  if (strict && shift === 0) {
    const count = countClasses(labels, classes, ignoreIndex, begin, end);
    // If the count is undefined, a label is invalid, and the loop below finds it.
    if (count !== undefined) {
      return [count, classWeights ? weightOfLabels(labels, classWeights, ignoreIndex, begin, end) : count];
    }
  }
  const label = labelReader(labels, rules);
  let [count, normalizer] = [0, 0];
  for (let row = begin; row < end; row++) {
    const found = label(row);
    if (found === IGNORED) continue;
    count++;
    normalizer += found >= 0 ? (classWeights?.[found] ?? 1) : 1;
  }
  return [count, normalizer];
}

/** Writes labels that {@link readLabels} has accepted in the form that the kernel reads. */
export function copyLabels(
  labels: FlatLabels,
  rules: LabelRules,
  begin: number,
  end: number,
  target: Int32Array,
): void {
  const words = wordsOf(labels);
  if (words && rules.strict && rules.shift === 0) {
    const ignored = wordsOfIndex(labels, rules.ignoreIndex);
    if (ignored) {
      for (let row = begin; row < end; row++) {
        const label = words[2 * row] as number;
        target[row] = label === ignored.low && words[2 * row + 1] === ignored.high ? IGNORED : label;
      }
    } else for (let row = begin; row < end; row++) target[row] = words[2 * row] as number;
    return;
  }
  const label = labelReader(labels, rules);
  for (let row = begin; row < end; row++) target[row] = label(row);
}

/**
 * The common cases, without a branch for each label: one below 0 or above the last class sets a sign bit. Returns how many are not
 * ignored; undefined if one is invalid.
 */
function countClasses(
  labels: FlatLabels,
  classes: number,
  ignoreIndex: number | undefined,
  begin: number,
  end: number,
): number | undefined {
  if (labels instanceof Int32Array) return countInt32(labels, classes, ignoreIndex, begin, end);
  const words = wordsOf(labels);
  return words && countWords(words, classes, wordsOfIndex(labels, ignoreIndex), begin, end);
}

function countWords(
  words: Int32Array,
  classes: number,
  index: { low: number; high: number } | undefined,
  begin: number,
  end: number,
): number | undefined {
  const last = classes - 1;
  let bad = 0;
  let ignored = 0;
  let high = 0;
  if (index === undefined) {
    for (let row = begin; row < end; row++) {
      const label = words[2 * row] as number;
      high |= words[2 * row + 1] as number;
      bad |= label | (last - label);
    }
  } else {
    for (let row = begin; row < end; row++) {
      const label = words[2 * row] as number;
      const above = words[2 * row + 1] as number;
      const same = label === index.low && above === index.high ? 1 : 0;
      ignored += same;
      high |= above & (same - 1);
      bad |= (label | (last - label)) & (same - 1);
    }
  }
  return bad < 0 || high !== 0 ? undefined : end - begin - ignored;
}

function countInt32(
  labels: Int32Array,
  classes: number,
  ignoreIndex: number | undefined,
  begin: number,
  end: number,
): number | undefined {
  const last = classes - 1;
  let bad = 0;
  let ignored = 0;
  if (ignoreIndex === undefined) {
    for (let row = begin; row < end; row++) {
      const label = labels[row] as number;
      bad |= label | (last - label);
    }
  } else {
    for (let row = begin; row < end; row++) {
      const label = labels[row] as number;
      const same = label === ignoreIndex ? 1 : 0;
      ignored += same;
      bad |= (label | (last - label)) & (same - 1);
    }
  }
  return bad < 0 ? undefined : end - begin - ignored;
}

/** The sum of the weights of labels that {@link countClasses} has accepted. */
function weightOfLabels(
  labels: FlatLabels,
  classWeights: Float32Array,
  ignoreIndex: number | undefined,
  begin: number,
  end: number,
): number {
  const words = wordsOf(labels);
  // Comparing with undefined takes four times as long. No label that has been accepted is -1, or has such words.
  const { low, high } = wordsOfIndex(labels, ignoreIndex) ?? { low: -1, high: -1 };
  const ignored = ignoreIndex ?? -1;
  let sum = 0;
  if (words) {
    for (let row = begin; row < end; row++) {
      const label = words[2 * row] as number;
      if (label !== low || words[2 * row + 1] !== high) sum += classWeights[label] as number;
    }
  } else {
    for (let row = begin; row < end; row++) {
      const label = labels[row] as number;
      if (label !== ignored) sum += classWeights[label] as number;
    }
  }
  return sum;
}

/** 64-bit integers as pairs of 32-bit words, the lower one first. Creating BigInts would take thirty times as long. */
function wordsOf(labels: FlatLabels): Int32Array | undefined {
  const isWide = labels instanceof BigInt64Array || labels instanceof BigUint64Array;
  return isWide ? new Int32Array(labels.buffer, labels.byteOffset, 2 * labels.length) : undefined;
}

/** An ignore index as a pair of words; undefined if labels of this type cannot have it. */
function wordsOfIndex(labels: FlatLabels, ignoreIndex: number | undefined): { low: number; high: number } | undefined {
  if (ignoreIndex === undefined || (ignoreIndex < 0 && labels instanceof BigUint64Array)) return undefined;
  return { low: ignoreIndex | 0, high: Math.floor(ignoreIndex / 2 ** 32) };
}

/** A function that maps a row to its class, to {@link IGNORED} or, unless `strict`, to INVALID. */
function labelReader(labels: FlatLabels, rules: LabelRules): (row: number) => number {
  const { classes, ignoreIndex, strict, shift, sequence } = rules;
  const words = wordsOf(labels);
  return (row) => {
    if (shift > 0 && (row % sequence) + shift >= sequence) return IGNORED;
    const at = row + shift;
    // Compare all 64 bits: 2^32 must not count as 0.
    if (words && words[2 * at + 1] === 0) {
      const low = words[2 * at] as number;
      if (low >= 0 && low < classes && low !== ignoreIndex) return low;
    }
    const label = labels[at] as number | bigint;
    if (typeof label === "bigint") {
      if (ignoreIndex !== undefined && label === BigInt(ignoreIndex)) return IGNORED;
      if (label >= 0n && label < BigInt(classes)) return Number(label);
    } else {
      if (label === ignoreIndex) return IGNORED;
      if (label >= 0 && label < classes) return label;
    }
    if (strict) throw outside(label, row, classes);
    return INVALID;
  };
}

/** The error for a label that is not a class, with TensorFlow's message. */
function outside(label: number | bigint, row: number, classes: number): RangeError {
  return new RangeError(
    `Received a label value of ${label} at row ${row}, which is outside the valid range of [0, ${classes})`,
  );
}
