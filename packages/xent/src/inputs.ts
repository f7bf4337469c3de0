// Reads the logits and soft targets of a caller, in any kind of array: once, before anything is written.

import { integer, wrongType } from "./errors.ts";
import { bitsOfNumbers } from "./half.ts";
import type { Layout } from "./layout.ts";
import type { LogitsArrays, LogitsType } from "./logits.ts";
import { entriesOf, type Leaves, leavesOf, type NestedArray, showShape } from "./nested.ts";
import { assertAttached, bareView, typedArrayKind } from "./typed-array.ts";

/** Rows of logits: a typed array, or arrays of numbers or of typed arrays, which state their shape themselves. */
export type Logits =
  | LogitsArray
  | NestedArray<number>
  // All rows have the same kind.
  | NestedArray<Float32Array>
  | NestedArray<Float64Array>
  | NestedArray<Uint16Array>
  | NestedArray<NumbersOf16Bits>;

/** Soft targets, in the layout of the logits; converted to f32. */
export type Targets =
  | Exclude<LogitsArray, Uint16Array>
  | NestedArray<number>
  | NestedArray<Float32Array>
  | NestedArray<Float64Array>
  | NestedArray<NumbersOf16Bits>;

type LogitsArray = Float32Array | Float64Array | Uint16Array | NumbersOf16Bits;

/** A Float16Array, if the runtime has the type. */
export interface NumbersOf16Bits extends ArrayBufferView {
  readonly length: number;
  readonly [index: number]: number;
  readonly [Symbol.toStringTag]: "Float16Array";
}

type Part = Float32Array | Float64Array | Uint16Array;

/** Numbers in row-major order. */
export interface Source {
  /** The kind of the leaves; "Array" for arrays of numbers. */
  readonly kind: "Array" | "Float32Array" | "Float64Array" | "Float16Array" | "Uint16Array";
  readonly parts: readonly Part[];
  readonly elements: number;
  /** The shape, if the arrays are nested. */
  readonly shape: readonly number[] | undefined;
}

const KINDS: readonly string[] = ["Float32Array", "Float64Array", "Float16Array", "Uint16Array"];

/** Throws TypeError for anything that is not a number, and RangeError for rows of different lengths. */
export function readSource(title: string, value: unknown, expected: string): Source {
  if (!Array.isArray(value)) {
    const kind = typedArrayKind(value);
    if (kind === undefined || !KINDS.includes(kind)) throw wrongType(title, expected, value);
    assertAttached(title, value);
    const part = bareView(value as Part);
    return { kind: kind as Source["kind"], parts: [part], elements: part.length, shape: undefined };
  }
  const found = leavesOf(title, value);
  const { kind, shape } = found;
  if (kind !== "Array" && !KINDS.includes(kind)) throw wrongType(title, expected, found.leaves[0]);
  const parts = kind === "Array" ? [numbersOf(title, found)] : viewsOf(title, found.leaves as readonly Part[]);
  const elements = parts.reduce((sum, part) => sum + part.length, 0);
  return { kind: kind as Source["kind"], parts, elements, shape: shape.length > 1 ? shape : undefined };
}

function viewsOf(title: string, parts: readonly Part[]): readonly Part[] {
  for (const part of parts) assertAttached(title, part);
  return parts.map(bareView);
}

function numbersOf(title: string, leaves: Leaves): Float64Array {
  return entriesOf(title, leaves, { expected: "numbers", entry: "entry" }, isNumber, Float64Array);
}

function isNumber(entry: unknown): entry is number {
  return typeof entry === "number";
}

/** Reads logits of any kind. */
export function readLogits(title: string, value: unknown): Source {
  return readSource(
    title,
    value,
    "a Float32Array, Float64Array, Float16Array or Uint16Array, or (nested) arrays of numbers",
  );
}

/** Throws TypeError for target logits that this type would round. Ordinary numbers are rounded, as for logits. */
export function assertWidens({ kind }: Source, type: LogitsType): void {
  const kinds: Record<LogitsType, readonly Source["kind"][]> = {
    float64: ["Float64Array", "Float32Array", "Float16Array"],
    float32: ["Float32Array", "Float16Array"],
    float16: ["Float16Array", "Uint16Array"],
    bfloat16: ["Uint16Array"],
  };
  if (kind !== "Array" && !kinds[type].includes(kind)) {
    throw new TypeError(`"targetLogits" is a ${kind}, but the logits are ${type}: give both the same type`);
  }
}

/** Reads soft targets of any kind. */
export function readTargets(title: string, value: unknown): Source {
  const expected = "a Float32Array, Float64Array or Float16Array, or (nested) arrays of numbers";
  const source = readSource(title, value, expected);
  if (source.kind === "Uint16Array") throw wrongType(title, expected, value);
  return source;
}

/** The places of a source in a batch: runs of `run` numbers, one every `step` elements, over `extent` elements. */
export interface Rows {
  readonly run: number;
  readonly step: number;
  readonly extent: number;
}

/** Throws RangeError for nested arrays whose shape does not fit this layout. `noun`: what a row has. */
export function rowsOf(
  { shape, elements }: Source,
  { classes, rowStride, inner }: Pick<Layout, "classes" | "rowStride" | "inner">,
  noun = "logits",
): Rows {
  const whole = { run: elements, step: elements, extent: elements };
  if (shape === undefined || elements === 0) return whole;
  const last = shape.at(-1);
  if (inner === 1 && last === classes) {
    return { run: classes, step: rowStride, extent: (elements / classes - 1) * rowStride + classes };
  }
  const behind = (axis: number): number => shape.slice(axis + 1).reduce((a, b) => a * b, 1);
  const fits =
    inner === 1 ? last === rowStride : shape.some((size, axis) => size === classes && behind(axis) === inner);
  if (fits) return whole;
  const rows = inner === 1 ? `rows of ${classes} ${noun}` : `${classes} classes with ${inner} interleaved rows`;
  throw new RangeError(`"source" of sizes ${showShape(shape)} does not fit ${rows}`);
}

/** Throws RangeError unless these elements fit at this offset. */
export function assertFits({ extent }: Pick<Rows, "extent">, offset: number, capacity: number): void {
  integer("offset", offset, 0, capacity);
  if (extent > capacity - offset) {
    throw new RangeError(`"source" takes ${extent} elements, but only ${capacity - offset} fit at offset ${offset}`);
  }
}

/** Writes the numbers as this type, each rounded once. A Uint16Array holds the bits of 16-bit floats. */
export function writeSource(
  { kind, parts }: Source,
  type: LogitsType,
  target: LogitsArrays[LogitsType],
  offset: number,
  { run, step }: Pick<Rows, "run" | "step">,
): void {
  let at = offset;
  // Parts are written one after the other: a part of the target itself must be read before.
  const isOne = parts.length === 1 && step === run;
  const own = isOne ? parts : parts.map((part) => (part.buffer === target.buffer ? part.slice() : part));
  for (const part of own) {
    if (step === run) {
      target.set(converted(part, kind, type), at);
      at += part.length;
      continue;
    }
    for (let i = 0; i < part.length; i += run) {
      target.set(converted(part.subarray(i, i + run), kind, type), at);
      at += step;
    }
  }
}

function converted(part: Part, kind: Source["kind"], type: LogitsType): Part {
  if (type === "float32" || type === "float64" || kind === "Uint16Array") return part;
  if (kind === "Float16Array" && type === "float16") {
    return new Uint16Array(part.buffer, part.byteOffset, part.length);
  }
  return bitsOfNumbers(part, type);
}
