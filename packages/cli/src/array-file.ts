import type { Bytes } from "./bytes.ts";
import type { DType } from "./dtypes.ts";
import { badData } from "./failure.ts";

/** An array in a file, in C order and little endian, whose numbers are not read yet. */
export interface ArrayFile {
  /** Its name in messages. */
  readonly name: string;
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly bytes: Bytes;
}

/** Chooses an array of a file: the one that the user wants, the only one, or the one with the usual name. */
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
