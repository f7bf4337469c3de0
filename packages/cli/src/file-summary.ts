import { badUsage } from "./failure.ts";
import type { FileFlags, FileResult, Group } from "./files.ts";
import type { LogitsFile } from "./logits.ts";
import { Moments } from "./moments.ts";
import type { Observations } from "./observations.ts";

/** The results of one file. */
export interface FileSummary {
  readonly name: string;
  readonly rows: number;
  readonly counted: number;
  readonly sum: number;
  /** NaN if no row counts. */
  readonly mean: number;
  readonly perplexity: number;
  readonly standardError: number;
  readonly correct: number;
}

/** Averages over files, all with the same weight. */
export interface Macro {
  /** Files with at least one row that counts. */
  readonly files: number;
  readonly mean: number;
  /** Exponential of that mean. */
  readonly perplexity: number;
  readonly accuracy: number;
}

export function summaryOfFile({ logits, rows, totals, statistics }: FileResult): FileSummary {
  const { count: counted, sum, normalizer, correct } = totals;
  const mean = normalizer === 0 ? NaN : totals.mean;
  const { standardError } = statistics;
  return { name: logits.name, rows, counted, sum, mean, perplexity: Math.exp(mean), standardError, correct };
}

export function macroOf(files: readonly FileSummary[]): Macro {
  const some = files.filter(({ mean, counted }) => counted > 0 && !Number.isNaN(mean));
  const averageOf = (value: (file: FileSummary) => number): number =>
    some.reduce((sum, file) => sum + value(file), 0) / some.length;
  const mean = averageOf((file) => file.mean);
  const accuracy = averageOf(({ correct, counted }) => correct / counted);
  return { files: some.length, mean, perplexity: Math.exp(mean), accuracy };
}

/** A standard error, the unit that it is computed over, and the number of these units. */
export interface Uncertainty {
  readonly standardError: number;
  readonly group: { readonly by: Group; readonly count: number };
}

/** The standard error of the mean over all files. */
export function uncertaintyOf(results: readonly FileResult[], by: Group): Uncertainty {
  return standardErrorBy(
    by,
    results.map(({ statistics }) => statistics.observations),
  );
}

/** The standard error of the mean of the observations in files. */
export function standardErrorBy(by: Group, files: readonly Observations[]): Uncertainty {
  const moments = new Moments(true);
  for (const { rows, clusters } of files) {
    if (by !== "file") moments.merge((by === "row" ? rows : clusters).sums);
    else if (rows.count > 0) moments.add(rows.sums.y[0], rows.sums.w[0]);
  }
  const { count, standardError } = moments;
  assertClusters(by, count);
  return { standardError, group: { by, count } };
}

/** Throws if --group file has too few files, before anything is computed. */
export function assertGroup(by: Group | undefined, files: number): void {
  if (by === "file") assertClusters(by, files);
}

/** Likewise, once the headers are read: or than their sequences. */
export function assertSequences(
  { group, sequence }: Pick<FileFlags, "group" | "sequence">,
  sizes: readonly Pick<LogitsFile, "rows" | "sequence">[],
): void {
  if (group !== "sequence") return;
  assertClusters(
    group,
    sizes.reduce((sum, size) => sum + Math.ceil(size.rows / (sequence ?? size.sequence)), 0),
  );
}

function assertClusters(by: Group, count: number): void {
  if (by === "row" || count >= 2) return;
  throw badUsage(`--group ${by}: expected at least two with a row that counts, found ${count}`);
}
