import { stat } from "node:fs/promises";
import { availableParallelism } from "node:os";
import { basename } from "node:path";
import { createXent, type LogitsType, type LossOptions, type Totals, type Variant, type Xent } from "xent";
import { fileOf } from "./arrays.ts";
import { badData, badUsage } from "./failure.ts";
import { identityAt } from "./file-identity.ts";
import { type LabelsDType, openLabels } from "./label-file.ts";
import { IGNORED, type LabelRules, Labels } from "./labels.ts";
import { type LogitsFile, openLogits } from "./logits.ts";
import type { LossFlags } from "./loss-options.ts";
import type { NotFinite } from "./not-finite.ts";
import { Source } from "./source.ts";
import { type ComputedRows, type Questions, Statistics } from "./statistics.ts";
import { evaluateRows } from "./stream.ts";
import { readWeights } from "./weights.ts";

/** Files that are read of a pair. */
export function inputsOf({ logits, labels, mask }: FilePair, { classWeights }: FileFlags): string[] {
  const specs = [logits, labels, mask, classWeights].filter((spec) => spec !== undefined);
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
  readonly labelsDtype?: LabelsDType;
  readonly axis?: number;
  readonly topK?: readonly number[];
  readonly calibration?: number;
  readonly group?: Group;
}

/** What counts as one observation of a standard error. */
export type Group = "row" | "sequence" | "file";

/** A file of logits and the one of its labels. */
export interface FilePair {
  readonly logits: string;
  readonly labels: string;
  readonly mask?: string;
}

/** What is known of a pair that was evaluated. */
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

/** Who is told what, and who can end it. */
export interface Surroundings {
  readonly xent: Xent;
  readonly signal: AbortSignal;
  /** Called when the sizes are known, and then after each batch. */
  readonly onRows?: (done: number, rows: number, bytes: number) => void;
  /** Is given all rows, in their order. */
  readonly onResults?: (computed: ComputedRows, file: LogitsFile) => Promise<void>;
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
function computingThreads(threads: number | "auto"): number {
  return threads === "auto" ? Math.min(availableParallelism(), MOST_THREADS) : threads;
}

/** Logits of fewer bytes are computed in less time than workers take to start. */
const FEW_BYTES = 2 ** 24;

/** How many threads compute these files of logits: where that is not said, one has few of them to itself. */
export async function threadsFor(threads: number | "auto", logits: readonly string[]): Promise<number> {
  if (threads !== "auto") return threads;
  // What cannot be opened is said where it is read.
  const files = await Promise.all(logits.map((spec) => stat(fileOf(spec).path).catch(() => undefined)));
  const isSmall = files.every((file) => file === undefined || file.isFile());
  const bytes = files.reduce((sum, file) => sum + (file?.size ?? 0), 0);
  return isSmall && bytes < FEW_BYTES ? 1 : computingThreads(threads);
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
  const file = await openLabels(pair.labels, { raw: flags.labelsDtype });
  closers.push(() => file.close());
  const of = { rows, logits: array.name, logitsShape: array.shape, rowsShape: logits.rowsShape, shift, sequence };
  const mask = pair.mask === undefined ? undefined : await openMask(pair.mask, of, closers);
  const onLabels = (some: Int32Array): void => source.addLabels(some);
  const rules = { ...of, classes: classesTotal ?? classes, ignoreIndex, noun: "label", mask, onLabels } as const;
  return { logits: { ...logits, sequence }, labels: new Labels(file, rules), dtype: file.dtype, source };
}

/** As labels, of which those that are not 0 count. */
async function openMask(
  spec: string,
  rules: Omit<LabelRules, "classes" | "ignoreIndex" | "noun">,
  closers: Closers,
): Promise<Labels> {
  const file = await openLabels(spec, { isMask: true });
  closers.push(() => file.close());
  return new Labels(file, { ...rules, classes: 2 ** 31, ignoreIndex: undefined, noun: "mask value" });
}

/** What is asked of rows beside their sums. */
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

/** Throws where there is no mean. */
export function assertAverage(totals: Totals, labels: string, rows: number, { classWeights }: FileFlags): void {
  if (totals.count === 0) throw badData(`${labels}: all ${rows} rows are ignored: there is nothing to average`);
  if (totals.normalizer === 0)
    throw badData(`${classWeights}: the weights of all labels add up to 0: there is no mean`);
}

/** What is compared of files. */
type Alike = { readonly classes: number; readonly logits: { readonly name: string } };

/** What shards must have in common is that of the first one. */
export function assertAlike(first: Alike, other: Alike): void {
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
export function pairs(logits: readonly string[], labels: string, mask?: string): FilePair[] {
  if (logits.length === 0) throw badUsage("no file of logits: say --logits, or name them");
  const of = { "--labels": labels, ...(mask === undefined ? {} : { "--mask": mask }) };
  for (const [option, spec] of Object.entries(of)) assertEach(option, spec, logits.length);
  return logits.map((file) => ({
    logits: file,
    labels: fileBeside(file, labels),
    ...(mask === undefined ? {} : { mask: fileBeside(file, mask) }),
  }));
}

const PLACES = /\{(path|name|file)\}/g;

/** Throws where a file of its own for each of several is wanted, and the name of one is given. */
export function assertEach(option: string, spec: string, files: number): void {
  if (files === 1 || spec.search(PLACES) >= 0) return;
  const what = option.slice(2);
  throw badUsage(
    `${option}: ${spec}: for ${files} files, say where the ${what} of each are: ${what}/{name}.npy, {path}.txt or {file}:${what}`,
  );
}

/** What a name stands for that says where it lies beside a file of logits. */
export function fileBeside(file: string, spec: string): string {
  const path = file.replace(/\.[^./\\]*$/, "");
  const of: Record<string, string> = { path, name: basename(path), file };
  return spec.replace(PLACES, (_, key: string) => of[key] as string);
}
