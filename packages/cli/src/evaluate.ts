import { encodeTotals, type LogitsType, type Totals } from "xent";
import { badUsage } from "./failure.ts";
import {
  assertAlike,
  assertAverage,
  assertDifferent,
  type Closers,
  closing,
  computingThreads,
  evaluateFile,
  type FileFlags,
  type FilePair,
  type FileResult,
  inputsOf,
  instance,
  pairs,
} from "./files.ts";
import type { NotFinite } from "./not-finite.ts";
import { assertWritable, OutputFile } from "./output-file.ts";
import { PerRow } from "./per-row.ts";
import { progressBar } from "./progress.ts";
import { queueUrl } from "./queue-url.ts";
import { addUp } from "./source.ts";
import { TOTALS } from "./totals-file.ts";
import { visible } from "./visible.ts";

export interface EvaluateFlags extends FileFlags {
  readonly logits?: readonly string[];
  readonly labels: string;
  readonly threads: number | "auto";
  readonly perRow?: string;
  readonly totals?: string;
  readonly queue?: string | true;
  readonly verify?: true;
  readonly queueName: string;
}

/** What follows from sums over rows. */
export interface Summary {
  readonly counted: number;
  readonly sum: number;
  readonly normalizer: number;
  readonly mean: number;
  readonly perplexity: number;
  readonly bitsPerToken: number;
  readonly correct: number;
  readonly accuracy: number;
}

/** What is printed. */
export interface Evaluation extends Summary {
  readonly logits: { readonly name: string; readonly dtype: LogitsType; readonly shape: readonly number[] };
  readonly labels: { readonly name: string; readonly dtype: string };
  /** Files, where there are several. */
  readonly shards?: number;
  readonly rows: number;
  readonly classes: number;
  readonly ignored: number;
  readonly notFinite: NotFinite;
  readonly variant: string;
  /** Absent where other processes have computed. */
  readonly threads?: number;
  readonly bytes: number;
  readonly seconds: number;
}

export function evaluate(files: readonly string[], flags: EvaluateFlags, signal: AbortSignal): Promise<Evaluation> {
  return closing((closers) => evaluateAll(files, flags, signal, closers));
}

async function evaluateAll(
  files: readonly string[],
  flags: EvaluateFlags,
  signal: AbortSignal,
  closers: Closers,
): Promise<Evaluation> {
  const start = performance.now();
  const all = pairs([...(flags.logits ?? []), ...files], flags.labels);
  if (all.length > 1 && flags.perRow !== undefined) throw badUsage("--per-row: expected one file of logits");
  await assertDifferent(all);
  // Before all the work, which would be in vain without a place for what comes of it.
  const inputs = all.flatMap((pair) => inputsOf(pair, flags));
  const totalsFile =
    flags.totals === undefined ? undefined : { option: "--totals", path: flags.totals, kinds: [TOTALS] };
  const perRowFile = flags.perRow === undefined ? undefined : PerRow.output(flags.perRow);
  await assertWritable(
    [totalsFile, perRowFile].filter((output) => output !== undefined),
    inputs,
  );
  const file = totalsFile && (await OutputFile.open(totalsFile, inputs));
  closers.push(() => file?.discard());
  const { results, variant, forget } =
    flags.queue === undefined
      ? await evaluateHere(all, flags, signal)
      : await onQueue(all, flags, queueUrl(flags.queue), signal);
  const totals = addUp(results.map((result) => result.totals));
  const rows = results.reduce((sum, result) => sum + result.rows, 0);
  const labels = together(all.map((pair) => pair.labels));
  assertAverage(totals, labels, rows, flags);
  await file?.write(encodeTotals(totals));
  await file?.finish();
  // Now nothing is lost by it. Nor is it where that fails: another run takes what is there.
  await forget?.().catch((error: Error) => {
    process.stderr.write(`xent: results are left in Redis: ${visible(error.message)}\n`);
  });
  const [first] = results as [FileResult];
  const one = results.length === 1;
  return {
    logits: one
      ? first.logits
      : { name: together(all.map((pair) => pair.logits)), dtype: first.logits.dtype, shape: [rows, first.classes] },
    labels: { name: labels, dtype: first.labels.dtype },
    ...(one ? {} : { shards: results.length }),
    rows,
    classes: first.classes,
    ignored: rows - totals.count,
    ...summarize(totals),
    notFinite: notFiniteOf(results),
    variant,
    ...(flags.queue === undefined ? { threads: computingThreads(flags.threads) } : {}),
    bytes: results.reduce((sum, result) => sum + result.bytes, 0),
    seconds: (performance.now() - start) / 1000,
  };
}

/** What follows from sums over rows. */
export function summarize({ sum, normalizer, mean, count, correct }: Totals): Summary {
  const perplexity = Math.exp(mean);
  const bitsPerToken = mean / Math.LN2;
  return { counted: count, sum, normalizer, mean, perplexity, bitsPerToken, correct, accuracy: correct / count };
}

function evaluateHere(
  all: readonly FilePair[],
  flags: EvaluateFlags,
  signal: AbortSignal,
): Promise<{ results: FileResult[]; variant: string; forget?(): Promise<void> }> {
  return closing(async (closers) => {
    const xent = await instance(flags.threads, flags.variant, signal, closers);
    const results: FileResult[] = [];
    for (const pair of all) {
      let progress: ReturnType<typeof progressBar> | undefined;
      const onRows = (done: number, rows: number, bytes: number): void => {
        progress ??= progressBar(rows, bytes, all.length > 1 ? pair.logits : "");
        progress.update(done);
      };
      try {
        const result = await evaluateFile(pair, flags, { xent, signal, onRows });
        assertAlike(results[0] ?? result, result);
        results.push(result);
      } finally {
        progress?.stop();
      }
    }
    return { results, variant: xent.variant };
  });
}

/** Only who wants a queue loads what it needs. */
async function onQueue(all: readonly FilePair[], flags: EvaluateFlags, url: string, signal: AbortSignal) {
  if (flags.perRow !== undefined) throw badUsage("--per-row: not with --queue: the rows are on other machines");
  const { evaluateOnQueue } = await import("./queue.ts");
  return evaluateOnQueue(all, flags, url, signal);
}

function notFiniteOf(results: readonly FileResult[]): NotFinite {
  const rows = results.reduce((sum, { notFinite }) => sum + notFinite.rows, 0);
  const of = results.find(({ notFinite }) => notFinite.first);
  if (!of?.notFinite.first) return { rows };
  const { row, reason } = of.notFinite.first;
  return { rows, first: { row, reason, ...(results.length > 1 ? { file: of.logits.name } : {}) } };
}

function together(names: readonly string[]): string {
  return names.length === 1 ? (names[0] as string) : `${names[0]} and ${names.length - 1} more`;
}
