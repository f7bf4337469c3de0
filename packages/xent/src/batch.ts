/// <reference lib="esnext.disposable" preserve="true" />

import { RECORD_BYTES } from "./abi.ts";
import type { Engine, Lane } from "./engine.ts";
import { integer, wrongType } from "./errors.ts";
import { isShared } from "./features.ts";
import { assertFits, type Logits, readLogits, readTargets, rowsOf, type Targets, writeSource } from "./inputs.ts";
import { LOGITS_TYPES } from "./job.ts";
import {
  copyLabels,
  exactLabels,
  flatLabels,
  IGNORED,
  isDirect,
  LABELS,
  type LabelRules,
  type Labels,
  type LabelsArrays,
  type LabelsType,
  readLabels,
} from "./labels.ts";
import {
  GRADIENTS,
  type GradientArrays,
  LOGITS,
  LOSSES,
  type LogitsArrays,
  type LogitsType,
  type LossArrays,
} from "./logits.ts";
import { boolean, type LossOptions, ownWeights, type Reduction, readOptions, type Settings } from "./options.ts";
import { type BatchGradient, bytesOfWork, costOf, isDivisible, type SharedBatch } from "./plan.ts";
import type { Schedule } from "./pool/schedule.ts";
import type { Task } from "./pool/work.ts";
import type { LossResult, OwnResult } from "./result.ts";
import type { Partials } from "./shards/columns.ts";
import {
  assertMerged,
  type PartialsOptions,
  RECORD,
  readPartials,
  readShard,
  SHARD_OPTIONS,
  type Shard,
  writeMerged,
} from "./shards/shard.ts";
import { inSlices } from "./time-slices.ts";

/**
 * Rows of logits and labels in the kernel's own memory: nothing is copied. Every array is a view of that memory, and stays alive
 * through every run with any options, and through one calls. Only `createBatch` grows the memory: if it is not shared, take the
 * arrays from the batch again after that, since JavaScript has detached the earlier ones. Results are views too, valid until the
 * next run of the batch, the next `createBatch` or dispose.
 */
export class Batch<
  L extends LogitsType = "float32",
  K extends LabelsType = "int32",
  G extends BatchGradient = BatchGradient,
  T extends boolean = boolean,
> implements Disposable
{
  readonly rows: number;
  readonly classes: number;
  readonly #engine: Engine;
  readonly #plan: SharedBatch<L, K, G, T>;
  readonly #owner: BatchOwner;
  #disposed = false;
  /** In the middle of {@link runAsync}. */
  #running = false;
  /** Of the last {@link partials}. */
  #shard: PartialsOptions | undefined;
  #views: Views<L, K> | undefined;

  /** @internal Made by `createBatch` and `attachBatch`. */
  constructor(engine: Engine, plan: SharedBatch<L, K, G, T>, owner: BatchOwner) {
    this.rows = plan.layout.rows;
    this.classes = plan.layout.classes;
    this.#engine = engine;
    this.#plan = plan;
    this.#owner = owner;
  }

  /** In the batch's layout, [rows, classes] unless it has another. Write your logits here. */
  get logits(): LogitsArrays[L] {
    return this.#current().logits;
  }

  /** [rows]. Write your labels here. Throws TypeError where the batch was created with `targets`. */
  get labels(): T extends true ? never : LabelsArrays[K] {
    const { labels } = this.#current();
    if (labels === undefined) throw new TypeError("this batch has soft targets, and no labels");
    return labels as T extends true ? never : LabelsArrays[K];
  }

  /** In the layout of the logits, or undefined where the batch was created with labels. Write your soft targets here. */
  get targets(): T extends true ? Float32Array : undefined {
    return this.#current().targets as T extends true ? Float32Array : undefined;
  }

  /** In the layout of the logits, or undefined where the batch was created without. "in-place": the logits' memory. */
  get gradient(): G extends false ? undefined : GradientArrays[L] {
    return this.#current().gradient as G extends false ? undefined : GradientArrays[L];
  }

  /** [rows]. The losses that runs have written, by any thread or handle; 0 in rows that none has run. */
  get loss(): LossArrays[L] {
    return this.#current().loss;
  }

  /**
   * Writes logits of any kind that one call takes, from element `offset` of {@link logits} on: numbers are rounded once to the batch's
   * type, those of a Float16Array into a "float16" batch are exact, and a Uint16Array has bits. Nested arrays may leave out the
   * padding of a `stride`.
   *
   * Throws before a byte is written: TypeError for bits where the batch has numbers, and for what is no number; RangeError for what
   * does not fit.
   */
  setLogits(source: Logits, offset = 0): void {
    const { layout, logits: type } = this.#plan;
    const numbers = readLogits("source", source);
    if (numbers.kind === "Uint16Array" && (type === "float32" || type === "float64")) {
      throw new TypeError(
        `"source" is a Uint16Array, whose numbers are bits, but this batch has ${type} logits: create it with logits: "float16" or "bfloat16"`,
      );
    }
    const rows = rowsOf(numbers, layout);
    assertFits(rows, offset, layout.elements);
    this.#assertIdle();
    writeSource(numbers, type, this.logits, offset, rows);
  }

  /**
   * Writes labels of any kind that one call takes, from row `offset` on.
   *
   * Throws before a byte is written: TypeError for what is no integer; RangeError for one that the batch's type of labels does not have,
   * and for what does not fit. Whether they are classes is checked by runs.
   */
  setLabels(source: Labels, offset = 0): void {
    const { labels } = flatLabels("source", source);
    const exact = exactLabels("source", labels, this.#plan.labels);
    assertFits({ extent: exact.length }, offset, this.rows);
    this.#assertIdle();
    (this.labels as Int32Array).set(exact as Int32Array, offset);
  }

  /** As {@link setLogits}, for soft targets. Throws TypeError where the batch was created with labels. */
  setTargets(source: Targets, offset = 0): void {
    const { layout } = this.#plan;
    const numbers = readTargets("source", source);
    const rows = rowsOf(numbers, layout);
    assertFits(rows, offset, layout.elements);
    this.#assertIdle();
    const { targets } = this.#current();
    if (targets === undefined) throw new TypeError("this batch has labels: create it with targets: true");
    writeSource(numbers, "float32", targets, offset, rows);
  }

  /**
   * Computes the losses of all rows, or of those in `rows: [begin, end]`. What is summed, averaged and returned is then
   * about these rows only. Blocks until done; uses the threads of the instance where the calling thread may wait for them
   * and they are not busy with a {@link runAsync}. Same results, to the bit, either way.
   *
   * Throws RangeError for a label outside of [0, classes), before a byte is written; TypeError in the middle of a
   * {@link runAsync} of this batch; WorkerError where a worker of the pool fails.
   */
  run<RG extends boolean = false, RP extends boolean = false, RC extends boolean = false>(
    options?: RunOptions<RG, RP, RC>,
  ): RunResult<L, RG, RP, RC, T> {
    return this.#finish(this.#now(options)) as RunResult<L, RG, RP, RC, T>;
  }

  /**
   * As {@link run}, without blocking: the workers compute it, or where there are none this thread, a few milliseconds at a
   * time. Jobs of one instance are done one after the other. Until it has settled the batch is the job's: nothing may be
   * written there, and `dispose` frees the memory only then.
   *
   * Rejects with the errors of {@link run}, and with TypeError where batch or instance are disposed in the meantime.
   */
  async runAsync<RG extends boolean = false, RP extends boolean = false, RC extends boolean = false>(
    options?: RunOptions<RG, RP, RC>,
  ): Promise<RunResult<L, RG, RP, RC, T>> {
    return this.#later(options, undefined, (job) => this.#finish(job) as RunResult<L, RG, RP, RC, T>);
  }

  /**
   * What this batch knows of its rows if its classes are a shard of more: classes `classOffset` and on of `classesTotal`. Labels
   * are classes of all, `classWeights` are those of the batch's. After {@link mergePartials} of all shards,
   * {@link lossFromPartials} gives the losses and {@link gradientFromPartials} this shard's gradient. The result is a copy.
   *
   * Options and errors are those of {@link run}; a batch with soft targets is a TypeError.
   */
  partials(options: PartialsOptions): Partials {
    const own = ownWeights(options, this.#engine.memory);
    const partials = this.#partials(this.#now(own, readShard(own, this.classes)));
    this.#shard = own;
    return partials;
  }

  /** As {@link partials}, without blocking: see {@link runAsync}. */
  async partialsAsync(options: PartialsOptions): Promise<Partials> {
    const own = ownWeights(options, this.#engine.memory);
    const partials = await this.#later(own, readShard(own, this.classes), (job) => this.#partials(job));
    this.#shard = own;
    return partials;
  }

  /**
   * The gradient of this shard, given what all shards together know of the rows, with the options of the last {@link partials}.
   * Returns {@link gradient}, or the part of it with these rows.
   *
   * Throws TypeError where there was no such call, or where there is no memory for a gradient; RangeError where classes are
   * missing, or where the rows, labels or options are not those of that call.
   */
  gradientFromPartials(merged: Partials, options?: { reduction?: Reduction }): GradientArrays[L] {
    const [own, shard] = this.#ofMerged(merged, options);
    return this.#gradient(this.#now(own, shard));
  }

  /** As {@link gradientFromPartials}, without blocking: see {@link runAsync}. */
  async gradientFromPartialsAsync(merged: Partials, options?: { reduction?: Reduction }): Promise<GradientArrays[L]> {
    const [own, shard] = this.#ofMerged(merged, options);
    return this.#later(own, shard, (job) => this.#gradient(job));
  }

  #ofMerged(merged: Partials, options: { reduction?: Reduction } = {}): [PartialsOptions, Shard] {
    if (this.#shard === undefined) throw new TypeError("gradientFromPartials() expected a call of partials() before");
    const own = { ...this.#shard, ...options, gradient: true };
    return [own, { ...readShard(own, this.classes), merged }];
  }

  #now(options: RunOptions | undefined, shard?: Shard): Prepared {
    this.#assertIdle();
    const { kernel, scratch, pool, now } = this.#engine;
    const job = this.#prepare(options, now, true, shard);
    if (job.task) pool?.run(job.task);
    else kernel.run(now.address, scratch, job.begin, job.end);
    return job;
  }

  async #later<T>(options: RunOptions | undefined, shard: Shard | undefined, finish: (job: Prepared) => T): Promise<T> {
    this.#assertIdle();
    this.#running = true;
    const { kernel, scratch, pool, later, inTurn } = this.#engine;
    try {
      // A getter may throw here.
      const own = typeof options === "object" && options !== null ? { ...options } : options;
      return await inTurn(async () => {
        this.#assertAlive();
        const job = this.#prepare(own, later, false, shard);
        if (job.task) await pool?.runAsync(job.task);
        else {
          await inSlices(job.begin, job.end, this.classes, (begin, end) => {
            this.#assertAlive();
            kernel.run(later.address, scratch, begin, end);
          });
        }
        this.#assertAlive();
        return finish(job);
      });
    } finally {
      this.#running = false;
      if (this.#disposed) this.#owner.release();
    }
  }

  /** Checks everything, then writes the job. */
  #prepare(options: RunOptions | undefined, lane: Lane, waits: boolean, shard: Shard | undefined): Prepared {
    const { rows, classes } = this;
    const { layout, logits, regions } = this.#plan;
    const { memory, pool } = this.#engine;
    // Code of the caller's (a getter, a Proxy) runs in these four lines only, and nothing that it does is missed behind them.
    const own = ownWeights(options, memory);
    const [begin, end] = this.#range(own?.rows);
    const copy = boolean("copy", own?.copy ?? false);
    const settings = readOptions(own, rows, classes, ["rows", ...(shard ? SHARD_OPTIONS : ["copy"])]);
    if (settings.gradient && regions.gradient === 0) {
      throw new TypeError(
        '"gradient" expected a batch with memory for it: create it with gradient: true or "in-place"',
      );
    }
    if (regions.targets !== 0 && settings.ignoreIndex !== undefined) {
      throw new TypeError('"ignoreIndex" expected a batch with labels: this one has soft targets');
    }
    if (shard && regions.targets !== 0)
      throw new TypeError("partials() expected a batch with labels, not soft targets");
    const splits = shard === undefined && isDivisible(this.#plan);
    const extent = { begin, end, classes, cost: costOf(this.#plan, settings), splits };
    const schedule = pool?.schedule(extent, waits);
    const rules = this.#labelRules(settings, shard);
    const [count, normalizer] = this.#checkLabels(rules, begin, end);
    const shardLabels = shard && this.#classLabels(rules, begin, end);
    if (shard?.merged && shardLabels) assertMerged(shard.merged, shardLabels, shard, settings);
    const work = this.#workingMemory(settings, schedule, shard !== undefined);
    const [labels, ignoreIndex] = this.#kernelLabels(rules, begin, end);
    if (shard?.merged)
      writeMerged(shard.merged, new Float64Array(memory.buffer, work.shard, RECORD * rows), begin, settings);
    if (settings.classWeights) new Float32Array(memory.buffer, work.classWeights, classes).set(settings.classWeights);
    if (settings.sampleWeights) new Float32Array(memory.buffer, work.sampleWeights, rows).set(settings.sampleWeights);
    lane.job.write({
      logits: regions.logits,
      labels,
      targets: regions.targets,
      gradient: settings.gradient ? regions.gradient : 0,
      loss: regions.losses,
      log_sum_exp: regions.logSumExp,
      predictions: settings.predictions ? regions.predictions : 0,
      class_weights: settings.classWeights ? work.classWeights : 0,
      sample_weights: settings.sampleWeights ? work.sampleWeights : 0,
      rounded_loss: regions.loss,
      records: work.shard,
      classes,
      logits_type: LOGITS_TYPES[logits],
      row_stride: layout.rowStride,
      class_stride: layout.classStride,
      inner: layout.inner,
      ignore: ignoreIndex === undefined ? 0 : 1,
      ignore_index: ignoreIndex ?? 0,
      class_offset: shard?.classOffset ?? 0,
      classes_total: shard?.classesTotal ?? classes,
      merged: shard?.merged ? 1 : 0,
      reserved: 0,
      scale: settings.reduction === "mean" ? (normalizer === 0 ? 0 : 1 / normalizer) : 1,
      label_smoothing: settings.labelSmoothing,
      z_loss: settings.zLoss,
      softcap: settings.softcap ?? 0,
      temperature: settings.temperature,
      sum: 0,
      correct: 0,
    });
    const { gradient } = settings;
    const { records } = work;
    const task = schedule && { schedule, gradient, job: lane.address, records };
    return { lane, settings, begin, end, count, normalizer, copy, task, shard, shardLabels, records: work.shard };
  }

  /**
   * This batch as data, for `attachBatch` in a worker that has attached the same memory. It reserves the worker's working
   * memory (4 bytes a class, 84 a row), so call it once a worker.
   */
  share(): SharedBatch<L, K, G, T> {
    this.#assertAlive();
    if (!isShared(this.#engine.memory)) {
      throw new TypeError("share() expected a shared memory: create the instance with shared: true");
    }
    const bufferBytes = bytesOfWork(this.#plan.layout, 1, true);
    return { ...this.#plan, buffer: this.#owner.allocate(bufferBytes), bufferBytes };
  }

  /** Gives the memory back. The second call does nothing. */
  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    this.#views = undefined;
    if (!this.#running) this.#owner.release();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  #assertAlive(): void {
    if (this.#disposed) throw new TypeError("this batch was disposed");
    this.#owner.assertAlive();
  }

  #assertIdle(): void {
    this.#assertAlive();
    if (this.#running) throw new TypeError("this batch is in the middle of runAsync(): wait for its promise first");
  }

  #current(): Views<L, K> {
    this.#assertAlive();
    const { buffer } = this.#engine.memory;
    let views = this.#views;
    if (views?.buffer !== buffer) {
      views = makeViews(buffer, this.#plan);
      this.#views = views;
    }
    return views;
  }

  #range(rows: readonly [number, number] | undefined): readonly [number, number] {
    if (rows === undefined) return [0, this.rows];
    if (!Array.isArray(rows) || rows.length !== 2) throw wrongType("rows", "[begin, end]", rows);
    const begin = integer("rows[0]", rows[0], 0, this.rows);
    return [begin, integer("rows[1]", rows[1], begin, this.rows)];
  }

  /** Addresses of what the kernel needs beside the batch, in what {@link bytesOfWork} has reserved: 0 for rows if none is needed. */
  #workingMemory(settings: Settings, schedule: Schedule | undefined, sharded: boolean): WorkingMemory {
    const { rows, classes } = this;
    const { buffer: shard, bufferBytes } = this.#plan;
    const byClass = settings.classWeights ? 4 * classes : 0;
    const shardBytes = sharded ? RECORD_BYTES * rows : 0;
    const recordBytes = schedule?.recordBytes ?? 0;
    const bySample = settings.sampleWeights ? 4 * rows : 0;
    const bytes = shardBytes + recordBytes + byClass + bySample;
    if (bytes > bufferBytes) {
      throw new RangeError(`this run needs ${bytes} bytes beside the batch, for which "maxBytes" has left no room`);
    }
    const records = shard + shardBytes;
    const first = records + recordBytes;
    return {
      shard: sharded ? shard : 0,
      records,
      classWeights: first,
      sampleWeights: first + byClass,
    };
  }

  #labelRules({ ignoreIndex, classWeights, invalidLabels }: Settings, shard: Shard | undefined): LabelRules {
    const { shift, sequence } = this.#plan;
    // The weights of a shard's labels are with other shards: merging finds the normalizer.
    const of = shard
      ? { classes: shard.classesTotal, classWeights: undefined }
      : { classes: this.classes, classWeights };
    return { ...of, ignoreIndex, strict: invalidLabels === "throw", shift, sequence };
  }

  /** How many rows are not ignored, and the normalizer. */
  #checkLabels(rules: LabelRules, begin: number, end: number): [count: number, normalizer: number] {
    const { labels } = this.#current();
    return labels === undefined ? [end - begin, end - begin] : readLabels(labels, rules, begin, end);
  }

  /** Checked labels as classes; IGNORED or INVALID. */
  #classLabels(rules: LabelRules, begin: number, end: number): Int32Array {
    const classes = new Int32Array(end);
    copyLabels(this.labels, rules, begin, end, classes);
    return classes.subarray(begin);
  }

  /** Address and ignore index of checked labels as the kernel takes them. */
  #kernelLabels(rules: LabelRules, begin: number, end: number): [number, number | undefined] {
    const { regions } = this.#plan;
    const { labels, kernelLabels } = this.#current();
    if (labels === undefined) return [0, undefined];
    if (isDirect(labels, rules)) {
      const { ignoreIndex } = rules;
      // An index that no 32-bit label can have ignores nothing.
      const possible = ignoreIndex !== undefined && ignoreIndex === (ignoreIndex | 0);
      return [regions.labels, possible ? ignoreIndex : undefined];
    }
    copyLabels(labels, rules, begin, end, kernelLabels);
    return [regions.kernelLabels, IGNORED];
  }

  #finish({ lane, settings, begin, end, count, normalizer, copy }: Prepared): LossResult<LossArrays[L]> {
    this.#engine.kernel.reduce(lane.address, begin, end);
    // The memory may have grown since.
    const views = this.#current();
    const all = begin === 0 && end === this.rows;
    const part = <V extends Float32Array | Float64Array | Int32Array>(view: V): V => {
      const own = all ? view : view.subarray(begin, end);
      return (copy ? own.slice() : own) as V;
    };
    const sum = lane.job.read("sum");
    const result: LossResult<LossArrays[L]> = {
      loss: part(views.loss),
      sum,
      mean: normalizer === 0 ? 0 : sum / normalizer,
      normalizer,
      count,
      logSumExp: part(views.logSumExp),
    };
    if (settings.gradient && views.gradient) {
      const gradient = this.#gradient({ begin, end });
      result.gradient = (copy ? gradient.slice() : gradient) as GradientArrays[L];
    }
    if (settings.predictions) {
      result.predictions = part(views.predictions);
      if (views.labels) result.correct = lane.job.read("correct");
    }
    return result;
  }

  #partials({ shard, shardLabels, records, begin, settings }: Prepared): Partials {
    const all = new Float64Array(this.#engine.memory.buffer, records, RECORD * this.rows);
    const { classes } = this;
    return readPartials(
      all.subarray(RECORD * begin),
      shardLabels as Int32Array,
      begin,
      { ...(shard as Shard), classes },
      settings,
    );
  }

  /** The part of the gradient with these rows. */
  #gradient({ begin, end }: Pick<Prepared, "begin" | "end">): GradientArrays[L] {
    const gradient = this.#current().gradient as GradientArrays[L];
    const { rowStride, inner } = this.#plan.layout;
    // Rows that lie side by side have no part of the array to themselves.
    const whole = inner > 1 || (begin === 0 && end === this.rows);
    return whole ? gradient : (gradient.subarray(begin * rowStride, end * rowStride) as GradientArrays[L]);
  }
}

/** What a batch needs of the instance that has made it. */
export interface BatchOwner {
  /** Throws TypeError where the instance was disposed. */
  assertAlive(): void;
  /** Memory that is given back with the batch's. */
  allocate(bytes: number): number;
  release(): void;
}

/** Options of a run. */
export interface RunOptions<G extends boolean = boolean, P extends boolean = boolean, C extends boolean = boolean>
  extends LossOptions<G, P> {
  /** Only the rows from `begin` to `end`. Default: all. */
  rows?: readonly [begin: number, end: number] | undefined;
  /**
   * Whether the arrays of the result are copies of its own. Default false: views, valid until the batch's next run. Those of a
   * memory that is not shared take all of that memory along where they are posted to a worker or cloned.
   */
  copy?: C | undefined;
}

/** What a run returns. */
export type RunResult<
  L extends LogitsType = "float32",
  G extends boolean = boolean,
  P extends boolean = boolean,
  C extends boolean = boolean,
  T extends boolean = boolean,
> = [C] extends [true] ? OwnResult<L, G, P, T> : LossResult<LossArrays[L], G, P, Int32Array, T>;

/** A job that is ready to be computed. */
interface Prepared {
  readonly lane: Lane;
  readonly settings: Settings;
  readonly begin: number;
  readonly end: number;
  readonly count: number;
  readonly normalizer: number;
  /** Whether the result is to be the caller's own. */
  readonly copy: boolean;
  /** For the pool, if it is worth that. */
  readonly task: Task | undefined;
  /** Of a job that is about a shard. */
  readonly shard: Shard | undefined;
  readonly shardLabels: Int32Array | undefined;
  /** Address of its records, one for each row of the batch. */
  readonly records: number;
}

interface WorkingMemory {
  /** A record of each row of a shard. */
  readonly shard: number;
  /** Of rows in segments. */
  readonly records: number;
  readonly classWeights: number;
  readonly sampleWeights: number;
}

interface Views<L extends LogitsType, K extends LabelsType> {
  readonly buffer: ArrayBufferLike;
  readonly logits: LogitsArrays[L];
  readonly labels: LabelsArrays[K] | undefined;
  readonly targets: Float32Array | undefined;
  readonly gradient: GradientArrays[L] | undefined;
  readonly loss: LossArrays[L];
  readonly logSumExp: LossArrays[L];
  readonly predictions: Int32Array;
  readonly kernelLabels: Int32Array;
}

function makeViews<L extends LogitsType, K extends LabelsType>(
  buffer: ArrayBufferLike,
  { layout, logits, labels, regions: at }: SharedBatch<L, K>,
): Views<L, K> {
  const { rows, elements } = layout;
  return {
    buffer,
    logits: new LOGITS[logits](buffer, at.logits, elements),
    labels: at.labels === 0 ? undefined : new LABELS[labels](buffer, at.labels, rows),
    targets: at.targets === 0 ? undefined : new Float32Array(buffer, at.targets, elements),
    gradient: at.gradient === 0 ? undefined : new GRADIENTS[logits](buffer, at.gradient, elements),
    loss: new LOSSES[logits](buffer, at.loss === 0 ? at.losses : at.loss, rows),
    logSumExp: new LOSSES[logits](buffer, at.logSumExp, rows),
    predictions: new Int32Array(buffer, at.predictions, rows),
    kernelLabels: new Int32Array(buffer, at.kernelLabels, at.kernelLabels === 0 ? 0 : rows),
  };
}
