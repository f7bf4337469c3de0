import type { Bytes } from "./bytes.ts";
import type { DType } from "./dtypes.ts";
import { badData } from "./failure.ts";

/** An array in a file, in C order, its numbers little endian and yet to be read. */
export interface ArrayFile {
  /** As messages name it. */
  readonly name: string;
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly bytes: Bytes;
}

/** The array of a file with many: the one that is wanted, the only one, or the one with the usual name. */
export function choose<T>(
  arrays: ReadonlyMap<string, T>,
  wanted: string | undefined,
  usual: string,
  path: string,
): [string, T] {
  const name = wanted ?? (arrays.size === 1 ? [...arrays.keys()].join() : usual);
  const found = arrays.get(name);
  if (found === undefined) {
    if (arrays.size === 0) throw badData(`${path}: has no arrays`);
    const names = [...arrays.keys()].slice(0, 20).join(", ");
    throw badData(`${path}: has no array "${name}": choose one of ${names} as ${path}:name`);
  }
  return [name, found];
}
