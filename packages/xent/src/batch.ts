/// <reference lib="esnext.disposable" preserve="true" />
import { type JobRecord, type Kernel, LOGITS_TYPES } from "./abi.ts";
import { integer, wrongType } from "./errors.ts";
import {
  copyLabels,
  IGNORED,
  isDirect,
  LABELS,
  type LabelRules,
  type LabelsArrays,
  type LabelsType,
  readLabels,
} from "./labels.ts";
import { type LossOptions, ownWeights, readOptions, type Settings } from "./options.ts";
import type { SharedBatch } from "./plan.ts";
import { GRADIENTS, type GradientArrays, LOGITS, type LogitsArrays, type LogitsType } from "./views.ts";

/** A kernel over a memory, with one thread's own working memory in it. */
export interface Engine {
  readonly memory: WebAssembly.Memory;
  readonly kernel: Kernel;
  readonly job: JobRecord;
  /** Address of {@link job}. */
  readonly jobAddress: number;
  /** Address of the scratch memory. */
  readonly scratch: number;
  /** Address of at least so many bytes, the same memory at each call. Throws RangeError where there are none. */
  readonly reserve: (bytes: number) => number;
}

/** Losses of a batch of rows. Arrays have one entry a row, unless said otherwise. */
export interface LossResult<G = Float32Array> {
  /** The loss of each row, never reduced. */
  loss: Float32Array;
  /** Sum of the losses, added in f64 and always in the same order. */
  sum: number;
  /** `sum / normalizer`, and 0 where that is 0. */
  mean: number;
  /** The number of rows that are not ignored; with class weights, the sum of their labels' weights. */
  normalizer: number;
  /** Gradient of the reduced loss, in the layout of the logits, if asked for. */
  gradient?: G;
  /** Logarithm of the sum of the exponentials of a row's logits, after softcap and temperature. */
  logSumExp: Float32Array;
  /** First class with the largest logit, -1 where {@link logSumExp} is NaN; if asked for. */
  predictions?: Int32Array;
  /** How many rows, not ignored, are predicted right; if predictions are asked for and there are labels. */
  correct?: number;
}

/**
 * Rows of logits and labels in the kernel's own memory: nothing is copied. Every array is a view of that memory. After
 * the memory has grown (another batch was created), take it from the batch again: views of a private memory are detached
 * then, as JavaScript will have it. Results are views too, valid until the next run, growth or dispose.
 */
export class Batch<L extends LogitsType = "float32", K extends LabelsType = "int32"> implements Disposable {
  readonly rows: number;
  readonly classes: number;
  readonly #engine: Engine;
  readonly #plan: SharedBatch<L, K>;
  readonly #owner: BatchOwner;
  #disposed = false;
  #views: Views<L, K> | undefined;

  /** Made by `createBatch` and `attachBatch`. */
  constructor(engine: Engine, plan: SharedBatch<L, K>, owner: BatchOwner) {
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

  /** [rows]. Write your labels here. */
  get labels(): LabelsArrays[K] {
    const { labels } = this.#current();
    if (labels === undefined) throw new TypeError("this batch has soft targets, and no labels");
    return labels;
  }

  /** In the layout of the logits, or undefined where the batch was created with labels. Write your soft targets here. */
  get targets(): Float32Array | undefined {
    return this.#current().targets;
  }

  /** In the layout of the logits, or undefined where the batch was created without. "in-place": the logits' memory. */
  get gradient(): GradientArrays[L] | undefined {
    return this.#current().gradient;
  }

  /**
   * Computes the losses of all rows, or of those in `rows: [begin, end]`. What is summed, averaged and returned is then
   * about these rows only. Blocks until done.
   *
   * Throws RangeError for a label outside of [0, classes), before a byte is written.
   */
  run(options?: LossOptions & { rows?: readonly [begin: number, end: number] }): LossResult<GradientArrays[L]> {
    this.#assertAlive();
    const { rows, classes } = this;
    const { layout, regions } = this.#plan;
    const settings = readOptions(ownWeights(options, this.#engine.memory), rows, classes, ["rows"]);
    const [begin, end] = this.#range(options?.rows);
    if (settings.gradient && regions.gradient === 0) {
      throw new TypeError(
        '"gradient" expected a batch with memory for it: create it with gradient: true or "in-place"',
      );
    }
    if (regions.targets !== 0 && settings.ignoreIndex !== undefined) {
      throw new TypeError('"ignoreIndex" expected a batch with labels: this one has soft targets');
    }
    const work = this.#workingMemory(settings);
    const views = this.#current();
    const [normalizer, labels, ignoreIndex] = this.#readLabels(views, settings, begin, end);

    // From here on nothing throws.
    const { memory, kernel, job, jobAddress, scratch } = this.#engine;
    if (settings.classWeights) new Float32Array(memory.buffer, work.classWeights, classes).set(settings.classWeights);
    if (settings.sampleWeights) new Float32Array(memory.buffer, work.sampleWeights, rows).set(settings.sampleWeights);
    job.write({
      logits: regions.logits,
      labels,
      targets: regions.targets,
      gradient: settings.gradient ? regions.gradient : 0,
      loss: regions.loss,
      log_sum_exp: regions.logSumExp,
      predictions: settings.predictions ? regions.predictions : 0,
      class_weights: settings.classWeights ? work.classWeights : 0,
      sample_weights: settings.sampleWeights ? work.sampleWeights : 0,
      buffer: work.row,
      classes,
      logits_type: LOGITS_TYPES[this.#plan.logits],
      row_stride: layout.rowStride,
      class_stride: layout.classStride,
      inner: layout.inner,
      ignore: ignoreIndex === undefined ? 0 : 1,
      ignore_index: ignoreIndex ?? 0,
      reserved: 0,
      scale: settings.reduction === "mean" ? (normalizer === 0 ? 0 : 1 / normalizer) : 1,
      label_smoothing: settings.labelSmoothing,
      z_loss: settings.zLoss,
      softcap: settings.softcap ?? 0,
      temperature: settings.temperature,
      sum: 0,
      correct: 0,
    });
    kernel.run(jobAddress, scratch, begin, end);
    kernel.reduce(jobAddress, begin, end);
    return this.#result(views, settings, begin, end, normalizer);
  }

  /**
   * This batch as data, for `attachBatch` in a worker that has attached the same memory. It reserves the worker's working
   * memory (16 bytes a class, 4 a row), so call it once a worker.
   */
  share(): SharedBatch<L, K> {
    this.#assertAlive();
    if (this.#engine.memory.buffer instanceof ArrayBuffer) {
      throw new TypeError("share() expected a shared memory: create the instance with shared: true");
    }
    const [row, byClass, bySample] = this.#workingBytes(true, true, true);
    return { ...this.#plan, buffer: this.#owner.allocate(row + byClass + bySample) };
  }

  /** Gives the memory back. The second call does nothing. */
  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    this.#views = undefined;
    this.#owner.release();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  #assertAlive(): void {
    if (this.#disposed) throw new TypeError("this batch was disposed");
    this.#owner.assertAlive();
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

  /** A row as f32 in two parts, and its exponentials; then the weights. */
  #workingBytes(row: boolean, classWeights: boolean, sampleWeights: boolean): [number, number, number] {
    const { rows, classes } = this;
    return [row ? 12 * classes : 0, classWeights ? 4 * classes : 0, sampleWeights ? 4 * rows : 0];
  }

  /** Addresses of this thread's memory for what the kernel needs beside the batch; 0 where it does not. */
  #workingMemory(settings: Settings): { row: number; classWeights: number; sampleWeights: number } {
    const { softcap, temperature, labelSmoothing, classWeights, sampleWeights } = settings;
    const { layout, logits, buffer, regions } = this.#plan;
    const readable = logits === "float64" || (logits === "float32" && layout.classStride === 1);
    const plain = softcap === undefined && temperature === 1 && labelSmoothing === 0 && regions.targets === 0;
    const needed = this.#workingBytes(!(readable && plain), classWeights !== undefined, sampleWeights !== undefined);
    const [row, byClass, bySample] = needed;
    const bytes = row + byClass + bySample;
    if (bytes === 0) return { row: 0, classWeights: 0, sampleWeights: 0 };
    const start = buffer === 0 ? this.#engine.reserve(bytes) : buffer;
    return { row: row === 0 ? 0 : start, classWeights: start + row, sampleWeights: start + row + byClass };
  }

  /** The normalizer; address and ignore index of the labels as the kernel takes them. */
  #readLabels(
    views: Views<L, K>,
    settings: Settings,
    begin: number,
    end: number,
  ): [number, number, number | undefined] {
    const { regions, shift, sequence } = this.#plan;
    const { ignoreIndex, classWeights } = settings;
    const { labels } = views;
    if (labels === undefined) return [end - begin, 0, undefined];
    const strict = settings.invalidLabels === "throw";
    const rules: LabelRules = { classes: this.classes, ignoreIndex, strict, shift, sequence, classWeights };
    const normalizer = readLabels(labels, rules, begin, end);
    if (isDirect(labels, rules)) {
      // An index that no 32-bit label can have ignores nothing.
      const possible = ignoreIndex !== undefined && ignoreIndex === (ignoreIndex | 0);
      return [normalizer, regions.labels, possible ? ignoreIndex : undefined];
    }
    copyLabels(labels, rules, begin, end, views.kernelLabels);
    return [normalizer, regions.kernelLabels, IGNORED];
  }

  #result(
    views: Views<L, K>,
    settings: Settings,
    begin: number,
    end: number,
    normalizer: number,
  ): LossResult<GradientArrays[L]> {
    const { job } = this.#engine;
    const { layout } = this.#plan;
    const all = begin === 0 && end === this.rows;
    const part = <T extends Float32Array | Int32Array>(view: T): T => (all ? view : (view.subarray(begin, end) as T));
    const sum = job.read("sum");
    const result: LossResult<GradientArrays[L]> = {
      loss: part(views.loss),
      sum,
      mean: normalizer === 0 ? 0 : sum / normalizer,
      normalizer,
      logSumExp: part(views.logSumExp),
    };
    if (settings.gradient && views.gradient) {
      // Rows that lie side by side have no part of the array to themselves.
      const { rowStride, inner } = layout;
      const whole = all || inner > 1;
      result.gradient = whole
        ? views.gradient
        : (views.gradient.subarray(begin * rowStride, end * rowStride) as GradientArrays[L]);
    }
    if (settings.predictions) {
      result.predictions = part(views.predictions);
      if (views.labels) result.correct = job.read("correct");
    }
    return result;
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

interface Views<L extends LogitsType, K extends LabelsType> {
  readonly buffer: ArrayBufferLike;
  readonly logits: LogitsArrays[L];
  readonly labels: LabelsArrays[K] | undefined;
  readonly targets: Float32Array | undefined;
  readonly gradient: GradientArrays[L] | undefined;
  readonly loss: Float32Array;
  readonly logSumExp: Float32Array;
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
    loss: new Float32Array(buffer, at.loss, rows),
    logSumExp: new Float32Array(buffer, at.logSumExp, rows),
    predictions: new Int32Array(buffer, at.predictions, rows),
    kernelLabels: new Int32Array(buffer, at.kernelLabels, at.kernelLabels === 0 ? 0 : rows),
  };
}
