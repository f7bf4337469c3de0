// A run: its options are checked once; options and labels become a job of the kernel, and the finished job becomes a result.

import { RECORD_BYTES } from "./abi.ts";
import { countRows, type DivergenceOptions, readDivergence } from "./divergence.ts";
import type { Engine } from "./engine.ts";
import { integer, wrongType } from "./errors.ts";
import { type JobRecord, LOGITS_TYPES } from "./job.ts";
import { copyLabels, IGNORED, INVALID, isDirect, type LabelRules, readLabels } from "./labels.ts";
import type { GradientArrays, LogitsType, LossArrays, TargetsType } from "./logits.ts";
import { boolean, type LossOptions, readOptions, type Settings } from "./options.ts";
import { costOf, isDivisible, type PlacedBatch } from "./plan.ts";
import { type Schedule, writeSchedule } from "./pool/schedule.ts";
import type { LossResult, OwnResult } from "./result.ts";
import type { Shard } from "./shards/shard.ts";
import type { BatchMemory } from "./views.ts";

/** Options of a run. */
export interface RunOptions<G extends boolean = boolean, P extends boolean = boolean, C extends boolean = boolean>
  extends LossOptions<G, P> {
  /** For a batch with `targets: "logits"`: which rows count. */
  mask?: DivergenceOptions["mask"];
  /** Only the rows from `begin` to `end`. Default: all. */
  rows?: readonly [begin: number, end: number] | undefined;
  /**
   * Whether the arrays of the result are copies. Default false: they are views, valid until the batch's next run. Posting or cloning a
   * view of a memory that is not shared copies the whole memory.
   */
  copy?: C | undefined;
}

/** The result of a run. */
export type RunResult<
  L extends LogitsType = "float32",
  G extends boolean = boolean,
  P extends boolean = boolean,
  C extends boolean = boolean,
  T extends TargetsType = TargetsType,
> = [C] extends [true] ? OwnResult<L, G, P, T> : LossResult<LossArrays[L], G, P, Int32Array, T>;

/** The checked options of a run. Its labels are checked later, because they may change until then. */
export interface Run {
  readonly settings: Settings;
  readonly begin: number;
  readonly end: number;
  /** Whether the result is a copy. */
  readonly copy: boolean;
  /** Present if the batch's classes are a shard of all classes. */
  readonly shard: Shard | undefined;
  /** For a divergence: 0 for each row that does not count. */
  readonly mask: Uint8Array | undefined;
}

const RUN_OPTIONS = ["rows", "copy"];

/** Checks the options of a run. Getters and proxies of the caller are read only here. */
export function readRun(options: RunOptions | undefined, plan: PlacedBatch, others: string[] = RUN_OPTIONS): Run {
  const { rows, classes } = plan.layout;
  const [begin, end] = readRows(options?.rows, rows);
  const { copy: asked = false }: RunOptions = options ?? {};
  const copy = boolean("copy", asked);
  const read = plan.targets === "logits" ? readDivergence : readPlain;
  const { settings, mask } = read(options, rows, classes, others);
  assertPossible(settings, plan);
  return { settings, begin, end, copy, shard: undefined, mask };
}

function readPlain(...given: Parameters<typeof readOptions>): Pick<Run, "settings" | "mask"> {
  return { settings: readOptions(...given), mask: undefined };
}

function readRows(rows: readonly [number, number] | undefined, all: number): readonly [number, number] {
  if (rows === undefined) return [0, all];
  if (!Array.isArray(rows) || rows.length !== 2) throw wrongType("rows", "[begin, end]", rows);
  const begin = integer("rows[0]", rows[0], 0, all);
  return [begin, integer("rows[1]", rows[1], begin, all)];
}

/** Throws TypeError for options that this batch has no memory for. */
export function assertPossible({ gradient, ignoreIndex }: Settings, { regions }: PlacedBatch): void {
  if (gradient && regions.gradient === 0) {
    throw new TypeError('"gradient" expected a batch with memory for it: create it with gradient: true or "in-place"');
  }
  if (regions.targets !== 0 && ignoreIndex !== undefined) {
    throw new TypeError('"ignoreIndex" expected a batch with labels: this one has soft targets');
  }
}

/** Checked labels, in the form that the kernel reads. */
export interface KernelLabels {
  /** The number of rows that are not ignored, and the sum of their weights. */
  readonly count: number;
  readonly normalizer: number;
  /** 0 if there are soft targets. */
  readonly address: number;
  readonly ignoreIndex: number | undefined;
  /** For the result of a shard. */
  readonly copy: Int32Array | undefined;
}

/** The counterpart of {@link KernelLabels} for soft targets. */
export function noLabels(rows: number): KernelLabels {
  return { count: rows, normalizer: rows, address: 0, ignoreIndex: undefined, copy: undefined };
}

/**
 * The label that the kernel ignores, or undefined if no row has it. Copied labels mark ignored rows with {@link IGNORED}; labels that
 * the kernel reads in place keep the caller's `ignoreIndex`.
 */
export function indexForKernel(
  ignoreIndex: number | undefined,
  isDirect: boolean,
  isIgnored: boolean,
): number | undefined {
  if (!isIgnored) return undefined;
  return isDirect ? ignoreIndex : IGNORED;
}

/** Checks the labels of a batch. */
function readBatchLabels(batch: BatchMemory, { settings, begin, end, shard, mask }: Run): KernelLabels {
  const { layout, shift, sequence, regions } = batch.plan;
  const { labels, kernelLabels } = batch.views;
  if (labels === undefined) {
    const without = noLabels(mask ? countRows(mask, begin, end) : end - begin);
    const isDivergence = shard !== undefined && batch.plan.targets === "logits";
    return isDivergence ? { ...without, copy: labelsOf(mask, begin, end) } : without;
  }
  const { ignoreIndex, classWeights, invalidLabels } = settings;
  const rules: LabelRules = {
    classes: shard?.classesTotal ?? layout.classes,
    // The weights of a shard's labels are with other shards: merging finds the normalizer.
    classWeights: shard ? undefined : classWeights,
    ignoreIndex,
    strict: invalidLabels === "throw",
    shift,
    sequence,
  };
  const [count, normalizer] = readLabels(labels, rules, begin, end);
  const direct = isDirect(labels, rules);
  const index = indexForKernel(ignoreIndex, direct, count < end - begin);
  let copy: Int32Array | undefined;
  if (shard) {
    const all = new Int32Array(end);
    copyLabels(labels, rules, begin, end, all);
    copy = all.subarray(begin);
  }
  if (direct) return { count, normalizer, address: regions.labels, ignoreIndex: index, copy };
  if (copy) kernelLabels.set(copy, begin);
  else copyLabels(labels, rules, begin, end, kernelLabels);
  return { count, normalizer, address: regions.kernelLabels, ignoreIndex: index, copy };
}

/** The labels of a shard of a divergence, which only say which rows count. */
function labelsOf(mask: Uint8Array | undefined, begin: number, end: number): Int32Array {
  return new Int32Array(end - begin).map((_, i) => (mask?.[begin + i] === 0 ? IGNORED : INVALID));
}

/** A run whose job record is written. */
export interface Job {
  readonly run: Run;
  readonly record: JobRecord;
  readonly labels: KernelLabels;
  /** The schedule for the pool, if threads pay off. */
  readonly schedule: Schedule | undefined;
  /** Address of a shard's records, one for each row of the batch. */
  readonly shardRecords: number;
}

/** Writes the job of a run, which is synchronous if `waits`. Throws RangeError for labels that are not classes. */
export function writeJob(
  engine: Engine,
  batch: BatchMemory,
  run: Run,
  waits: boolean,
  labels: KernelLabels = readBatchLabels(batch, run),
): Job {
  const { layout, logits, regions } = batch.plan;
  const { rows, classes } = layout;
  const { settings, begin, end, shard } = run;
  const { classWeights, sampleWeights } = settings;
  shard?.merged?.check(labels.copy, settings);
  const splits = shard === undefined && isDivisible(batch.plan);
  const extent = { begin, end, classes, cost: costOf(batch.plan, settings), splits, finds: regions.targets !== 0 };
  const schedule = engine.pool?.schedule(extent, waits);
  const work = workingMemory(batch.plan, run, schedule);
  shard?.merged?.write(recordsOf(batch, work.shardRecords), settings);
  if (classWeights) batch.floats(work.classWeights, classes).set(classWeights);
  if (sampleWeights) batch.floats(work.sampleWeights, rows).set(sampleWeights);
  const record = waits ? engine.waited : engine.queued;
  record.write({
    logits: regions.logits,
    labels: labels.address,
    targets: regions.targets,
    gradient: settings.gradient ? regions.gradient : 0,
    loss: regions.losses,
    log_sum_exp: regions.logSumExp,
    predictions: settings.predictions ? regions.predictions : 0,
    class_weights: classWeights ? work.classWeights : 0,
    sample_weights: sampleWeights ? work.sampleWeights : 0,
    rounded_loss: regions.loss,
    records: work.shardRecords,
    classes,
    logits_type: LOGITS_TYPES[logits],
    row_stride: layout.rowStride,
    class_stride: layout.classStride,
    inner: layout.inner,
    ignore: labels.ignoreIndex === undefined ? 0 : 1,
    ignore_index: labels.ignoreIndex ?? 0,
    class_offset: shard?.classOffset ?? 0,
    classes_total: shard?.classesTotal ?? classes,
    merged: shard?.merged ? 1 : 0,
    divergence: batch.plan.targets === "logits" ? 1 : 0,
    scale: settings.reduction === "mean" ? (labels.normalizer === 0 ? 0 : 1 / labels.normalizer) : 1,
    label_smoothing: settings.labelSmoothing,
    z_loss: settings.zLoss,
    softcap: settings.softcap ?? 0,
    temperature: settings.temperature,
    sum: 0,
    correct: 0,
  });
  if (schedule) writeSchedule(engine.memory, record.address, schedule, settings.gradient, work.segmentRecords);
  return { run, record, labels, schedule, shardRecords: work.shardRecords };
}

/** The records of a shard, one for each row of the batch. */
export function recordsOf(batch: BatchMemory, address: number): Float64Array {
  return batch.doubles(address, (RECORD_BYTES / 8) * batch.plan.layout.rows);
}

/** Addresses in the working memory that was reserved with the batch. */
interface WorkingMemory {
  /** One record for each row of a shard; 0 without a shard. */
  readonly shardRecords: number;
  /** Records of the rows in segments. */
  readonly segmentRecords: number;
  readonly classWeights: number;
  readonly sampleWeights: number;
}

function workingMemory({ layout, buffer, bufferBytes }: PlacedBatch, run: Run, schedule?: Schedule): WorkingMemory {
  const { rows, classes } = layout;
  const { classWeights, sampleWeights } = run.settings;
  const shardBytes = run.shard ? RECORD_BYTES * rows : 0;
  const segmentBytes = schedule?.recordBytes ?? 0;
  const byClass = classWeights ? 4 * classes : 0;
  const bytes = shardBytes + segmentBytes + byClass + (sampleWeights ? 4 * rows : 0);
  if (bytes > bufferBytes) {
    throw new RangeError(`this run needs ${bytes} bytes beside the batch, but "maxBytes" leaves no room`);
  }
  const segmentRecords = buffer + shardBytes;
  const first = segmentRecords + segmentBytes;
  return {
    shardRecords: run.shard ? buffer : 0,
    segmentRecords,
    classWeights: first,
    sampleWeights: first + byClass,
  };
}

/** Computes a synchronous job. */
export function compute({ kernel, scratch, pool }: Engine, { record, schedule, run }: Job): void {
  if (pool && schedule) pool.run(schedule, record.address);
  else kernel.run(record.address, scratch, run.begin, run.end);
}

/** The result of a job. */
export function resultOf<L extends LogitsType>(
  { kernel }: Engine,
  batch: BatchMemory<L>,
  { run, record, labels }: Job,
): LossResult<LossArrays[L]> {
  const { begin, end, copy, settings } = run;
  kernel.reduce(record.address, begin, end);
  const { views } = batch;
  const all = begin === 0 && end === batch.plan.layout.rows;
  const part = <V extends Float32Array | Float64Array | Int32Array>(view: V): V => {
    const own = all ? view : view.subarray(begin, end);
    return (copy ? own.slice() : own) as V;
  };
  const { count, normalizer } = labels;
  const sum = record.read("sum");
  const result: LossResult<LossArrays[L]> = {
    loss: part(views.loss),
    sum,
    mean: normalizer === 0 ? 0 : sum / normalizer,
    normalizer,
    count,
    logSumExp: part(views.logSumExp),
  };
  if (settings.gradient) {
    const gradient = gradientOf(batch, run);
    result.gradient = (copy ? gradient.slice() : gradient) as GradientArrays[L];
  }
  if (settings.predictions) {
    result.predictions = part(views.predictions);
    if (views.labels) result.correct = record.read("correct");
  }
  return result;
}

/** The part of the gradient with the rows of a run. */
export function gradientOf<L extends LogitsType>(batch: BatchMemory<L>, { begin, end }: Run): GradientArrays[L] {
  const gradient = batch.views.gradient as GradientArrays[L];
  const { rows, rowStride, inner } = batch.plan.layout;
  // Interleaved rows are not a contiguous part of the array.
  const whole = inner > 1 || (begin === 0 && end === rows);
  return whole ? gradient : (gradient.subarray(begin * rowStride, end * rowStride) as GradientArrays[L]);
}
