// https://huggingface.co/docs/safetensors: the length of a JSON header, the header, and the tensors without gaps.
// Own code: no established package reads the format without loading the whole file into memory.
import { type ArrayFile, choose, type NamedFile } from "./array-file.ts";
import { FileBytes, openFile, take } from "./bytes.ts";
import type { DType } from "./dtypes.ts";
import { badData } from "./failure.ts";

const TYPES: ReadonlyMap<unknown, DType> = new Map([
  ["BOOL", "bool"],
  ["F16", "float16"],
  ["BF16", "bfloat16"],
  ["F32", "float32"],
  ["F64", "float64"],
  ["I8", "int8"],
  ["U8", "uint8"],
  ["I16", "int16"],
  ["U16", "uint16"],
  ["I32", "int32"],
  ["U32", "uint32"],
  ["I64", "int64"],
  ["U64", "uint64"],
]);
/** The limit of the reference implementation. */
const MOST_HEADER_BYTES = 100_000_000;
/** The most values in a header, enough for 100,000 tensors. Parsed values take many times the memory of their text. */
const MOST_VALUES = 1_000_000;

interface Tensor {
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly data_offsets: readonly [number, number];
}

export async function openSafetensors(named: NamedFile, usual: string): Promise<ArrayFile> {
  const { name, path } = named;
  const { file, size, assertUnchanged } = await openFile(path, name);
  try {
    const start = new FileBytes(name, file, 0, size);
    const length = (await take(start, 8, name)).readBigUInt64LE();
    if (length > MOST_HEADER_BYTES) throw badData(`${name}: not a .safetensors file: a header of ${length} bytes`);
    const data = 8 + Number(length);
    const header = await take(start, Number(length), name);
    if (hasTooMany(header))
      throw badData(`${name}: not a .safetensors file: a header of more than ${MOST_VALUES} values`);
    const tensors = parse(name, header.toString());
    checkPlaces(name, tensors, data, size);
    const [tensor, { dtype, shape, data_offsets }] = choose(tensors, named, usual);
    const array = `${name}:${tensor}`;
    const type = TYPES.get(dtype);
    if (type === undefined) throw badData(`${array}: unsupported type ${dtype}`);
    const [begin, end] = data_offsets;
    const bytes = new FileBytes(array, file, data + begin, end - begin, assertUnchanged);
    return { name: array, dtype: type, shape, bytes };
  } catch (error) {
    await file.close();
    throw error;
  }
}

function parse(name: string, header: string): Map<string, Tensor> {
  try {
    const { __metadata__, ...tensors } = JSON.parse(header) as Record<string, Tensor>;
    const entries = Object.entries(tensors);
    if (entries.every(([, tensor]) => isTensor(tensor))) return new Map(entries);
  } catch {
    // As below.
  }
  throw badData(`${name}: not a .safetensors file: invalid header`);
}

function isTensor({ dtype, shape, data_offsets }: Readonly<Record<keyof Tensor, unknown>>): boolean {
  const areSizes = (list: unknown): list is number[] =>
    Array.isArray(list) && list.every((size) => Number.isSafeInteger(size) && size >= 0);
  return typeof dtype === "string" && areSizes(shape) && areSizes(data_offsets) && data_offsets.length === 2;
}

/** Whether a header has more than {@link MOST_VALUES} values, by counting commas and brackets outside of strings. */
function hasTooMany(header: Uint8Array): boolean {
  let values = 0;
  for (let at = 0; at < header.length; at++) {
    const byte = header[at];
    if (byte === QUOTE) {
      do {
        at = header.indexOf(QUOTE, at + 1);
        if (at < 0) return false;
      } while (isEscaped(header, at));
    } else if (byte === COMMA || byte === BRACKET || byte === BRACE) values++;
  }
  return values > MOST_VALUES;
}

const [QUOTE, BACKSLASH, COMMA, BRACKET, BRACE] = ['"', "\\", ",", "[", "{"].map((text) => text.charCodeAt(0)) as [
  number,
  number,
  number,
  number,
  number,
];

/** Whether an odd number of backslashes precedes the character. */
function isEscaped(header: Uint8Array, at: number): boolean {
  let begin = at;
  while (header[begin - 1] === BACKSLASH) begin--;
  return (at - begin) % 2 === 1;
}

/** The format allows neither gaps nor overlaps between tensors. */
function checkPlaces(path: string, tensors: ReadonlyMap<string, Tensor>, data: number, size: number): void {
  const places = Array.from(tensors, ([name, { data_offsets }]) => [name, ...data_offsets] as const);
  let place = 0;
  for (const [name, begin, end] of places.sort(([, a, b], [, c, d]) => a - c || b - d)) {
    if (begin !== place || end < begin) {
      throw badData(`${path}:${name}: at bytes ${begin} to ${end} of the data: expected it at byte ${place}`);
    }
    place = end;
    if (data + end > size) {
      throw badData(`${path}:${name}: truncated: it ends at byte ${data + end}, the file at ${size}`);
    }
  }
  if (data + place < size)
    throw badData(`${path}: too long: its tensors end at byte ${data + place}, the file at ${size}`);
}
