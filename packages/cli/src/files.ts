import { stat } from "node:fs/promises";
import { availableParallelism } from "node:os";
import { basename } from "node:path";
import { createXent, type LogitsType, type LossOptions, type Totals, type Variant, type Xent } from "xent";
import { fileOf } from "./arrays.ts";
import { badData, badUsage } from "./failure.ts";
import { type LabelsDType, openLabels } from "./label-file.ts";
import { IGNORED, type LabelRules, Labels } from "./labels.ts";
import { type LogitsFile, type LogitsSpec, openLogits } from "./logits.ts";
import type { LossFlags } from "./loss-options.ts";
import type { NotFinite } from "./not-finite.ts";
import { Source } from "./source.ts";
import { type ComputedRows, type Questions, Statistics } from "./statistics.ts";
import { evaluateRows } from "./stream.ts";
import { readWeights } from "./weights.ts";

/** The files that are read for a pair. */
export function inputsOf({ logits, labels, mask }: FilePair, { classWeights }: FileFlags): string[] {
  const specs = [logits, labels, mask, classWeights].filter((spec) => spec !== undefined);
  return specs.map((spec) => fileOf(spec).path);
}

/** The options that describe files of logits and labels. */
export interface FileFlags extends LossFlags {
  readonly classes?: number;
  readonly dtype?: LogitsType;
  readonly classWeights?: string;
  readonly shift: number;
  readonly sequence?: number;
  readonly batchRows?: number;
  readonly strict?: true;
  readonly labelsDtype?: LabelsDType;
  readonly axis?: number;
  readonly topK?: readonly number[];
  readonly calibration?: number;
  readonly group?: Group;
}

/** What counts as one observation of a standard error. */
export type Group = "row" | "sequence" | "file";

/** A file of logits and the file of its labels. */
export interface FilePair {
  readonly logits: string;
  readonly labels: string;
  readonly mask?: string;
}

/** The result of an evaluated pair. */
export interface FileResult {
  readonly logits: { readonly name: string; readonly dtype: LogitsType; readonly shape: readonly number[] };
  readonly labels: { readonly name: string; readonly dtype: string };
  readonly rows: number;
  readonly classes: number;
  readonly totals: Totals;
  readonly statistics: Statistics;
  readonly notFinite: NotFinite;
  readonly bytes: number;
}

/** What an evaluation runs with: instance, signal and callbacks. */
export interface Surroundings {
  readonly xent: Xent;
  readonly signal: AbortSignal;
  /** Called once the sizes are known, and then after each batch. */
  readonly onRows?: (done: number, rows: number, bytes: number) => void;
  /** Called with the results of all rows, in order. */
  readonly onResults?: (computed: ComputedRows, file: LogitsFile) => Promise<void>;
}

/** What to close: called in reverse order. */
export type Closers = (() => unknown)[];

/** Runs a function, and then calls the closers that it has added. */
export async function closing<T>(run: (closers: Closers) => Promise<T>): Promise<T> {
  const closers: Closers = [];
  try {
    return await run(closers);
  } finally {
    // A failing closer must neither stop the others nor replace the error that ended the run.
    for (const close of closers.reverse()) await (async () => close())().catch(() => {});
  }
}

/** The most computing threads: one less than a pool may have. */
export const MOST_THREADS = 255;

function computingThreads(threads: number | "auto"): number {
  return threads === "auto" ? Math.min(availableParallelism(), MOST_THREADS) : threads;
}

/** Fewer bytes of logits are computed faster than workers start. */
const FEW_BYTES = 2 ** 24;

/** The threads for these files of logits. "auto" takes one thread if they are small. */
export async function threadsFor(threads: number | "auto", logits: readonly string[]): Promise<number> {
  if (threads !== "auto") return threads;
  // A file that cannot be opened is reported when it is read.
  const files = await Promise.all(logits.map((spec) => stat(fileOf(spec).path).catch(() => undefined)));
  const isSmall = files.every((file) => file === undefined || file.isFile());
  const bytes = files.reduce((sum, file) => sum + (file?.size ?? 0), 0);
  return isSmall && bytes < FEW_BYTES ? 1 : computingThreads(threads);
}

/** An instance for files, which is disposed at the end or when the signal aborts. */
export async function instance(
  threads: number | "auto",
  variant: Variant | "auto",
  signal: AbortSignal,
  closers: Closers,
): Promise<Xent> {
  const computing = computingThreads(threads);
  // With a pool, runAsync does not compute on the calling thread, which reads and writes files: hence one thread more.
  // The memory is always shared: files are read into it while it may grow.
  const xent = await createXent({ threads: computing === 1 ? 1 : computing + 1, variant, shared: true });
  const dispose = (): void => xent.dispose();
  signal.addEventListener("abort", dispose);
  closers.push(() => {
    signal.removeEventListener("abort", dispose);
    dispose();
  });
  return xent;
}

/** Opens a pair. `classesTotal`: the classes that labels range over, if the file has only some of them. */
export async function openPair(
  pair: FilePair,
  flags: FileFlags & Pick<LogitsSpec, "anyType">,
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
    throw badData(`${array.name}: ${rows} rows are not a whole number of sequences of ${sequence}`);
  }
  const file = await openLabels(pair.labels, { raw: flags.labelsDtype });
  closers.push(() => file.close());
  const of = { rows, logits: array.name, logitsShape: array.shape, rowsShape: logits.rowsShape, shift, sequence };
  const mask = pair.mask === undefined ? undefined : await openMask(pair.mask, of, closers);
  const onLabels = (some: Int32Array): void => source.addLabels(some);
  const rules = { ...of, classes: classesTotal ?? classes, ignoreIndex, noun: "label", mask, onLabels } as const;
  return { logits: { ...logits, sequence }, labels: new Labels(file, rules), dtype: file.dtype, source };
}

/** Opens a mask as labels of two classes: a row counts if its value is not 0. */
async function openMask(
  spec: string,
  rules: Omit<LabelRules, "classes" | "ignoreIndex" | "noun">,
  closers: Closers,
): Promise<Labels> {
  const file = await openLabels(spec, { isMask: true });
  closers.push(() => file.close());
  return new Labels(file, { ...rules, classes: 2, ignoreIndex: undefined, noun: "mask value" });
}

/** The statistics that the options ask for beyond sums. */
export function questionsOf({ topK = [], calibration, group, classWeights }: FileFlags): Questions {
  return { topK, calibration, bySequence: group === "sequence", weighted: classWeights !== undefined };
}

/** The losses of a pair of files. */
export function evaluateFile(
  pair: FilePair,
  flags: FileFlags,
  { xent, signal, onRows, onResults }: Surroundings,
): Promise<FileResult> {
  return closing(async (closers) => {
    const { logits, labels, dtype, source } = await openPair(pair, flags, closers);
    const { array, rows, classes } = logits;
    const bytes = array.bytes.left;
    const weights = flags.classWeights === undefined ? undefined : await readWeights(flags.classWeights, classes);
    onRows?.(0, rows, bytes);
    const { batchRows, strict = false } = flags;
    const options = lossOptions(flags, weights);
    const tell = (done: number): void => onRows?.(done, rows, bytes);
    const statistics = new Statistics(questionsOf(flags), logits.sequence);
    const tellResults = async (computed: ComputedRows): Promise<void> => {
      statistics.add(computed, options);
      await onResults?.(computed, logits);
    };
    const stream = { xent, logits, labels, options, batchRows, strict, signal, onRows: tell, onResults: tellResults };
    const { totals, notFinite } = await evaluateRows(stream);
    totals.addSource(source.id);
    statistics.end();
    const names = { logits: { name: array.name, dtype: logits.dtype, shape: array.shape } };
    return { ...names, labels: { name: pair.labels, dtype }, rows, classes, totals, statistics, notFinite, bytes };
  });
}

/** Throws if there is no mean. */
export function assertAverage(totals: Totals, labels: string, rows: number, { classWeights }: FileFlags): void {
  if (totals.count === 0) throw badData(`${labels}: all ${rows} rows are ignored: there is nothing to average`);
  if (totals.normalizer === 0)
    throw badData(`${classWeights}: the weights of all labels add up to 0: there is no mean`);
}

/** The properties that all files must share. */
type Alike = { readonly classes: number; readonly logits: { readonly name: string } };

/** Throws if a shard differs from the first one in what they must share. */
export function assertAlike(first: Alike, other: Alike): void {
  if (other.classes !== first.classes) {
    throw badData(
      `${other.logits.name}: expected ${first.classes} classes as in ${first.logits.name}, found ${other.classes}`,
    );
  }
}

/** The kernel's options that the command line gives. */
export function lossOptions(
  { labelSmoothing, zLoss, softcap, temperature }: LossFlags,
  classWeights: Float32Array | undefined,
): LossOptions {
  const given = Object.entries({ labelSmoothing, zLoss, softcap, temperature, classWeights });
  return { ...Object.fromEntries(given.filter(([, value]) => value !== undefined)), ignoreIndex: IGNORED };
}

/** Pairs logits and labels: `{path}` is the path of the logits without its extension, `{name}` the last part of that path. */
export function pairs(logits: readonly string[], labels: string, mask?: string): FilePair[] {
  if (logits.length === 0) throw badUsage("no logits: give --logits, or name them");
  const of = { "--labels": labels, ...(mask === undefined ? {} : { "--mask": mask }) };
  for (const [option, spec] of Object.entries(of)) assertEach(option, spec, logits.length);
  return logits.map((file) => ({
    logits: file,
    labels: fileBeside(file, labels),
    ...(mask === undefined ? {} : { mask: fileBeside(file, mask) }),
  }));
}

const PLACES = /\{(path|name|file)\}/g;

/** Throws if several files of logits each need a file beside them, and `spec` names only one. */
export function assertEach(option: string, spec: string, files: number): void {
  if (files === 1 || spec.search(PLACES) >= 0) return;
  const what = option.slice(2);
  throw badUsage(
    `${option}: ${spec}: for ${files} files, say where the ${what} of each are: ${what}/{name}.npy, {path}.txt or {file}:${what}`,
  );
}

/** The path that a pattern gives for a file of logits. */
export function fileBeside(file: string, spec: string): string {
  const path = file.replace(/\.[^./\\]*$/, "");
  const of: Record<string, string> = { path, name: basename(path), file };
  return spec.replace(PLACES, (_, key: string) => of[key] as string);
}
