import type { ArrayFile } from "./array-file.ts";
import { type Bytes, FileBytes, openFile } from "./bytes.ts";
import { BYTES, type DType } from "./dtypes.ts";
import { badData, badUsage } from "./failure.ts";
import { readNpy } from "./npy.ts";
import { openNpz } from "./npz.ts";
import { openSafetensors } from "./safetensors.ts";

/** What the caller expects of a file, for everything that the file itself does not state. */
export interface Expected {
  /** The array to choose from several if the user names none. */
  readonly usual: "logits" | "labels" | "weights";
  /** The type and the columns, if any, of a file that has only numbers. */
  readonly raw: { readonly dtype: DType; readonly columns?: number | undefined };
}

/** Whether the file is text, by its extension. */
export function isText(path: string): boolean {
  return /\.txt$/i.test(path);
}

/** Whether the file has only numbers, without a header, by its extension. */
export function isRaw(path: string): boolean {
  return /\.(bin|raw|f32|i32)$/i.test(path);
}

/** Splits `path`, or `path:name` of a file with several arrays, into the path and the name. */
export function fileOf(spec: string): { path: string; wanted: string | undefined } {
  const [, path = spec, wanted] = isText(spec) ? [] : (/^(.*\.(?:npz|safetensors)):(.+)$/is.exec(spec) ?? []);
  return { path, wanted };
}

/** Opens the array that a spec names (see {@link fileOf}). The extension of the file gives its format. */
export async function openArray(spec: string, expected: Expected): Promise<ArrayFile> {
  const { path, wanted } = fileOf(spec);
  const array = await openByEnding(path, wanted, expected);
  try {
    const { name, dtype, shape, bytes } = array;
    const size = shape.reduce((product, length) => product * length, BYTES[dtype]);
    if (bytes.left !== size) {
      const what = bytes.left < size ? "truncated" : "too long";
      throw badData(`${name}: ${what}: [${shape.join(", ")}] ${dtype} take ${size} bytes, it has ${bytes.left}`);
    }
    return array;
  } catch (error) {
    await array.bytes.close();
    throw error;
  }
}

async function openByEnding(path: string, wanted: string | undefined, { usual, raw }: Expected): Promise<ArrayFile> {
  if (/\.npz$/i.test(path)) return openNpz(path, wanted, usual);
  if (/\.safetensors$/i.test(path)) return openSafetensors(path, wanted, usual);
  const isNpy = /\.npy$/i.test(path);
  if (!isNpy && !isRaw(path)) {
    throw badUsage(`${path}: what is in it? expected .npy, .npz, .safetensors, .bin or .raw`);
  }
  const { file, size, assertUnchanged } = await openFile(path);
  try {
    const bytes = new FileBytes(path, file, 0, size, assertUnchanged);
    return isNpy ? await readNpy(path, bytes) : openRaw(path, bytes, raw);
  } catch (error) {
    await file.close();
    throw error;
  }
}

function openRaw(name: string, bytes: Bytes, { dtype, columns }: Expected["raw"]): ArrayFile {
  const rowBytes = BYTES[dtype] * (columns ?? 1);
  const rows = bytes.left / rowBytes;
  if (!Number.isInteger(rows)) {
    const row = columns === undefined ? dtype : `rows of ${columns} ${dtype}`;
    throw badData(`${name}: truncated: ${bytes.left} bytes are no whole number of ${row} (${rowBytes} bytes each)`);
  }
  return { name, dtype, shape: columns === undefined ? [rows] : [rows, columns], bytes };
}
