import type { ArrayFile, NamedFile } from "./array-file.ts";
import { type Bytes, FileBytes, openFile } from "./bytes.ts";
import { BYTES, type DType } from "./dtypes.ts";
import { badData, badUsage } from "./failure.ts";
import { readNpy } from "./npy.ts";
import { openNpz } from "./npz.ts";
import { openSafetensors } from "./safetensors.ts";
import { pathOf } from "./standard-input.ts";

/** What the caller expects of a file, for everything that the file itself does not state. */
export interface Expected {
  /** The array to choose from several if the user names none. */
  readonly usual: "logits" | "labels" | "mask" | "weights";
  /** The type and the columns, if any, of a file that has only numbers. */
  readonly raw: { readonly dtype: DType; readonly columns?: number | undefined };
}

/** Endings of files that have only numbers, and the type that some of them state. */
const RAW: ReadonlyMap<string | undefined, DType | undefined> = new Map([
  ["bin", undefined],
  ["raw", undefined],
  ["f32", "float32"],
  ["i32", "int32"],
]);

const endingOf = (path: string): string | undefined => /\.([^./\\]*)$/.exec(path)?.[1]?.toLowerCase();

/** Whether the file is text, by its extension. */
export function isText(spec: string): boolean {
  return /\.txt$/i.test(pathOf(spec));
}

/** Whether the file has only numbers, without a header, by its extension. */
export function isRaw(spec: string): boolean {
  return RAW.has(endingOf(pathOf(spec)));
}

/** Splits `path`, or `path:name` of a file with several arrays, into the path and the name of the array. */
export function fileOf(spec: string): NamedFile {
  const whole = pathOf(spec);
  const [, path = whole, wanted] = isText(spec) ? [] : (/^(.*\.(?:npz|safetensors)):(.+)$/is.exec(whole) ?? []);
  return { path, wanted, name: wanted === undefined ? spec : spec.slice(0, -`:${wanted}`.length) };
}

/** Opens the array that a spec names (see {@link fileOf}). The extension of the file gives its format. */
export async function openArray(spec: string, expected: Expected): Promise<ArrayFile> {
  const array = await openByEnding(fileOf(spec), expected);
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

async function openByEnding(named: NamedFile, { usual, raw }: Expected): Promise<ArrayFile> {
  const { path, name } = named;
  if (/\.npz$/i.test(path)) return openNpz(named, usual);
  if (/\.safetensors$/i.test(path)) return openSafetensors(named, usual);
  const isNpy = /\.npy$/i.test(path);
  if (!isNpy && !isRaw(path)) {
    throw badUsage(`${name}: unknown file type: expected .npy, .npz, .safetensors, .bin or .raw`);
  }
  const { file, size, assertUnchanged } = await openFile(path, name);
  try {
    const bytes = new FileBytes(name, file, 0, size, assertUnchanged);
    return isNpy
      ? await readNpy(name, bytes)
      : openRaw(name, bytes, { ...raw, dtype: RAW.get(endingOf(path)) ?? raw.dtype });
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
    throw badData(`${name}: truncated: ${bytes.left} bytes are not a whole number of ${row} (${rowBytes} bytes each)`);
  }
  return { name, dtype, shape: columns === undefined ? [rows] : [rows, columns], bytes };
}
