import { bufferOf, byteOffsetOf, choice, lengthOf, typedArrayKind, wrongType } from "./errors.ts";

/** Rows of logits. Nested arrays of numbers state their shape themselves, if they have two axes. */
export type Logits =
  | Float32Array
  | Float64Array
  | Uint16Array
  | NumbersOf16Bits
  | readonly number[]
  | readonly (readonly number[])[];

/** Float16Array, where the runtime has it. */
interface NumbersOf16Bits extends ArrayBufferView {
  readonly length: number;
  readonly [index: number]: number;
  readonly [Symbol.toStringTag]: "Float16Array";
}

/** The typed arrays of logits in a batch. 16-bit numbers are given as their bits: not every runtime has a Float16Array. */
export interface LogitsArrays {
  float32: Float32Array;
  float64: Float64Array;
  float16: Uint16Array;
  bfloat16: Uint16Array;
}

/** The name of a type of logits. */
export type LogitsType = keyof LogitsArrays;

/** The typed arrays of gradients, by the type of the logits. */
export interface GradientArrays {
  float32: Float32Array;
  float64: Float64Array;
  float16: Float32Array;
  bfloat16: Float32Array;
}

type Constructor<T> = {
  new (buffer: ArrayBufferLike, byteOffset: number, length: number): T;
  readonly BYTES_PER_ELEMENT: number;
};

/** Constructors by the name of the type. */
export const LOGITS: { readonly [T in LogitsType]: Constructor<LogitsArrays[T]> } = {
  float32: Float32Array,
  float64: Float64Array,
  float16: Uint16Array,
  bfloat16: Uint16Array,
};

/** Constructors of the gradient, by the type of the logits. */
export const GRADIENTS: { readonly [T in LogitsType]: Constructor<GradientArrays[T]> } = {
  float32: Float32Array,
  float64: Float64Array,
  float16: Float32Array,
  bfloat16: Float32Array,
};

/** Throws unless this names a type of logits. */
export function logitsType(name: unknown): LogitsType {
  return choice("logits", name, Object.keys(LOGITS) as LogitsType[]);
}

/** Whether the memory of an array has been given away (postMessage with transfer, or a grown WebAssembly.Memory). */
function isDetached(array: ArrayBufferView): boolean {
  if (lengthOf(array) > 0) return false;
  try {
    new Uint8Array(bufferOf(array));
    return false;
  } catch {
    return true;
  }
}

/** Throws TypeError for an array whose memory has been given away. */
export function assertAttached(title: string, array: unknown): void {
  if (ArrayBuffer.isView(array) && typedArrayKind(array) !== undefined && isDetached(array)) {
    throw new TypeError(
      `"${title}" is detached: its memory was transferred, or belonged to a WebAssembly.Memory that has grown`,
    );
  }
}

/** What an array of logits says of itself. */
export interface Measure {
  readonly type: LogitsType;
  readonly elements: number;
  /** Of nested arrays. */
  readonly shape: readonly [number, number] | undefined;
}

/** `bits` says what the numbers of a Uint16Array are. */
export function measure(logits: unknown, bits: "float16" | "bfloat16" | undefined): Measure {
  if (ArrayBuffer.isView(logits)) return measureTyped(logits, bits);
  if (!Array.isArray(logits)) throw wrongType("logits", "a Float32Array, or an array of numbers", logits);
  const rows: readonly unknown[] = logits;
  const first = rows[0];
  if (!Array.isArray(first)) {
    const wrong = rows.findIndex((x) => typeof x !== "number");
    if (wrong >= 0) throw wrongType("logits", `numbers, but entry ${wrong} is something else`, rows[wrong]);
    return { type: "float32", elements: rows.length, shape: undefined };
  }
  if (first.length === 0) throw new RangeError('"logits" expected at least one class, got 0 logits');
  for (const [index, row] of rows.entries()) {
    if (!Array.isArray(row)) throw wrongType("logits", `rows of numbers, but row ${index} is something else`, row);
    if (row.length !== first.length) {
      throw new RangeError(`"logits" has ${first.length} classes in row 0, but ${row.length} in row ${index}`);
    }
    const wrong = row.findIndex((x) => typeof x !== "number");
    if (wrong >= 0) throw wrongType("logits", `numbers, but row ${index} has something else at ${wrong}`, row[wrong]);
  }
  return { type: "float32", elements: rows.length * first.length, shape: [rows.length, first.length] };
}

function measureTyped(logits: ArrayBufferView, bits: "float16" | "bfloat16" | undefined): Measure {
  assertAttached("logits", logits);
  const of = (type: LogitsType): Measure => ({ type, elements: lengthOf(logits), shape: undefined });
  const kind = typedArrayKind(logits);
  if (kind === "Float32Array") return of("float32");
  if (kind === "Float64Array") return of("float64");
  if (kind === "Float16Array") return of("float16");
  if (kind === "Uint16Array") {
    if (bits === undefined) {
      throw new TypeError('"logits" is a Uint16Array: say what its numbers are, with logits: "float16" or "bfloat16"');
    }
    return of(bits);
  }
  throw wrongType(
    "logits",
    "a Float32Array, Float64Array, Float16Array or Uint16Array, or an array of numbers",
    logits,
  );
}

/** Copies logits that {@link measure} has let pass. */
export function copyLogits(logits: Logits, target: LogitsArrays[LogitsType]): void {
  if (!ArrayBuffer.isView(logits)) {
    let at = 0;
    for (const entry of logits) {
      if (typeof entry === "number") target[at++] = entry;
      else for (const x of entry) target[at++] = x;
    }
  } else if (typedArrayKind(logits) === "Float16Array") {
    target.set(new Uint16Array(bufferOf(logits), byteOffsetOf(logits), lengthOf(logits)));
  } else {
    target.set(logits as Float32Array);
  }
}
