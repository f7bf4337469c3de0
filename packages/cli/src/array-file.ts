import type { Bytes } from "./bytes.ts";
import type { DType } from "./dtypes.ts";
import { badData } from "./failure.ts";
import { givenAs } from "./standard-input.ts";

/** A file to read. */
export interface NamedFile {
  readonly path: string;
  /** Its name in messages. */
  readonly name: string;
  /** The array that the user wants, of a file with several. */
  readonly wanted: string | undefined;
}

/** An array in a file, in C order and little endian, whose numbers are not read yet. */
export interface ArrayFile {
  /** Its name in messages. */
  readonly name: string;
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly bytes: Bytes;
}

/** Chooses an array of a file: the one that the user wants, the only one, or the one with the usual name. */
export function choose<T>(arrays: ReadonlyMap<string, T>, { name, wanted }: NamedFile, usual: string): [string, T] {
  const chosen = wanted ?? (arrays.size === 1 ? [...arrays.keys()].join() : usual);
  const found = arrays.get(chosen);
  if (found === undefined) {
    if (arrays.size === 0) throw badData(`${name}: has no arrays`);
    const names = [...arrays.keys()].slice(0, 20).join(", ");
    throw badData(`${name}: has no array "${chosen}": choose one of ${names} as ${givenAs(name)}:name`);
  }
  return [chosen, found];
}
