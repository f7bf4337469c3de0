// https://huggingface.co/docs/safetensors: the length of a JSON header, the header, the tensors, one right behind the other.
// Own code: no package of any standing reads it without taking the whole file into memory.
import { type ArrayFile, choose } from "./array-file.ts";
import { FileBytes, openFile, take } from "./bytes.ts";
import type { DType } from "./dtypes.ts";
import { badData } from "./failure.ts";

const TYPES: ReadonlyMap<unknown, DType> = new Map([
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
/** As in the library of those who made the format. */
const MOST_HEADER_BYTES = 100_000_000;

interface Tensor {
  readonly dtype: unknown;
  readonly shape: readonly number[];
  readonly data_offsets: readonly [number, number];
}

export async function openSafetensors(path: string, wanted: string | undefined, usual: string): Promise<ArrayFile> {
  const { file, size } = await openFile(path);
  try {
    const start = new FileBytes(file, 0, size);
    const length = (await take(start, 8, path)).readBigUInt64LE();
    if (length > MOST_HEADER_BYTES) throw badData(`${path}: no .safetensors: a header of ${length} bytes`);
    const data = 8 + Number(length);
    const tensors = parse(path, (await take(start, Number(length), path)).toString());
    checkPlaces(path, tensors, data, size);
    const [name, { dtype, shape, data_offsets }] = choose(tensors, wanted, usual, path);
    const type = TYPES.get(dtype);
    if (type === undefined) throw badData(`${path}:${name}: numbers of type ${dtype}, which are not supported`);
    const [begin, end] = data_offsets;
    return { name: `${path}:${name}`, dtype: type, shape, bytes: new FileBytes(file, data + begin, end - begin) };
  } catch (error) {
    await file.close();
    throw error;
  }
}

function parse(path: string, header: string): Map<string, Tensor> {
  try {
    const { __metadata__, ...tensors } = JSON.parse(header) as Record<string, Tensor>;
    const entries = Object.entries(tensors);
    const areSizes = (list: unknown): boolean =>
      Array.isArray(list) && list.every((size) => Number.isSafeInteger(size) && size >= 0);
    if (entries.every(([, { shape, data_offsets }]) => areSizes(shape) && areSizes(data_offsets))) {
      return new Map(entries);
    }
  } catch {
    // As below.
  }
  throw badData(`${path}: no .safetensors: its header does not say where tensors are`);
}

/** The format leaves no byte out, and gives none to two tensors. */
function checkPlaces(path: string, tensors: ReadonlyMap<string, Tensor>, data: number, size: number): void {
  const places = Array.from(tensors, ([name, { data_offsets }]) => [name, ...data_offsets] as const);
  let place = 0;
  for (const [name, begin, end] of places.sort(([, a, b], [, c, d]) => a - c || b - d)) {
    if (begin !== place || end < begin) {
      throw badData(`${path}:${name}: at bytes ${begin} to ${end} of the data, where byte ${place} is next`);
    }
    place = end;
    if (data + end > size) {
      throw badData(`${path}:${name}: truncated: it ends at byte ${data + end}, the file at ${size}`);
    }
  }
  if (data + place < size)
    throw badData(`${path}: too long: its tensors end at byte ${data + place}, the file at ${size}`);
}
