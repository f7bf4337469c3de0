import { type Kernel, readJob, writeJob } from "./abi.ts";
import { integer, wrongType, wrongValue } from "./errors.ts";
import { MAX_CLASSES, readLabels } from "./labels.ts";
import { type LossOptions, readOptions, type Settings } from "./options.ts";

/** A kernel over a memory, with one thread's own working memory in it. */
export interface Engine {
  readonly memory: WebAssembly.Memory;
  readonly kernel: Kernel;
  /** Address of the job record. */
  readonly job: number;
  /** Address of the scratch memory. */
  readonly scratch: number;
}

/** Size and contents of a batch. */
export interface BatchSpec {
  /** Rows, at least 0. */
  rows: number;
  /** Classes, at least 1. */
  classes: number;
  /** Whether there is memory for a gradient: of its own, or the logits' ("in-place", which the gradient replaces). */
  gradient?: boolean | "in-place";
}

/** Losses of a batch of rows. Arrays have one entry a row, unless said otherwise. */
export interface LossResult {
  /** The loss of each row, never reduced. */
  loss: Float32Array;
  /** Sum of the losses, added in f64 and always in the same order. */
  sum: number;
  /** `sum / normalizer`, and 0 where that is 0. */
  mean: number;
  /** The number of rows that are not ignored. */
  normalizer: number;
  /** Gradient of the reduced loss, [rows, classes], if asked for. */
  gradient?: Float32Array;
  /** Logarithm of the sum of the exponentials of a row's logits. */
  logSumExp: Float32Array;
  /** First class with the largest logit, -1 where {@link logSumExp} is NaN; if asked for. */
  predictions?: Int32Array;
  /** How many rows, not ignored, are predicted right; if asked for. */
  correct?: number;
}

/** Where the parts of a batch lie. */
export interface Regions {
  readonly logits: number;
  readonly labels: number;
  /** 0: none. */
  readonly gradient: number;
  readonly loss: number;
  readonly logSumExp: number;
  readonly predictions: number;
}

/** A batch as data: to be sent to a worker, where `attachBatch` makes a {@link Batch} of it. */
export interface SharedBatch {
  readonly rows: number;
  readonly classes: number;
  readonly regions: Regions;
}

const ALIGNMENT = 64;

/** Checks a specification and lays out its parts. `at(address)` gives their addresses in a block of `bytes` bytes. */
export function planBatch(spec: BatchSpec): { bytes: number; at: (address: number) => SharedBatch } {
  if (typeof spec !== "object" || spec === null) throw wrongType("spec", "an object", spec);
  const { gradient = false } = spec;
  const classes = integer("classes", spec.classes, 1, MAX_CLASSES);
  const rows = integer("rows", spec.rows, 0, 2 ** 32 - 1);
  if (gradient !== true && gradient !== false && gradient !== "in-place") {
    throw (typeof gradient === "string" ? wrongValue : wrongType)("gradient", 'true, false or "in-place"', gradient);
  }
  let bytes = 0;
  const part = (size: number): number => {
    const offset = bytes;
    bytes += Math.max(ALIGNMENT, Math.ceil(size / ALIGNMENT) * ALIGNMENT);
    return offset;
  };
  const logits = part(4 * rows * classes);
  const own = gradient === true ? part(4 * rows * classes) : logits;
  const [labels, loss, logSumExp, predictions] = [part(4 * rows), part(4 * rows), part(4 * rows), part(4 * rows)];
  const at = (address: number): SharedBatch => ({
    rows,
    classes,
    regions: {
      logits: address + logits,
      labels: address + labels,
      gradient: gradient === false ? 0 : address + own,
      loss: address + loss,
      logSumExp: address + logSumExp,
      predictions: address + predictions,
    },
  });
  return { bytes, at };
}

/**
 * Rows of logits and labels in the kernel's own memory: nothing is copied. Every array is a view of that memory. After
 * the memory has grown (another batch was created), take it from the batch again: views of a private memory are detached
 * then, as JavaScript will have it. Results are views too, valid until the next run, growth or dispose.
 */
export class Batch implements Disposable {
  readonly rows: number;
  readonly classes: number;
  readonly #engine: Engine;
  readonly #regions: Regions;
  readonly #release: () => void;
  readonly #alive: () => void;
  #disposed = false;
  #views: Views | undefined;

  /** Made by `createBatch` and `attachBatch`. */
  constructor(engine: Engine, { rows, classes, regions }: SharedBatch, alive: () => void, release: () => void) {
    this.rows = rows;
    this.classes = classes;
    this.#engine = engine;
    this.#regions = regions;
    this.#alive = alive;
    this.#release = release;
  }

  /** [rows, classes], row-major. Write your logits here. */
  get logits(): Float32Array {
    return this.#current().logits;
  }

  /** [rows]. Write your labels here. */
  get labels(): Int32Array {
    return this.#current().labels;
  }

  /** [rows, classes], or undefined where the batch was created without. For "in-place", the logits' own memory. */
  get gradient(): Float32Array | undefined {
    return this.#current().gradient;
  }

  /**
   * Computes the losses of all rows, or of those in `rows: [begin, end]`. What is summed, averaged and returned is then
   * about these rows only. Blocks until done.
   *
   * Throws RangeError for a label outside of [0, classes), before a byte is written.
   */
  run(options?: LossOptions & { rows?: readonly [begin: number, end: number] }): LossResult {
    const views = this.#current();
    const settings = readOptions(options, ["rows"]);
    const [begin, end] = this.#range(options?.rows);
    const regions = this.#regions;
    if (settings.gradient && regions.gradient === 0) {
      throw new TypeError(
        '"gradient" expected a batch with memory for it: create it with gradient: true or "in-place"',
      );
    }
    const counted = readLabels(views.labels, this.classes, settings.ignoreIndex, begin, end);
    const { memory, kernel, job, scratch } = this.#engine;
    writeJob(memory, job, {
      logits: regions.logits,
      labels: regions.labels,
      gradient: settings.gradient ? regions.gradient : 0,
      loss: regions.loss,
      log_sum_exp: regions.logSumExp,
      predictions: settings.predictions ? regions.predictions : 0,
      classes: this.classes,
      ignore: settings.ignoreIndex === undefined ? 0 : 1,
      ignore_index: settings.ignoreIndex ?? 0,
      reserved: 0,
      scale: settings.reduction === "mean" && counted > 0 ? 1 / counted : 1,
      sum: 0,
      correct: 0,
    });
    kernel.run(job, scratch, begin, end);
    kernel.reduce(job, begin, end);
    return this.#result(views, settings, begin, end, counted);
  }

  /** This batch as data, for `attachBatch` in a worker that has attached the same memory. */
  share(): SharedBatch {
    this.#assertAlive();
    if (this.#engine.memory.buffer instanceof ArrayBuffer) {
      throw new TypeError("share() expected a shared memory: create the instance with shared: true");
    }
    return { rows: this.rows, classes: this.classes, regions: this.#regions };
  }

  /** Gives the memory back. The second call does nothing. */
  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    this.#views = undefined;
    this.#release();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  #assertAlive(): void {
    if (this.#disposed) throw new TypeError("this batch was disposed");
    this.#alive();
  }

  #current(): Views {
    this.#assertAlive();
    if (this.#views?.buffer !== this.#engine.memory.buffer) {
      this.#views = makeViews(this.#engine.memory.buffer, this.rows, this.classes, this.#regions);
    }
    return this.#views;
  }

  #range(rows: readonly [number, number] | undefined): readonly [number, number] {
    if (rows === undefined) return [0, this.rows];
    if (!Array.isArray(rows) || rows.length !== 2) throw wrongType("rows", "[begin, end]", rows);
    const begin = integer("rows[0]", rows[0], 0, this.rows);
    return [begin, integer("rows[1]", rows[1], begin, this.rows)];
  }

  #result(views: Views, settings: Settings, begin: number, end: number, normalizer: number): LossResult {
    const { memory, job } = this.#engine;
    const all = begin === 0 && end === this.rows;
    const part = <T extends Float32Array | Int32Array>(view: T, entries: number): T =>
      all ? view : (view.subarray(begin * entries, end * entries) as T);
    const sum = readJob(memory, job, "sum");
    const result: LossResult = {
      loss: part(views.loss, 1),
      sum,
      mean: normalizer === 0 ? 0 : sum / normalizer,
      normalizer,
      logSumExp: part(views.logSumExp, 1),
    };
    if (settings.gradient && views.gradient) result.gradient = part(views.gradient, this.classes);
    if (settings.predictions) {
      result.predictions = part(views.predictions, 1);
      result.correct = readJob(memory, job, "correct");
    }
    return result;
  }
}

interface Views {
  readonly buffer: ArrayBufferLike;
  readonly logits: Float32Array;
  readonly labels: Int32Array;
  readonly gradient: Float32Array | undefined;
  readonly loss: Float32Array;
  readonly logSumExp: Float32Array;
  readonly predictions: Int32Array;
}

function makeViews(buffer: ArrayBufferLike, rows: number, classes: number, at: Regions): Views {
  return {
    buffer,
    logits: new Float32Array(buffer, at.logits, rows * classes),
    labels: new Int32Array(buffer, at.labels, rows),
    gradient: at.gradient === 0 ? undefined : new Float32Array(buffer, at.gradient, rows * classes),
    loss: new Float32Array(buffer, at.loss, rows),
    logSumExp: new Float32Array(buffer, at.logSumExp, rows),
    predictions: new Int32Array(buffer, at.predictions, rows),
  };
}
