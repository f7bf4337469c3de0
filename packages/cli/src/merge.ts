import { lossFromPartials, mergePartials, type Partials, Totals } from "xent";
import { type Summary, summarize } from "./evaluate.ts";
import { badData, badUsage } from "./failure.ts";
import { PerRow } from "./per-row.ts";
import { readSums, writePartials, writeTotals } from "./totals-file.ts";

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
export async function merge(files: readonly string[], { output, perRow }: MergeFlags): Promise<Merged> {
  const sums = await Promise.all(files.map(readSums));
  const other = sums.findIndex((sum) => sum instanceof Totals !== sums[0] instanceof Totals);
  if (other >= 0) {
    throw badData(`${files[other]}: expected ${sums[0] instanceof Totals ? "totals" : "partials"} as in ${files[0]}`);
  }
  if (sums[0] instanceof Totals) {
    if (perRow !== undefined) throw badUsage("--per-row: totals know nothing of single rows");
    const totals = new Totals();
    for (const sum of sums) totals.merge(sum as Totals);
    if (output !== undefined) await writeTotals(output, totals);
    return { files: files.length, summary: summarize(totals) };
  }
  const merged = mergeFiles(files, sums as Partials[]);
  const { rows, classes, classesTotal } = merged;
  const [[begin, end] = [0, 0]] = classes;
  const isComplete = begin === 0 && end === classesTotal;
  if (!isComplete && (output === undefined || perRow !== undefined)) {
    const seen = classes.map(([from, to]) => `[${from}, ${to})`).join(" and ");
    throw badData(`of ${classesTotal} classes only ${seen} are there: say --output to merge the rest later`);
  }
  if (output !== undefined) await writePartials(output, merged);
  const about = { files: files.length, rows, classes, classesTotal };
  if (!isComplete) return about;
  const result = lossFromPartials(merged);
  if (perRow !== undefined) {
    const file = await PerRow.open(perRow, rows, files);
    await file.write({ first: 0, labels: merged.labels, loss: result.loss, predictions: result.predictions });
    await file.finish();
  }
  return { ...about, summary: summarize(new Totals().add(result)) };
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
