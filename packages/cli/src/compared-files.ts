import { basename } from "node:path";
import type { LogitsType } from "xent";
import { badData, badUsage } from "./failure.ts";
import { type FileFlags, type FilePair, pairs } from "./files.ts";
import { type LogitsFile, openLogits } from "./logits.ts";

/** The options of `xent compare`. */
export interface CompareFlags extends FileFlags {
  readonly base?: readonly string[];
  readonly other?: readonly string[];
  readonly otherDtype?: LogitsType;
  readonly labels: string;
  readonly mask?: string;
  readonly threads: number | "auto";
  readonly perRow?: string;
  readonly html?: string;
}

/** Logits of the base and of the other model, and the labels of both. */
export interface ComparedFiles extends FilePair {
  readonly other: string;
}

/** The pair BASE and OTHER, or the pairs that --base and --other list. */
export function comparedFiles(names: readonly string[], { base, other, labels, mask }: CompareFlags): ComparedFiles[] {
  const lists = base !== undefined && other !== undefined && names.length === 0;
  if (!lists && (names.length !== 2 || base !== undefined || other !== undefined)) {
    throw badUsage(
      "expected two files of logits, BASE and OTHER, or lists of them: --base a.npy b.npy --other c.npy d.npy",
    );
  }
  const [first, second] = lists ? [base, other] : [[names[0] as string], [names[1] as string]];
  if (first.length !== second.length) {
    throw badUsage(`--base and --other: expected the same number of files, got ${first.length} and ${second.length}`);
  }
  const [ours, theirs] = [first, second].map((list) => list.map((path) => basename(path)));
  const moved = theirs?.findIndex((name, i) => name !== ours?.[i] && ours?.includes(name)) ?? -1;
  if (moved >= 0) {
    throw badUsage(`--other: ${second[moved]} is compared with ${first[moved]}: give both lists in the same order`);
  }
  return pairs(first, labels, mask).map((pair, i) => ({ ...pair, other: second[i] as string }));
}

/** Opens both files of a pair, closes them, and returns the base. Throws if they cannot have the same rows. */
export async function sizeOf(files: ComparedFiles, flags: CompareFlags): Promise<LogitsFile> {
  const base = await openLogits({ ...flags, logits: files.logits, anyType: true });
  await base.array.bytes.close();
  const other = await openOther(files, flags);
  await other.array.bytes.close();
  assertSameRows(base, other, flags);
  return base;
}

export function openOther({ other }: ComparedFiles, flags: CompareFlags): Promise<LogitsFile> {
  return openLogits({ ...flags, dtype: flags.otherDtype ?? flags.dtype, logits: other, anyType: true });
}

/**
 * Throws unless both shapes are the same, or one of them is flat: with any other shape, rows would be compared with other rows. Rows of
 * a flat file are in sequences only if --sequence says so.
 */
export function assertSameRows(base: LogitsFile, other: LogitsFile, { shift, group, sequence }: CompareFlags): void {
  const [expected, found] = [base, other].map(({ array: { shape } }) => `[${shape.join(", ")}]`);
  const rows = [base, other].map(({ rowsShape }) => rowsShape);
  const isAlike = base.rows === other.rows && base.classes === other.classes && base.inner === other.inner;
  if (!isAlike || (String(rows[0]) !== String(rows[1]) && !rows.some((shape) => shape.length === 1))) {
    throw badData(`${other.array.name}: expected logits of shape ${expected} as in ${base.array.name}, found ${found}`);
  }
  const inSequences = shift > 0 || group === "sequence";
  if (inSequences && sequence === undefined && base.sequence !== other.sequence) {
    throw badData(
      `${other.array.name}: has sequences of ${other.sequence} rows, by its shape ${found}, but ${base.array.name} of ${base.sequence}, by ${expected}: give --sequence`,
    );
  }
}
