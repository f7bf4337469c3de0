import { encodePartials, encodeTotals, lossFromPartials, mergePartials, type Partials, Totals } from "xent";
import { type Summary, summarize } from "./evaluate.ts";
import { badData, badUsage } from "./failure.ts";
import { type Closers, closing } from "./files.ts";
import { OutputFile } from "./output-file.ts";
import { PerRow } from "./per-row.ts";
import { readSums } from "./totals-file.ts";

export interface MergeFlags {
  readonly output?: string;
  readonly perRow?: string;
  readonly json?: true;
}

/** What is printed: without a summary where classes are missing. */
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
  const sums: (Partials | Totals)[] = [];
  for (const file of files) {
    signal.throwIfAborted();
    sums.push(await readSums(file));
  }
  const write = async (bytes: () => Uint8Array): Promise<void> => {
    signal.throwIfAborted();
    if (output === undefined) return;
    const file = await OutputFile.open("--output", output, []);
    closers.push(() => file.discard());
    await file.write(bytes());
    await file.finish();
  };
  const other = sums.findIndex((sum) => sum instanceof Totals !== sums[0] instanceof Totals);
  if (other >= 0) {
    throw badData(`${files[other]}: expected ${sums[0] instanceof Totals ? "totals" : "partials"} as in ${files[0]}`);
  }
  if (sums[0] instanceof Totals) {
    if (perRow !== undefined) throw badUsage("--per-row: totals know nothing of single rows");
    const totals = new Totals();
    for (const [i, sum] of sums.entries()) mergeTotals(totals, sum as Totals, files[i] as string);
    await write(() => encodeTotals(totals));
    return { files: files.length, summary: summaryOf(totals, files) };
  }
  const merged = mergeFiles(files, sums as Partials[]);
  const { rows, classes, classesTotal } = merged;
  const [[begin, end] = [0, 0]] = classes;
  const isComplete = begin === 0 && end === classesTotal;
  if (!isComplete && (output === undefined || perRow !== undefined)) {
    const seen = rangesText(classes);
    throw badData(`of ${classesTotal} classes only ${seen} are there: say --output to merge the rest later`);
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

/** Classes as they read in a message: some of them. */
export function rangesText(classes: Partials["classes"]): string {
  const some = classes.slice(0, 10).map(([from, to]) => `[${from}, ${to})`);
  return `${some.join(" and ")}${classes.length > 10 ? " and more" : ""}`;
}

/** Throws where there is no mean. */
function summaryOf(totals: Totals, files: readonly string[]): Summary {
  const what = files.length === 1 ? files[0] : `${files[0]} and ${files.length - 1} more`;
  if (totals.count === 0) throw badData(`${what}: no row of all counts: there is nothing to average`);
  if (totals.normalizer === 0) throw badData(`${what}: the weights of all labels add up to 0: there is no mean`);
  return summarize(totals);
}

function mergeTotals(totals: Totals, other: Totals, file: string): void {
  try {
    totals.merge(other);
  } catch (error) {
    throw badData(`${file}: ${(error as Error).message.replace(/^"count" /, "with its rows: ")}`);
  }
}

/** Says which file does not fit the ones before it. */
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
