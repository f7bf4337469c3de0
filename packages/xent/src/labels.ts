import { choice, typedArrayKind, wrongType } from "./errors.ts";

/** Class indices, one a row. Arrays of ordinary numbers are for the one-call form, small inputs and teaching. */
export type Labels = LabelsArrays[LabelsType] | readonly number[];

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

/** Throws unless this names a type of labels. */
export function labelsType(name: unknown): LabelsType {
  return choice("labels", name, Object.keys(LABELS) as LabelsType[]);
}

/** The type of a typed array of labels. */
export function labelsTypeOf(labels: unknown): LabelsType | undefined {
  const kind = typedArrayKind(labels);
  const entry = Object.entries(LABELS).find(([, type]) => type.name === kind);
  return entry?.[0] as LabelsType | undefined;
}

/** Throws TypeError unless these are labels of a supported type. The values are {@link readLabels}' business. */
export function assertLabels(labels: unknown): asserts labels is Labels {
  if (Array.isArray(labels)) return;
  if (labelsTypeOf(labels) === undefined) {
    throw wrongType("labels", "an integer typed array, or an array of integers", labels);
  }
}

/** What the kernel is told instead of a label, where it reads a copy. */
export const IGNORED = -1;
const INVALID = -2;

/** How labels belong to rows, and what they may be. */
export interface LabelRules {
  readonly classes: number;
  readonly ignoreIndex: number | undefined;
  /** Whether labels outside of the range are an error, or make their rows NaN. */
  readonly strict: boolean;
  /** Row i has label i + shift of its sequence; the last `shift` rows of each sequence have none and are ignored. */
  readonly shift: number;
  /** Rows of a sequence. */
  readonly sequence: number;
  /** Weight of each class in the normalizer; 1 where absent. */
  readonly classWeights: Float32Array | undefined;
}

/** The plain rules: each row has the label at its own place. */
export function isDirect(labels: Labels, rules: LabelRules): boolean {
  return labels instanceof Int32Array && rules.shift === 0;
}

/**
 * Checks the labels of the rows from `begin` to `end`. Returns how many are not ignored, and their weight: the same without
 * class weights. Throws TypeError for what is not an integer, RangeError for one outside of
 * [0, classes).
 */
export function readLabels(
  labels: Labels,
  rules: LabelRules,
  begin: number,
  end: number,
): [count: number, normalizer: number] {
  if (labels instanceof Int32Array && rules.shift === 0 && rules.strict && !rules.classWeights) {
    const count = countLabels(labels, rules.classes, rules.ignoreIndex, begin, end);
    return [count, count];
  }
  let [count, normalizer] = [0, 0];
  for (let row = begin; row < end; row++) {
    const label = labelOf(labels, rules, row);
    if (label === IGNORED) continue;
    count++;
    normalizer += label >= 0 ? (rules.classWeights?.[label] ?? 1) : 1;
  }
  return [count, normalizer];
}

/** Writes what {@link readLabels} has let pass, as the kernel takes it. */
export function copyLabels(labels: Labels, rules: LabelRules, begin: number, end: number, target: Int32Array): void {
  for (let row = begin; row < end; row++) target[row] = labelOf(labels, rules, row);
}

/** The usual case, with nothing else in the loop. */
function countLabels(
  labels: Int32Array,
  classes: number,
  ignoreIndex: number | undefined,
  begin: number,
  end: number,
): number {
  let counted = end - begin;
  for (let row = begin; row < end; row++) {
    const label = labels[row] as number;
    if (label === ignoreIndex) counted--;
    else if (label >>> 0 >= classes) throw outside(label, row, classes);
  }
  return counted;
}

/** The class of a row, {@link IGNORED}, or where that is allowed INVALID. */
function labelOf(labels: Labels, rules: LabelRules, row: number): number {
  const { classes, ignoreIndex, strict, shift, sequence } = rules;
  if ((row % sequence) + shift >= sequence) return IGNORED;
  const label = labels[row + shift];
  // Compared in 64 bits: 2^32 must not become 0.
  if (typeof label === "bigint" && !Array.isArray(labels)) {
    if (ignoreIndex !== undefined && label === BigInt(ignoreIndex)) return IGNORED;
    if (label >= 0n && label < BigInt(classes)) return Number(label);
  } else if (typeof label === "number" && Number.isInteger(label)) {
    if (label === ignoreIndex) return IGNORED;
    if (label >= 0 && label < classes) return label;
  } else {
    throw wrongType("labels", `integers, but row ${row} has something else`, label);
  }
  if (strict) throw outside(label, row, classes);
  return INVALID;
}

/** TensorFlow's words. */
function outside(label: number | bigint, row: number, classes: number): RangeError {
  return new RangeError(
    `Received a label value of ${label} at row ${row}, which is outside the valid range of [0, ${classes})`,
  );
}
