import { encodeTotals } from "xent";
import { USUAL_BINS } from "./calibration.ts";
import { assertDifferentLogits } from "./different-files.ts";
import { type Evaluation, type Notice, summarize, together } from "./evaluation.ts";
import { badUsage } from "./failure.ts";
import { assertGroup, assertSequences, macroOf, summaryOfFile, uncertaintyOf } from "./file-summary.ts";
import {
  assertAlike,
  assertAverage,
  type Closers,
  closing,
  evaluateFile,
  type FileFlags,
  type FilePair,
  type FileResult,
  inputsOf,
  instance,
  pairs,
  questionsOf,
  threadsFor,
} from "./files.ts";
import { REPORT } from "./html.ts";
import { noticeOf } from "./likeness.ts";
import { type LogitsFile, openLogits } from "./logits.ts";
import type { NotFinite } from "./not-finite.ts";
import { assertWritable, OutputFile } from "./output-file.ts";
import { type Content, PerRow, ROW_COLUMNS } from "./per-row.ts";
import { progressBar } from "./progress.ts";
import { queueUrl } from "./queue-url.ts";
import { EvaluationReport } from "./report.ts";
import { addUp } from "./source.ts";
import { isInput, namesWithInput } from "./standard-input.ts";
import { Statistics } from "./statistics.ts";
import { textOf } from "./text-bytes.ts";
import { TOTALS } from "./totals-file.ts";
import { visible } from "./visible.ts";

export interface EvaluateFlags extends FileFlags {
  readonly logits?: readonly string[];
  readonly labels: string;
  readonly mask?: string;
  readonly bytes?: string;
  readonly html?: string;
  readonly threads: number | "auto";
  readonly perRow?: string;
  readonly totals?: string;
  readonly queue?: string | true;
  readonly verify?: true;
  readonly queueName: string;
}

export function evaluate(files: readonly string[], flags: EvaluateFlags, signal: AbortSignal): Promise<Evaluation> {
  return closing((closers) => evaluateAll(files, flags, signal, closers));
}

async function evaluateAll(
  files: readonly string[],
  given: EvaluateFlags,
  signal: AbortSignal,
  closers: Closers,
): Promise<Evaluation> {
  const start = performance.now();
  assertCarried(given);
  // The report draws the calibration, so the text has it, too.
  const flags = given.html === undefined ? given : { calibration: USUAL_BINS, ...given };
  const named = [flags.labels, flags.mask, ...(flags.logits ?? []), ...files] as const;
  if (flags.queue !== undefined && named.some(isInput))
    throw badUsage("-: workers of --queue cannot read standard input");
  const [labelNames, mask, ...logits] = await namesWithInput(named, closers);
  const all = pairs(logits as string[], labelNames, mask);
  assertGroup(flags.group, all.length);
  await assertDifferentLogits(all.map((pair) => pair.logits));
  const text = flags.bytes === undefined ? undefined : await textOf(flags.bytes, all);
  // Check the outputs first: without them, the work would be wasted.
  const inputs = [...all.flatMap((pair) => inputsOf(pair, flags)), ...(text?.files ?? [])];
  const totalsFile =
    flags.totals === undefined ? undefined : { option: "--totals", path: flags.totals, kinds: [TOTALS] };
  const htmlFile = flags.html === undefined ? undefined : { option: "--html", path: flags.html, kinds: [REPORT] };
  const perRowFile = flags.perRow === undefined ? undefined : PerRow.output(flags.perRow, contentOf(all));
  const outputs = [totalsFile, htmlFile, perRowFile];
  await assertWritable(
    outputs.filter((output) => output !== undefined),
    inputs,
  );
  const file = totalsFile && (await OutputFile.open(totalsFile, inputs));
  closers.push(() => file?.discard());
  const html = htmlFile && (await OutputFile.open(htmlFile, inputs));
  closers.push(() => html?.discard());
  const { results, variant, threads, perRow, report, forget } =
    flags.queue === undefined
      ? await evaluateHere(all, flags, inputs, signal, closers)
      : await onQueue(all, flags, queueUrl(flags.queue), signal);
  const totals = addUp(results.map((result) => result.totals));
  const rows = results.reduce((sum, result) => sum + result.rows, 0);
  const labels = together(all.map((pair) => pair.labels));
  assertAverage(totals, labels, rows, flags);
  const summary = summarize(totals);
  const uncertainty = uncertaintyOf(results, flags.group ?? "row");
  const [first] = results as [FileResult];
  const one = results.length === 1;
  const summaries = results.map(summaryOfFile);
  const evaluation: Evaluation = {
    logits: one
      ? first.logits
      : { name: together(all.map((pair) => pair.logits)), dtype: first.logits.dtype, shape: [rows, first.classes] },
    labels: { name: labels, dtype: first.labels.dtype },
    ...(one ? {} : { shards: results.length }),
    rows,
    classes: first.classes,
    ignored: rows - totals.count,
    ...summary,
    ...uncertainty,
    perplexityStandardError: summary.perplexity * uncertainty.standardError,
    files: summaries,
    macro: macroOf(summaries),
    ...answersOf(results, flags, totals.count),
    ...(text === undefined ? {} : { textBytes: text.bytes, bitsPerByte: totals.sum / Math.LN2 / text.bytes }),
    notFinite: notFiniteOf(results),
    notices: noticesOf(results),
    variant,
    ...(threads === undefined ? {} : { threads }),
    bytes: results.reduce((sum, result) => sum + result.bytes, 0),
    seconds: (performance.now() - start) / 1000,
  };
  if (html && report) {
    await html.write(await report.html(evaluation));
    await html.finish();
  }
  await perRow?.finish();
  await file?.write(encodeTotals(totals));
  await file?.finish();
  // The outputs are written, so Redis need not keep the results. If it keeps them, another run reuses them.
  await forget?.().catch((error: Error) => {
    process.stderr.write(`xent: results are left in Redis: ${visible(error.message)}\n`);
  });
  return evaluation;
}

/** The results of all files, computed here or through a queue. */
interface Evaluated {
  readonly results: FileResult[];
  readonly variant: string;
  /** The threads of this process; absent with a queue. */
  readonly threads?: number;
  /** The caller finishes it when everything has succeeded. */
  readonly perRow?: PerRow | undefined;
  readonly report?: EvaluationReport | undefined;
  forget?(): Promise<void>;
}

async function evaluateHere(
  all: readonly FilePair[],
  flags: EvaluateFlags,
  inputs: readonly string[],
  signal: AbortSignal,
  outer: Closers,
): Promise<Evaluated> {
  const several = all.length > 1;
  const sized = flags.perRow !== undefined || flags.html !== undefined || flags.group === "sequence";
  const sizes = sized ? await sizesOf(all, flags) : [];
  assertSequences(flags, sizes);
  const rows = sizes.reduce((sum, file) => sum + file.rows, 0);
  const perRow = flags.perRow === undefined ? undefined : await PerRow.open(flags.perRow, rows, inputs, contentOf(all));
  const longest = sizes.map(({ sequence }) => flags.sequence ?? sequence);
  const report =
    flags.html === undefined ? undefined : new EvaluationReport(longest.reduce((a, b) => Math.max(a, b), 1));
  outer.push(() => perRow?.discard());
  return closing(async (closers) => {
    const threads = await threadsFor(
      flags.threads,
      all.map((pair) => pair.logits),
    );
    const xent = await instance(threads, flags.variant, signal, closers);
    const results: FileResult[] = [];
    for (const pair of all) {
      let progress: ReturnType<typeof progressBar> | undefined;
      const onRows = (done: number, rows: number, bytes: number): void => {
        progress ??= progressBar(rows, bytes, several ? pair.logits : "");
        progress.update(done);
      };
      try {
        const result = await evaluateFile(pair, flags, {
          xent,
          signal,
          onRows,
          onResults: async (computed, { sequence }) => {
            report?.add(computed, pair.logits, sequence);
            await perRow?.write(computed, several ? pair.logits : undefined);
          },
        });
        assertAlike(results[0] ?? result, result);
        results.push(result);
      } finally {
        progress?.stop();
      }
    }
    return { results, variant: xent.variant, threads, perRow, report };
  });
}

/** Reads the sizes of all files of logits. */
async function sizesOf(all: readonly FilePair[], flags: FileFlags): Promise<LogitsFile[]> {
  const files: LogitsFile[] = [];
  for (const { logits } of all) {
    const file = await openLogits({ ...flags, logits });
    await file.array.bytes.close();
    files.push(file);
  }
  return files;
}

/** What --per-row writes. */
function contentOf(all: readonly FilePair[]): Content {
  return { what: "losses", columns: all.length > 1 ? ["file", ...ROW_COLUMNS] : ROW_COLUMNS };
}

/** Throws for an option whose results --totals cannot hold. */
function assertCarried({ totals, topK, calibration, group }: EvaluateFlags): void {
  if (totals === undefined) return;
  const asked = { "--top-k": topK, "--calibration": calibration, "--group": group };
  const lost = Object.entries(asked).find(([, value]) => value !== undefined);
  if (lost) throw badUsage(`${lost[0]}: not with --totals: that file has only sums`);
}

/** The statistics of all files beyond their sums. */
function answersOf(
  results: readonly FileResult[],
  flags: FileFlags,
  count: number,
): Pick<Evaluation, "topK" | "calibration"> {
  const all = new Statistics(questionsOf(flags));
  for (const { statistics } of results) all.merge(statistics.numbers);
  const { calibration } = all;
  const topK = all.topK.map(({ k, correct }) => ({ k, correct, accuracy: correct / count }));
  return { ...(topK.length === 0 ? {} : { topK }), ...(calibration === undefined ? {} : { calibration }) };
}

function noticesOf(results: readonly FileResult[]): Notice[] {
  return results.flatMap(({ logits, statistics: { likeness } }) =>
    likeness === undefined ? [] : [{ file: logits.name, looksLike: likeness, message: noticeOf(likeness) }],
  );
}

/** Evaluates through a queue, whose module is loaded only here. */
async function onQueue(
  all: readonly FilePair[],
  flags: EvaluateFlags,
  url: string,
  signal: AbortSignal,
): Promise<Evaluated> {
  for (const [option, value] of Object.entries({ "--per-row": flags.perRow, "--html": flags.html })) {
    if (value !== undefined) throw badUsage(`${option}: not with --queue: the rows are on other machines`);
  }
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
