import { fileOf, isRaw, isText, openArray } from "./arrays.ts";
import type { Bytes } from "./bytes.ts";
import { BYTES, type DType, type INTEGERS, isFloat } from "./dtypes.ts";
import { badData } from "./failure.ts";
import { wordsOf } from "./text.ts";

/** A file of integers, read in order. */
export interface LabelFile {
  readonly name: string;
  readonly dtype: DType | "text";
  /** Undefined if the file states none; only reading to its end then tells how many labels it has. */
  readonly shape: readonly number[] | undefined;
  /** Some thousands of labels at a time. */
  readonly chunks: AsyncGenerator<LabelChunk>;
  close(): Promise<void>;
}

export interface LabelChunk {
  /** Exact below 2^53. */
  readonly numbers: ArrayLike<number>;
  /** A number as it is in the file, for messages. */
  readonly textOf: (i: number) => string;
}

export type LabelsDType = (typeof INTEGERS)[number];

/** What the caller expects of a file of labels. */
export interface LabelSpec {
  /** The type of the numbers in a file without a header. */
  readonly raw?: LabelsDType | undefined;
  /** Whether it may have booleans, read as 0 and 1. */
  readonly isMask?: boolean;
}

export async function openLabels(spec: string, { raw, isMask = false }: LabelSpec = {}): Promise<LabelFile> {
  if (isText(spec)) {
    const chunks = integersOf(spec);
    const close = async (): Promise<void> => void (await chunks.return(undefined));
    return { name: spec, dtype: "text", shape: undefined, chunks, close };
  }
  const { name, dtype, shape, bytes } = await openArray(spec, {
    usual: isMask ? "mask" : "labels",
    raw: { dtype: raw ?? (isMask ? "uint8" : "int32") },
  });
  const close = (): Promise<void> => bytes.close();
  if (isFloat(dtype) || (dtype === "bool" && !isMask)) {
    await close();
    throw badData(`${name}: expected integers${isMask ? " or bool" : ""}, found ${dtype}`);
  }
  if (raw !== undefined && isRaw(spec) && dtype !== raw) {
    await close();
    throw badData(`${name}: expected ${raw}, found ${dtype}`);
  }
  return { name, dtype, shape, chunks: numbersOf(bytes, dtype), close };
}

async function* integersOf(spec: string): AsyncGenerator<LabelChunk, void> {
  const { path, name } = fileOf(spec);
  let row = 0;
  for await (const words of wordsOf(path, name)) {
    const wrong = words.findIndex((word) => !isInteger(word));
    if (wrong >= 0)
      throw badData(`${name}: row ${row + wrong} has ${quote(words[wrong] as string)}, which is not an integer`);
    yield { numbers: words.map(Number), textOf: (i) => shorten(words[i] as string) };
    row += words.length;
  }
}

/** Also accepts integers as numpy.savetxt and pandas write them as floats: 1.000e+00, 3.0. */
function isInteger(word: string): boolean {
  if (/^[+-]?\d+$/.test(word)) return true;
  const [, whole, fraction = "", exponent = "0"] = /^[+-]?(\d+)(?:\.(\d*))?(?:e([+-]?\d+))?$/i.exec(word) ?? [];
  if (whole === undefined) return false;
  // Number(word) would round it.
  const point = Math.min(whole.length + Number(exponent), whole.length + fraction.length);
  return /^0*$/.test(point < 0 ? whole + fraction : (whole + fraction).slice(point));
}

/** In a file that is not text, a word may have any length and any characters. */
const shorten = (word: string): string => (word.length > 30 ? `${word.slice(0, 29)}…` : word);
const quote = (word: string): string => JSON.stringify(shorten(word));

const CHUNK_BYTES = 2 ** 18;

const ARRAYS = {
  bool: Uint8Array,
  int8: Int8Array,
  uint8: Uint8Array,
  int16: Int16Array,
  uint16: Uint16Array,
  int32: Int32Array,
  uint32: Uint32Array,
};

async function* numbersOf(
  bytes: Bytes,
  dtype: Exclude<DType, `${string}float${string}`>,
): AsyncGenerator<LabelChunk, void> {
  const chunk = new Uint8Array(CHUNK_BYTES);
  while (bytes.left > 0) {
    const length = Math.floor((await bytes.read(chunk)) / BYTES[dtype]);
    if (length === 0) return;
    if (dtype === "int64" || dtype === "uint64") {
      // Read 64-bit integers as two halves: creating a BigInt for each would dominate the time.
      const words = new (dtype === "int64" ? Int32Array : Uint32Array)(chunk.buffer, 0, 2 * length);
      const numberOf = (i: number): number => (words[2 * i + 1] as number) * 2 ** 32 + ((words[2 * i] as number) >>> 0);
      const integers = new (dtype === "int64" ? BigInt64Array : BigUint64Array)(chunk.buffer, 0, length);
      yield { numbers: Float64Array.from({ length }, (_, i) => numberOf(i)), textOf: (i) => `${integers[i]}` };
    } else {
      const numbers = new ARRAYS[dtype](chunk.buffer, 0, length);
      yield { numbers, textOf: (i) => `${numbers[i]}` };
    }
  }
}
