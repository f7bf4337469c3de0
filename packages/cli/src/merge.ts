import { encodePartials, encodeTotals, lossFromPartials, mergePartials, type Partials, Totals } from "xent";
import { assertDifferent } from "./different-files.ts";
import { type Summary, summarize } from "./evaluation.ts";
import { badData, badUsage } from "./failure.ts";
import { type Closers, closing } from "./files.ts";
import { assertWritable, type Output, OutputFile } from "./output-file.ts";
import { PerRow } from "./per-row.ts";
import { PARTIALS, readSums, TOTALS } from "./totals-file.ts";
import { visible } from "./visible.ts";

export interface MergeFlags {
  readonly output?: string;
  readonly perRow?: string;
  readonly json?: true;
}

/** The result of `xent merge`, without a summary if classes are missing. */
export interface Merged {
  readonly files: number;
  readonly rows?: number;
  readonly classes?: Partials["classes"];
  readonly classesTotal?: number;
  readonly summary?: Summary;
}

/** Merges shards of the classes, or shards of the rows. */
export function merge(files: readonly string[], flags: MergeFlags, signal: AbortSignal): Promise<Merged> {
  return closing((closers) => mergeInto(files, flags, signal, closers));
}

async function mergeInto(
  files: readonly string[],
  { output, perRow }: MergeFlags,
  signal: AbortSignal,
  closers: Closers,
): Promise<Merged> {
  const outputs = [
    ...(output === undefined ? [] : [{ option: "--output", path: output, kinds: [TOTALS, PARTIALS] }]),
    ...(perRow === undefined ? [] : [PerRow.output(perRow)]),
  ];
  await assertWritable(outputs, files);
  await assertDifferent(files);
  const sums: (Partials | Totals)[] = [];
  for (const file of files) {
    signal.throwIfAborted();
    sums.push(await readSums(file));
  }
  const write = async (bytes: () => Uint8Array): Promise<void> => {
    signal.throwIfAborted();
    if (output === undefined) return;
    const file = await OutputFile.open(outputs[0] as Output, files);
    closers.push(() => file.discard());
    await file.write(bytes());
    await file.finish();
  };
  const other = sums.findIndex((sum) => sum instanceof Totals !== sums[0] instanceof Totals);
  if (other >= 0) {
    throw badData(`${files[other]}: expected ${sums[0] instanceof Totals ? "totals" : "partials"} as in ${files[0]}`);
  }
  if (sums[0] instanceof Totals) {
    if (perRow !== undefined) throw badUsage("--per-row: totals have no single rows");
    const totals = mergeTotals(sums as Totals[], files);
    await write(() => encodeTotals(totals));
    return { files: files.length, summary: summaryOf(totals, files) };
  }
  const merged = mergeFiles(files, sums as Partials[]);
  const { rows, classes, classesTotal } = merged;
  const [[begin, end] = [0, 0]] = classes;
  const isComplete = begin === 0 && end === classesTotal;
  if (!isComplete && (output === undefined || perRow !== undefined)) {
    const seen = rangesText(classes);
    throw badData(`only ${seen} of ${classesTotal} classes are present: use --output to merge the rest later`);
  }
  if (merged.settings.divergence === 1) {
    throw badData(
      `${files[0]}: partials of a divergence, which has no perplexity: mergePartials of the package xent merges them`,
    );
  }
  await write(() => encodePartials(merged));
  const about = { files: files.length, rows, classes, classesTotal };
  if (!isComplete) return about;
  const result = lossFromPartials(merged);
  if (perRow !== undefined) {
    const file = await PerRow.open(perRow, rows, files);
    closers.push(() => file.discard());
    await file.write({ first: 0, labels: merged.labels, loss: result.loss, predictions: result.predictions });
    await file.finish();
  }
  return { ...about, summary: summaryOf(new Totals().add(result), files) };
}

/** Ranges of classes for a message: the first ten. */
export function rangesText(classes: Partials["classes"]): string {
  const some = classes.slice(0, 10).map(([from, to]) => `[${from}, ${to})`);
  return `${some.join(" and ")}${classes.length > 10 ? " and more" : ""}`;
}

/** Throws if there is no mean. */
function summaryOf(totals: Totals, files: readonly string[]): Summary {
  const what = files.length === 1 ? files[0] : `${files[0]} and ${files.length - 1} more`;
  if (totals.count === 0) throw badData(`${what}: no row counts: there is nothing to average`);
  if (totals.normalizer === 0) throw badData(`${what}: the weights of all labels add up to 0: there is no mean`);
  return summarize(totals);
}

/** Throws if rows of one file are also in another, as far as the files state their sources. */
function mergeTotals(all: readonly Totals[], files: readonly string[]): Totals {
  const merged = new Totals();
  const fileOf = new Map<string, string>();
  const silent = new Map<string, string>();
  for (const [i, totals] of all.entries()) {
    const file = files[i] as string;
    const source = totals.sources.find((source) => fileOf.has(source));
    if (source !== undefined)
      throw badData(`${file}: has rows that are in ${fileOf.get(source)}, too: they would count twice`);
    for (const source of totals.sources) fileOf.set(source, file);
    if (totals.sources.length === 0 && totals.count > 0) noticeTwin(silent, totals, file);
    try {
      merged.merge(totals);
    } catch (error) {
      throw badData(`${file}: ${(error as Error).message.replace(/^"count" /, "with its rows: ")}`);
    }
  }
  return merged;
}

/** Only warns: totals without sources may have the same sums by chance. */
function noticeTwin(seen: Map<string, string>, totals: Totals, file: string): void {
  const sums = Buffer.from(encodeTotals(totals)).toString("latin1");
  const other = seen.get(sums);
  if (other === undefined) seen.set(sums, file);
  else process.stderr.write(`xent: ${visible(file)}: has the same sums as ${visible(other)}: is it a copy?\n`);
}

/** Merges partials. An error names the file that does not fit the ones before it. */
function mergeFiles(files: readonly string[], partials: readonly Partials[]): Partials {
  try {
    return mergePartials(partials);
  } catch (error) {
    for (const [i, other] of partials.entries()) {
      try {
        mergePartials(partials.slice(0, i), other);
      } catch (cause) {
        throw badData(`${files[i]}: ${(cause as Error).message.replace(/^"partials" /, "")}`);
      }
    }
    throw error;
  }
}
