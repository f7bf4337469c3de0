import { availableParallelism } from "node:os";
import { createXent, type LogitsType, type LossOptions } from "xent";
import { badData } from "./failure.ts";
import { openLabels } from "./label-file.ts";
import { IGNORED, Labels } from "./labels.ts";
import { openLogits } from "./logits.ts";
import type { LossFlags } from "./loss-options.ts";
import type { NotFinite } from "./not-finite.ts";
import { PerRow } from "./per-row.ts";
import { progressBar } from "./progress.ts";
import { evaluateRows } from "./stream.ts";
import { readWeights } from "./weights.ts";

export interface EvaluateFlags extends LossFlags {
  readonly logits: string;
  readonly labels: string;
  readonly classes?: number;
  readonly dtype?: LogitsType;
  readonly classWeights?: string;
  readonly shift: number;
  readonly sequence?: number;
  readonly batchRows?: number;
  readonly threads: number | "auto";
  readonly perRow?: string;
  readonly strict?: true;
}

/** What is printed. */
export interface Evaluation {
  readonly logits: { readonly name: string; readonly dtype: LogitsType; readonly shape: readonly number[] };
  readonly labels: { readonly name: string; readonly dtype: string };
  readonly rows: number;
  readonly classes: number;
  readonly ignored: number;
  readonly counted: number;
  readonly sum: number;
  readonly normalizer: number;
  readonly mean: number;
  readonly perplexity: number;
  readonly bitsPerToken: number;
  readonly correct: number;
  readonly accuracy: number;
  readonly notFinite: NotFinite;
  readonly variant: string;
  readonly threads: number;
  readonly bytes: number;
  readonly seconds: number;
}

/** That compute: one less than a pool may have. */
export const MOST_THREADS = 255;

/** Opened in this order, given back in the other. */
type Closers = (() => unknown)[];

export async function evaluate(flags: EvaluateFlags, signal: AbortSignal): Promise<Evaluation> {
  const closers: Closers = [];
  try {
    return await evaluateWith(flags, signal, closers);
  } finally {
    for (const close of closers.reverse()) await close();
  }
}

async function evaluateWith(flags: EvaluateFlags, signal: AbortSignal, closers: Closers): Promise<Evaluation> {
  const { ignoreIndex, shift, batchRows, threads, variant, strict = false } = flags;
  const start = performance.now();
  const logits = await openLogits(flags);
  const { array, dtype, rows, classes } = logits;
  const { left: size } = array.bytes;
  closers.push(() => array.bytes.close());
  const { sequence = logits.sequence } = flags;
  if (rows % sequence !== 0)
    throw badData(`${array.name}: ${rows} rows are no whole number of sequences of ${sequence}`);
  const file = await openLabels(flags.labels);
  closers.push(() => file.close());
  const classWeights = flags.classWeights === undefined ? undefined : await readWeights(flags.classWeights, classes);
  const rules = { rows, classes, logits: array.name, ignoreIndex, shift, sequence, classWeights };
  const labels = new Labels(file, rules);

  const computing = threads === "auto" ? Math.min(availableParallelism(), MOST_THREADS) : threads;
  // runAsync leaves the calling thread, which reads and writes files, out of the computation: one more, where there are several.
  // Shared, whatever their number: files are read into the memory while it may grow.
  const xent = await createXent({ threads: computing === 1 ? 1 : computing + 1, variant, shared: true });
  closers.push(() => xent.dispose());
  signal.addEventListener("abort", () => xent.dispose());
  const inputs = [flags.logits, flags.labels, flags.classWeights ?? ""];
  const perRow = flags.perRow === undefined ? undefined : await PerRow.open(flags.perRow, rows, inputs);
  const progress = progressBar(rows, size);
  const options = lossOptions(flags, classWeights);
  try {
    const onRows = progress.update;
    const stream = { xent, logits, labels, options, batchRows, perRow, strict, signal, onRows };
    const { sum, correct, notFinite } = await evaluateRows(stream);
    const { counted, normalizer } = labels;
    if (counted === 0) throw badData(`${file.name}: all ${rows} rows are ignored: there is nothing to average`);
    if (normalizer === 0)
      throw badData(`${flags.classWeights}: the weights of all labels add up to 0: there is no mean`);
    await perRow?.finish();
    const mean = sum / normalizer;
    return {
      logits: { name: array.name, dtype, shape: array.shape },
      labels: { name: file.name, dtype: file.dtype },
      rows,
      classes,
      ignored: rows - counted,
      counted,
      sum,
      normalizer,
      mean,
      perplexity: Math.exp(mean),
      bitsPerToken: mean / Math.LN2,
      correct,
      accuracy: correct / counted,
      notFinite,
      variant: xent.variant,
      threads: computing,
      bytes: size,
      seconds: (performance.now() - start) / 1000,
    };
  } catch (error) {
    await perRow?.discard();
    throw error;
  } finally {
    progress.stop();
  }
}

function lossOptions(
  { labelSmoothing, zLoss, softcap, temperature }: EvaluateFlags,
  classWeights: Float32Array | undefined,
): LossOptions {
  const given = Object.entries({ labelSmoothing, zLoss, softcap, temperature, classWeights });
  return { ...Object.fromEntries(given.filter(([, value]) => value !== undefined)), ignoreIndex: IGNORED };
}
