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
  partialsOf,
  type Run,
  type RunOptions,
  type RunResult,
  readMergedRun,
  readPartialsRun,
  readRun,
  resultOf,
  writeJob,
} from "./run.ts";
import type { Partials } from "./shards/columns.ts";
import type { PartialsOptions } from "./shards/shard.ts";
import { inSlices } from "./time-slices.ts";
import { BatchMemory } from "./views.ts";

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
  /** In the middle of {@link runAsync}. */
  #running = false;
  /** The last {@link partials}. */
  #partials: Run | undefined;

  /** @internal Made by `createBatch` and `attachBatch`. */
  constructor(engine: Engine, plan: PlacedBatch<L, K, G, T>, owner: BatchOwner) {
    this.rows = plan.layout.rows;
    this.classes = plan.layout.classes;
    this.#engine = engine;
    this.#plan = plan;
    this.#memory = new BatchMemory(engine.memory, plan);
    this.#owner = owner;
  }

  /** In the batch's layout, [rows, classes] unless it has another. Write your logits here. */
  get logits(): LogitsArrays[L] {
    return this.#views.logits;
  }

  /** [rows]. Write your labels here. Throws TypeError where the batch was created with `targets`. */
  get labels(): T extends false ? LabelsArrays[K] : never {
    const { labels } = this.#views;
    if (labels === undefined) throw new TypeError(`this batch has ${targetsName(this.#plan.targets)}, and no labels`);
    return labels as T extends false ? LabelsArrays[K] : never;
  }

  /**
   * In the layout of the logits, or undefined where the batch was created with labels. Write your soft targets here, or with
   * `targets: "logits"` those logits.
   */
  get targets(): TargetsOf<L, T> {
    return this.#views.targets as TargetsOf<L, T>;
  }

  /** In the layout of the logits, or undefined where the batch was created without. "in-place": the logits' memory. */
  get gradient(): G extends false ? undefined : GradientArrays[L] {
    return this.#views.gradient as G extends false ? undefined : GradientArrays[L];
  }

  /** [rows]. The losses that runs have written, by any thread or handle; 0 in rows that none has run. */
  get loss(): LossArrays[L] {
    return this.#views.loss;
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

  /** As {@link setLogits}, for {@link targets}. Throws TypeError where the batch was created with labels. */
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
    const job = this.#now(readRun(options, this.#plan));
    return resultOf(this.#engine, this.#memory, job) as RunResult<L, RG, RP, RC, T>;
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
    const run = readRun(options, this.#plan);
    const finish = (job: Job): unknown => resultOf(this.#engine, this.#memory, job);
    return (await this.#later(run, finish)) as RunResult<L, RG, RP, RC, T>;
  }

  /**
   * What this batch knows of its rows if its classes are a shard of more: classes `classOffset` and on of `classesTotal`. Labels
   * are classes of all; `classWeights` and soft targets are those of the batch's. After {@link mergePartials} of all shards,
   * {@link lossFromPartials} gives the losses and {@link gradientFromPartials} this shard's gradient. The result is a copy.
   *
   * Options and errors are those of {@link run}.
   */
  partials(options: PartialsOptions): Partials {
    const run = readPartialsRun(options, this.#plan);
    return this.#finishPartials(this.#now({ ...run, settings: ownWeights(run.settings) }));
  }

  /** As {@link partials}, without blocking: see {@link runAsync}. */
  async partialsAsync(options: PartialsOptions): Promise<Partials> {
    return this.#later(readPartialsRun(options, this.#plan), (job) => this.#finishPartials(job));
  }

  /**
   * The gradient of this shard, given what all shards together know of the rows, with the options of the last {@link partials}.
   * Returns {@link gradient}, or the part of it with these rows.
   *
   * Throws TypeError where there was no such call, or where there is no memory for a gradient; RangeError where classes are
   * missing, or where the rows, labels or options are not those of that call.
   */
  gradientFromPartials(merged: Partials, options?: { reduction?: Reduction }): GradientArrays[L] {
    const run = this.#readMerged(merged, options);
    this.#now(run);
    return gradientOf(this.#memory, run);
  }

  /** As {@link gradientFromPartials}, without blocking: see {@link runAsync}. */
  async gradientFromPartialsAsync(merged: Partials, options?: { reduction?: Reduction }): Promise<GradientArrays[L]> {
    const run = this.#readMerged(merged, options);
    return this.#later(run, () => gradientOf(this.#memory, run));
  }

  #finishPartials(job: Job): Partials {
    const partials = partialsOf(this.#memory, job);
    this.#partials = job.run;
    return partials;
  }

  #readMerged(merged: Partials, options: { reduction?: Reduction } | undefined): Run {
    if (this.#partials === undefined)
      throw new TypeError("gradientFromPartials() expected a call of partials() before");
    return readMergedRun(this.#partials, merged, options, this.#plan);
  }

  #now(run: Run): Job {
    // Code of the caller's (a getter, a Proxy) has run while the options were read.
    this.#assertIdle();
    const job = writeJob(this.#engine, this.#memory, run, true);
    compute(this.#engine, job);
    return job;
  }

  async #later<R>({ settings, ...rest }: Run, finish: (job: Job) => R): Promise<R> {
    this.#assertIdle();
    const { kernel, scratch, pool, inTurn } = this.#engine;
    // Until its turn comes, the caller may write to the arrays that were given.
    const run = { ...rest, settings: ownWeights(settings) };
    this.#running = true;
    try {
      return await inTurn(async () => {
        this.#assertAlive();
        const job = writeJob(this.#engine, this.#memory, run, false);
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

/** What a batch needs of the instance that has made it. */
export interface BatchOwner {
  /** Throws TypeError where the instance was disposed. */
  assertAlive(): void;
  /** Memory that is given back with the batch's. */
  allocate(bytes: number): number;
  release(): void;
}
