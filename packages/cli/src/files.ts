import { availableParallelism } from "node:os";
import { basename } from "node:path";
import { createXent, type LogitsType, type LossOptions, type Totals, type Variant, type Xent } from "xent";
import { fileOf } from "./arrays.ts";
import { badData, badUsage } from "./failure.ts";
import { identityAt } from "./file-identity.ts";
import { openLabels } from "./label-file.ts";
import { IGNORED, Labels } from "./labels.ts";
import { type LogitsFile, openLogits } from "./logits.ts";
import type { LossFlags } from "./loss-options.ts";
import type { NotFinite } from "./not-finite.ts";
import { PerRow } from "./per-row.ts";
import { Source } from "./source.ts";
import { evaluateRows } from "./stream.ts";
import { readWeights } from "./weights.ts";

/** Files that are read of a pair. */
export function inputsOf({ logits, labels }: FilePair, { classWeights }: FileFlags): string[] {
  const specs = [logits, labels, ...(classWeights === undefined ? [] : [classWeights])];
  return specs.map((spec) => fileOf(spec).path);
}

/** Throws where a pair is there twice, by whatever names: its rows would count twice. */
export async function assertDifferent(all: readonly FilePair[]): Promise<void> {
  const seen = new Map<string, string>();
  for (const { logits, labels } of all) {
    const specs = [logits, labels].map(fileOf);
    const files = await Promise.all(specs.map(({ path }) => identityAt(path)));
    // One that is not there is missed when it is opened.
    if (files.includes(undefined)) continue;
    const key = JSON.stringify([files, specs.map(({ wanted }) => wanted)]);
    const other = seen.get(key);
    if (other !== undefined) {
      const same = other === logits ? "is there twice" : `is the same file as ${other}`;
      throw badUsage(`${logits}: ${same}: its rows would count twice`);
    }
    seen.set(key, logits);
  }
}

/** What is said of files of logits and labels. */
export interface FileFlags extends LossFlags {
  readonly classes?: number;
  readonly dtype?: LogitsType;
  readonly classWeights?: string;
  readonly shift: number;
  readonly sequence?: number;
  readonly batchRows?: number;
  readonly strict?: true;
}

/** A file of logits and the one of its labels. */
export interface FilePair {
  readonly logits: string;
  readonly labels: string;
}

/** What is known of a pair that was evaluated. */
export interface FileResult {
  readonly logits: { readonly name: string; readonly dtype: LogitsType; readonly shape: readonly number[] };
  readonly labels: { readonly name: string; readonly dtype: string };
  readonly rows: number;
  readonly classes: number;
  readonly totals: Totals;
  readonly notFinite: NotFinite;
  readonly bytes: number;
}

/** Who is told what, and who can end it. */
export interface Surroundings {
  readonly xent: Xent;
  readonly signal: AbortSignal;
  /** Called when the sizes are known, and then after each batch. */
  readonly onRows?: (done: number, rows: number, bytes: number) => void;
}

/** Opened in this order, given back in the other. */
export type Closers = (() => unknown)[];

/** Runs something that opens things, and closes them again. */
export async function closing<T>(run: (closers: Closers) => Promise<T>): Promise<T> {
  const closers: Closers = [];
  try {
    return await run(closers);
  } finally {
    // One that fails must not keep the others from closing, nor take the place of the error that ends the run.
    for (const close of closers.reverse()) await (async () => close())().catch(() => {});
  }
}

/** That compute: one less than a pool may have. */
export const MOST_THREADS = 255;

/** How many threads compute. */
export function computingThreads(threads: number | "auto"): number {
  return threads === "auto" ? Math.min(availableParallelism(), MOST_THREADS) : threads;
}

/** An instance for files, which is given back at the end or when the signal aborts. */
export async function instance(
  threads: number | "auto",
  variant: Variant | "auto",
  signal: AbortSignal,
  closers: Closers,
): Promise<Xent> {
  const computing = computingThreads(threads);
  // runAsync leaves the calling thread, which reads and writes files, out of the computation: one more, where there are several.
  // Shared, whatever their number: files are read into the memory while it may grow.
  const xent = await createXent({ threads: computing === 1 ? 1 : computing + 1, variant, shared: true });
  const dispose = (): void => xent.dispose();
  signal.addEventListener("abort", dispose);
  closers.push(() => {
    signal.removeEventListener("abort", dispose);
    dispose();
  });
  return xent;
}

/** Opens a pair. `classesTotal`: of the labels, where the file has a part of the classes. */
export async function openPair(
  pair: FilePair,
  flags: FileFlags,
  closers: Closers,
  classesTotal?: number,
): Promise<{ logits: LogitsFile; labels: Labels; dtype: string; source: Source }> {
  const opened = await openLogits({ ...flags, logits: pair.logits });
  const { array, rows, classes } = opened;
  closers.push(() => array.bytes.close());
  const source = new Source(opened);
  const logits = { ...opened, array: { ...array, bytes: source.hashing(array.bytes) } };
  const { sequence = logits.sequence, shift, ignoreIndex } = flags;
  if (rows % sequence !== 0) {
    throw badData(`${array.name}: ${rows} rows are no whole number of sequences of ${sequence}`);
  }
  const file = await openLabels(pair.labels);
  closers.push(() => file.close());
  const of = { rows, classes: classesTotal ?? classes, logits: array.name, logitsShape: array.shape };
  const rules = { ...of, ignoreIndex, shift, sequence, onLabels: (some: Int32Array) => source.addLabels(some) };
  return { logits, labels: new Labels(file, rules), dtype: file.dtype, source };
}

/** The losses of a pair of files. */
export function evaluateFile(
  pair: FilePair,
  flags: FileFlags & { readonly perRow?: string },
  { xent, signal, onRows }: Surroundings,
): Promise<FileResult> {
  return closing(async (closers) => {
    const { logits, labels, dtype, source } = await openPair(pair, flags, closers);
    const { array, rows, classes } = logits;
    const bytes = array.bytes.left;
    const weights = flags.classWeights === undefined ? undefined : await readWeights(flags.classWeights, classes);
    const perRow =
      flags.perRow === undefined ? undefined : await PerRow.open(flags.perRow, rows, inputsOf(pair, flags));
    closers.push(() => perRow?.discard());
    onRows?.(0, rows, bytes);
    const { batchRows, strict = false } = flags;
    const options = lossOptions(flags, weights);
    const tell = (done: number): void => onRows?.(done, rows, bytes);
    const stream = { xent, logits, labels, options, batchRows, perRow, strict, signal, onRows: tell };
    const { totals, notFinite } = await evaluateRows(stream);
    totals.addSource(source.id);
    if (perRow !== undefined) {
      assertAverage(totals, pair.labels, rows, flags);
      await perRow.finish();
    }
    const names = { logits: { name: array.name, dtype: logits.dtype, shape: array.shape } };
    return { ...names, labels: { name: pair.labels, dtype }, rows, classes, totals, notFinite, bytes };
  });
}

/** Throws where there is no mean. */
export function assertAverage(totals: Totals, labels: string, rows: number, { classWeights }: FileFlags): void {
  if (totals.count === 0) throw badData(`${labels}: all ${rows} rows are ignored: there is nothing to average`);
  if (totals.normalizer === 0)
    throw badData(`${classWeights}: the weights of all labels add up to 0: there is no mean`);
}

/** What shards must have in common is that of the first one. */
export function assertAlike(first: FileResult, other: FileResult): void {
  if (other.classes !== first.classes) {
    throw badData(
      `${other.logits.name}: expected ${first.classes} classes as in ${first.logits.name}, found ${other.classes}`,
    );
  }
}

/** The kernel's options, of what was said on the command line. */
export function lossOptions(
  { labelSmoothing, zLoss, softcap, temperature }: LossFlags,
  classWeights: Float32Array | undefined,
): LossOptions {
  const given = Object.entries({ labelSmoothing, zLoss, softcap, temperature, classWeights });
  return { ...Object.fromEntries(given.filter(([, value]) => value !== undefined)), ignoreIndex: IGNORED };
}

/** Which file has the labels of which: `{path}` stands for the path of the logits without its ending, `{name}` for the last part. */
export function pairs(logits: readonly string[], labels: string): FilePair[] {
  if (logits.length === 0) throw badUsage("no file of logits: say --logits, or name them");
  if (logits.length > 1 && !/\{(path|name|file)\}/.test(labels)) {
    throw badUsage(
      `--labels: ${labels}: for ${logits.length} files, say where the labels of each are: labels/{name}.npy, {path}.txt or {file}:labels`,
    );
  }
  return logits.map((file) => {
    const path = file.replace(/\.[^./\\]*$/, "");
    const name = basename(path);
    const of: Record<string, string> = { path, name, file };
    return { logits: file, labels: labels.replace(/\{(path|name|file)\}/g, (_, key: string) => of[key] as string) };
  });
}
