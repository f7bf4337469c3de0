// https://huggingface.co/docs/safetensors: the length of a JSON header, the header, the tensors.
// Own code: no package of any standing reads it without taking the whole file into memory.
import { open } from "node:fs/promises";
import { type ArrayFile, choose } from "./array-file.ts";
import { FileBytes, take } from "./bytes.ts";
import type { DType } from "./dtypes.ts";
import { badData } from "./failure.ts";

const TYPES: Record<string, DType> = {
  F16: "float16",
  BF16: "bfloat16",
  F32: "float32",
  F64: "float64",
  I8: "int8",
  U8: "uint8",
  I16: "int16",
  U16: "uint16",
  I32: "int32",
  U32: "uint32",
  I64: "int64",
  U64: "uint64",
};

interface Tensor {
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly data_offsets: readonly [number, number];
}

export async function openSafetensors(path: string, wanted: string | undefined, usual: string): Promise<ArrayFile> {
  const file = await open(path);
  try {
    const { size } = await file.stat();
    const start = new FileBytes(file, 0, size);
    const length = Number((await take(start, 8, path)).readBigUInt64LE());
    const tensors = parse(path, (await take(start, length, path)).toString());
    const [name, { dtype, shape, data_offsets }] = choose(tensors, wanted, usual, path);
    const type = TYPES[dtype];
    if (type === undefined) throw badData(`${path}:${name}: numbers of type ${dtype}, which are not supported`);
    const [begin, end] = data_offsets;
    if (8 + length + end > size) {
      throw badData(`${path}:${name}: truncated: it ends at byte ${8 + length + end}, the file at ${size}`);
    }
    return { name: `${path}:${name}`, dtype: type, shape, bytes: new FileBytes(file, 8 + length + begin, end - begin) };
  } catch (error) {
    await file.close();
    throw error;
  }
}

function parse(path: string, header: string): Map<string, Tensor> {
  try {
    const { __metadata__, ...tensors } = JSON.parse(header) as Record<string, Tensor>;
    const entries = Object.entries(tensors);
    if (entries.every(([, { shape, data_offsets }]) => shape.length >= 0 && data_offsets.length === 2)) {
      return new Map(entries);
    }
  } catch {
    // As below.
  }
  throw badData(`${path}: no .safetensors: its header does not say where tensors are`);
}
