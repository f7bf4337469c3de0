/// <reference lib="esnext.disposable" preserve="true" />

import type { Engine } from "./engine.ts";
import { isShared } from "./features.ts";
import { assertFits, type Logits, readLogits, readTargets, rowsOf, writeSource } from "./inputs.ts";
import { exactLabels, flatLabels, type Labels, type LabelsArrays, type LabelsType } from "./labels.ts";
import {
  type GradientArrays,
  type LogitsArrays,
  type LogitsType,
  type LossArrays,
  type TargetsOf,
  type TargetsType,
  targetsName,
} from "./logits.ts";
import { ownWeights, type Reduction } from "./options.ts";
import { type BatchGradient, bytesOfWork, type PlacedBatch, type SharedBatch } from "./plan.ts";
import {
  compute,
  gradientOf,
  type Job,
  type Run,
  type RunOptions,
  type RunResult,
  readRun,
  resultOf,
  writeJob,
} from "./run.ts";
import { keepPartials, partialsOf, readMergedRun, readPartialsRun } from "./shard-run.ts";
import type { Partials } from "./shards/columns.ts";
import type { PartialsOptions } from "./shards/shard.ts";
import { inSlices } from "./time-slices.ts";
import { BatchMemory } from "./views.ts";

/**
 * Rows of logits and labels in the kernel's own memory, without copies. Every array is a view of that memory. It stays valid
 * through runs with any options and through one-call functions. Only `createBatch` grows the memory, which detaches the views of a
 * memory that is not shared: take the arrays from the batch again after it. Results are views, too, valid until the next run of
 * the batch, the next `createBatch` or dispose.
 */
export class Batch<
  L extends LogitsType = "float32",
  K extends LabelsType = "int32",
  G extends BatchGradient = BatchGradient,
  T extends TargetsType = TargetsType,
> implements Disposable
{
  readonly rows: number;
  readonly classes: number;
  readonly #engine: Engine;
  readonly #plan: PlacedBatch<L, K, G, T>;
  readonly #memory: BatchMemory<L, K>;
  readonly #owner: BatchOwner;
  #disposed = false;
  /** Whether {@link runAsync} is in progress. */
  #running = false;
  /** The run of the last {@link partials}. */
  #partials: Run | undefined;
  /** Whether a gradient has replaced the logits since then ("in-place"). */
  #isReplaced = false;

  /** @internal Made by `createBatch` and `attachBatch`. */
  constructor(engine: Engine, plan: PlacedBatch<L, K, G, T>, owner: BatchOwner) {
    this.rows = plan.layout.rows;
    this.classes = plan.layout.classes;
    this.#engine = engine;
    this.#plan = plan;
    this.#memory = new BatchMemory(engine.memory, plan);
    this.#owner = owner;
  }

  /** The logits, in the batch's layout: [rows, classes], or its `shape`. Write your logits here. */
  get logits(): LogitsArrays[L] {
    return this.#views.logits;
  }

  /** The labels, [rows]. Write your labels here. Throws TypeError if the batch was created with `targets`. */
  get labels(): T extends false ? LabelsArrays[K] : never {
    const { labels } = this.#views;
    if (labels === undefined) throw new TypeError(`this batch has ${targetsName(this.#plan.targets)}, and no labels`);
    return labels as T extends false ? LabelsArrays[K] : never;
  }

  /**
   * The targets, in the layout of the logits, or undefined if the batch was created with labels. Write your soft targets here or,
   * with `targets: "logits"`, the target logits.
   */
  get targets(): TargetsOf<L, T> {
    return this.#views.targets as TargetsOf<L, T>;
  }

  /** The gradient, in the layout of the logits, or undefined if the batch was created without one. "in-place": the logits' memory. */
  get gradient(): G extends false ? undefined : GradientArrays[L] {
    return this.#views.gradient as G extends false ? undefined : GradientArrays[L];
  }

  /** The losses, [rows], as written by runs of any thread or handle; 0 in rows that no run has computed. */
  get loss(): LossArrays[L] {
    return this.#views.loss;
  }

  /**
   * Writes logits of any kind that the one-call functions take, from element `offset` of {@link logits} on. Numbers are rounded once
   * to the batch's type; those of a Float16Array are exact in a "float16" batch. A Uint16Array holds bits. Nested arrays may leave out
   * the padding of a `stride`.
   *
   * Throws before a byte is written: TypeError for bits if the batch has numbers, and for anything that is not a number; RangeError
   * for a source that does not fit.
   */
  setLogits(source: Logits, offset = 0): void {
    this.#setLogits(source, offset, () => this.logits);
  }

  #setLogits(source: Logits, offset: number, target: () => LogitsArrays[L]): void {
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
    writeSource(numbers, type, target(), offset, rows);
  }

  /**
   * Writes labels of any kind that the one-call functions take, from row `offset` on.
   *
   * Throws before a byte is written: TypeError for anything that is not an integer; RangeError for a label outside the range of the
   * batch's label type, and for a source that does not fit. Runs check that labels are classes.
   */
  setLabels(source: Labels, offset = 0): void {
    const { labels } = flatLabels("source", source);
    const exact = exactLabels("source", labels, this.#plan.labels);
    assertFits({ extent: exact.length }, offset, this.rows);
    this.#assertIdle();
    (this.labels as Int32Array).set(exact as Int32Array, offset);
  }

  /** Like {@link setLogits}, for {@link targets}. Throws TypeError if the batch was created with labels. */
  setTargets(source: Logits, offset = 0): void {
    const { layout, targets: kind } = this.#plan;
    if (kind === "logits") {
      this.#setLogits(source, offset, () => this.targets as LogitsArrays[L]);
      return;
    }
    const numbers = readTargets("source", source);
    const rows = rowsOf(numbers, layout);
    assertFits(rows, offset, layout.elements);
    this.#assertIdle();
    const { targets } = this.#views;
    if (targets === undefined) throw new TypeError("this batch has labels: create it with targets: true");
    writeSource(numbers, "float32", targets as Float32Array, offset, rows);
  }

  /**
   * Computes the losses of all rows, or of those in `rows: [begin, end]`; sums, means and results then cover these rows only,
   * except the gradient of interleaved rows, which is that of the batch.
   * Blocks until done. Uses the threads of the instance if the calling thread may wait for them and they are not busy with a
   * {@link runAsync}. The results have the same bits either way.
   *
   * Throws RangeError for a label outside of [0, classes), before a byte is written; TypeError while a {@link runAsync} of this
   * batch is in progress; WorkerError if a worker of the pool fails.
   */
  run<RG extends boolean = false, RP extends boolean = false, RC extends boolean = false>(
    options?: RunOptions<RG, RP, RC>,
  ): RunResult<L, RG, RP, RC, T> {
    const job = this.#now(readRun(options, this.#plan));
    return resultOf(this.#engine, this.#memory, job) as RunResult<L, RG, RP, RC, T>;
  }

  /**
   * Like {@link run}, without blocking: the workers compute it or, without workers, this thread does, a few milliseconds at a
   * time. An instance computes one such job at a time. Until the promise settles, the batch belongs to the job: do not write to
   * it. `dispose` frees the memory only then.
   *
   * Rejects with the errors of {@link run}, and with TypeError if batch or instance are disposed in the meantime.
   */
  async runAsync<RG extends boolean = false, RP extends boolean = false, RC extends boolean = false>(
    options?: RunOptions<RG, RP, RC>,
  ): Promise<RunResult<L, RG, RP, RC, T>> {
    const run = readRun(options, this.#plan);
    const finish = (job: Job): unknown => resultOf(this.#engine, this.#memory, job);
    return (await this.#later(run, finish)) as RunResult<L, RG, RP, RC, T>;
  }

  /**
   * The partial results of the rows, if the batch is a shard: its classes begin at `classOffset` of `classesTotal`. Labels range over
   * all classes; `classWeights` and soft targets cover the batch's classes. After {@link mergePartials} of all shards,
   * {@link lossFromPartials} gives the losses and {@link gradientFromPartials} this shard's gradient. The result is a copy.
   *
   * Options and errors are those of {@link run}.
   */
  partials(options: PartialsOptions): Partials {
    const run = readPartialsRun(options, this.#plan);
    return this.#finishPartials(this.#now({ ...run, settings: ownWeights(run.settings) }));
  }

  /** Like {@link partials}, without blocking: see {@link runAsync}. */
  async partialsAsync(options: PartialsOptions): Promise<Partials> {
    return this.#later(readPartialsRun(options, this.#plan), (job) => this.#finishPartials(job));
  }

  /**
   * The gradient of this shard, from the merged partials of all shards, with the options of the last {@link partials}.
   * Returns {@link gradient}, or its part with these rows.
   *
   * Throws TypeError if there was no such call, or none since a gradient replaced the logits ("in-place"), or if the batch has no memory
   * for a gradient; RangeError if classes are missing, or if rows, labels, options or logits differ from those of that call, as far as
   * merged partials tell. In each row, these must agree: the label and the sample weight; the label's class weight and logit, if the class
   * is in this shard; the same of the largest logit, if it is in this shard. If not, the shard's largest logit and sum must not exceed the
   * merged ones. In memory, only the logits (and targets) at the shard's largest logit and at the label are compared with those of that
   * call. Other changes of logits, targets and class weights are not noticed.
   */
  gradientFromPartials(merged: Partials, options?: { reduction?: Reduction | undefined }): GradientArrays[L] {
    const run = this.#readMerged(merged, options);
    this.#now(run);
    return gradientOf(this.#memory, run);
  }

  /** Like {@link gradientFromPartials}, without blocking: see {@link runAsync}. */
  async gradientFromPartialsAsync(
    merged: Partials,
    options?: { reduction?: Reduction | undefined },
  ): Promise<GradientArrays[L]> {
    const run = this.#readMerged(merged, options);
    return this.#later(run, () => gradientOf(this.#memory, run));
  }

  #finishPartials(job: Job): Partials {
    const partials = partialsOf(this.#memory, job);
    this.#partials = keepPartials(this.#memory, job.run, partials);
    this.#isReplaced = false;
    return partials;
  }

  #readMerged(merged: Partials, options: { reduction?: Reduction | undefined } | undefined): Run {
    if (this.#partials === undefined || this.#isReplaced) {
      const since = this.#isReplaced ? ", after a gradient has replaced the logits" : " before";
      throw new TypeError(`gradientFromPartials() expected a call of partials()${since}`);
    }
    return readMergedRun(this.#partials, merged, options, this.#memory);
  }

  #now(run: Run): Job {
    // Reading the options may have run code of the caller (a getter, a Proxy).
    this.#assertIdle();
    const job = this.#write(run, true);
    compute(this.#engine, job);
    return job;
  }

  #write(run: Run, waits: boolean): Job {
    const job = writeJob(this.#engine, this.#memory, run, waits);
    if (run.settings.gradient && this.#plan.gradient === "in-place") this.#isReplaced = true;
    return job;
  }

  async #later<R>({ settings, ...rest }: Run, finish: (job: Job) => R): Promise<R> {
    this.#assertIdle();
    const { kernel, scratch, pool, inTurn } = this.#engine;
    // Until the turn of this job, the caller may write to the arrays of its options.
    const run = { ...rest, settings: ownWeights(settings) };
    this.#running = true;
    try {
      return await inTurn(async () => {
        this.#assertAlive();
        const job = this.#write(run, false);
        const { address } = job.record;
        if (pool && job.schedule) await pool.runAsync(job.schedule, address);
        else {
          await inSlices(run.begin, run.end, this.classes, (begin, end) => {
            this.#assertAlive();
            kernel.run(address, scratch, begin, end);
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

  /**
   * This batch as data, for `attachBatch` in a worker that has attached the same memory. It reserves working memory for the
   * worker (4 bytes for each class, 84 for each row), so call it once for each worker.
   */
  share(): SharedBatch<L, K, G, T> {
    this.#assertAlive();
    if (!isShared(this.#engine.memory)) {
      throw new TypeError("share() expected a shared memory: create the instance with shared: true");
    }
    const bufferBytes = bytesOfWork(this.#plan.layout, 1, true);
    const { id } = this.#engine;
    return { ...this.#plan, buffer: this.#owner.allocate(bufferBytes), bufferBytes, id };
  }

  /** Frees the memory. A second call does nothing. */
  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
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

  get #views(): BatchMemory<L, K>["views"] {
    this.#assertAlive();
    return this.#memory.views;
  }
}

/** What a batch needs from its instance. */
export interface BatchOwner {
  /** Throws TypeError if the instance was disposed. */
  assertAlive(): void;
  /** Allocates memory that is freed with the batch's. */
  allocate(bytes: number): number;
  release(): void;
}
