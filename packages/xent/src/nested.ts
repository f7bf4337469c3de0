import { show, wrongType } from "./errors.ts";
import { lengthOf, typedArrayKind } from "./typed-array.ts";

/** Arrays in arrays, with numbers or typed arrays at the bottom. */
export type NestedArray<T> = readonly (T | NestedArray<T>)[];

/** The contents of nested arrays. */
export interface Leaves {
  /** The sizes of the axes, the outermost first. */
  readonly shape: readonly number[];
  /** The innermost arrays, in order, all of the same kind and length. */
  readonly leaves: readonly (readonly unknown[] | ArrayBufferView)[];
  /** "Array", or the kind of the typed arrays. */
  readonly kind: string;
}

const DEEPEST = 32;

/** Throws RangeError if rows differ in length, TypeError if they differ in kind. Does not read the leaves. */
export function leavesOf(title: string, array: readonly unknown[]): Leaves {
  const shape: number[] = [];
  let level: readonly unknown[] = [array];
  for (;;) {
    const leaves = level as Leaves["leaves"];
    const kind = kindOf(level[0]) ?? "Array";
    const length = sizeOf(leaves[0]);
    for (let row = 1; row < level.length; row++) {
      if (kindOf(level[row]) !== kind) {
        const expected = kind === "Array" ? "rows of numbers" : "rows of one kind";
        throw wrongType(title, `${expected}, but row ${row} is something else`, level[row]);
      }
      if (sizeOf(leaves[row]) !== length) {
        throw new RangeError(`"${title}" has ${length} numbers in row 0, but ${sizeOf(leaves[row])} in row ${row}`);
      }
    }
    shape.push(length);
    if (kind !== "Array" || level.length === 0 || kindOf((level[0] as readonly unknown[])[0]) === undefined) {
      return { shape, leaves, kind };
    }
    if (shape.length === DEEPEST) throw wrongType(title, `arrays in at most ${DEEPEST} arrays`, array);
    level = entriesOfAll(leaves as readonly (readonly unknown[])[], length);
  }
}

/** Includes holes, as undefined. */
function entriesOfAll(rows: readonly (readonly unknown[])[], length: number): unknown[] {
  const entries: unknown[] = [];
  for (const row of rows) for (let i = 0; i < length; i++) entries.push(row[i]);
  return entries;
}

/** The numbers of leaves, each read once. Throws TypeError for the first entry that `accepts` rejects. */
export function entriesOf<T extends number | bigint, A extends { [index: number]: T }>(
  title: string,
  { leaves, shape }: Leaves,
  { expected, entry: noun }: { readonly expected: string; readonly entry: string },
  accepts: (entry: unknown) => entry is T,
  Entries: new (length: number) => A,
): A {
  const length = shape.at(-1) ?? 0;
  const entries = new Entries(leaves.length * length);
  let at = 0;
  for (let row = 0; row < leaves.length; row++) {
    const leaf = leaves[row] as readonly unknown[];
    for (let i = 0; i < length; i++) {
      const entry: unknown = leaf[i];
      if (!accepts(entry)) {
        const place = shape.length > 1 ? `row ${row} has something else at ${i}` : `${noun} ${i} is something else`;
        throw wrongType(title, `${expected}, but ${place}`, entry);
      }
      entries[at++] = entry;
    }
  }
  return entries;
}

/** A shape as text. */
export function showShape(shape: readonly number[]): string {
  return `[${shape.map(show).join(", ")}]`;
}

function kindOf(value: unknown): string | undefined {
  if (typeof value !== "object") return undefined;
  return Array.isArray(value) ? "Array" : typedArrayKind(value);
}

function sizeOf(leaf: Leaves["leaves"][number] | undefined): number {
  if (ArrayBuffer.isView(leaf)) return lengthOf(leaf);
  return leaf === undefined ? 0 : leaf.length;
}
