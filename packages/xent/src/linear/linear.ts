/// <reference lib="esnext.disposable" preserve="true" />

import type { Runs } from "../abi.ts";
import type { Batch } from "../index.ts";
import { assertFits, type Logits, readLogits, writeSource } from "../inputs.ts";
import {
  copyLabels,
  exactLabels,
  flatLabels,
  IGNORED,
  LABELS,
  type Labels,
  type LabelsArrays,
  type LabelsType,
  readLabels,
} from "../labels.ts";
import { LOGITS } from "../logits.ts";
import { boolean, type LossOptions, ownWeights, readOptions, type Settings } from "../options.ts";
import { type Schedule, writeSchedule } from "../pool/schedule.ts";
import type { LossResult, OwnResult } from "../result.ts";
import { nextTask } from "../runtime.ts";
import type { Host } from "../xent.ts";
import { type LinearPlan, MOST_COLUMNS, upTo, type WeightArrays, type WeightType } from "./plan.ts";
import { KIND, LOGITS_ITEM, type Product, WEIGHT_ITEM, WEIGHT_TYPES, writeProduct } from "./product.ts";

/** The products' kernel, and its number in the pool. */
export interface Products {
  readonly kernel: Runs;
  readonly number: number;
}

/** Options of a run: those of a batch. */
export interface LinearOptions<G extends boolean = boolean, P extends boolean = boolean> extends LossOptions<G, P> {
  /** Whether the gradients of weight and bias are added to what is there, instead of being written. Default false. */
  accumulate?: boolean | undefined;
}

/**
 * What a run returns: as of a batch, all of it the caller's own. In ignored rows `loss` is 0, `logSumExp` NaN and `prediction` -1: they
 * are not computed. The gradients are views of the layer.
 */
export type LinearResult<G extends boolean = boolean, P extends boolean = boolean> = OwnResult<
  "float32",
  false,
  P,
  false
> &
  ([G] extends [true]
    ? WithTemperatureGradient
    : [G] extends [false]
      ? { temperatureGradient?: never }
      : Partial<WithTemperatureGradient>);

/** With `gradient: true`. */
export interface WithTemperatureGradient {
  /**
   * Of the reduced loss with respect to the temperature; NaN where there is a softcap, or the layer has no gradient of the features or
   * of a bias that there is.
   */
  temperatureGradient: number;
}

/** A step of a run: what other threads may help with, or the loss of a chunk. */
type Step =
  | { readonly product: Product; readonly items: number; readonly cost: number }
  | { readonly loss: Parameters<Batch["run"]>[0] };

/**
 * A linear layer and its loss. Every array is a view of the kernel's memory; if it is not shared, take them anew after `createBatch` or
 * `createLinear`, which make it grow.
 */
export class Linear<W extends WeightType = "float32", K extends LabelsType = "int32"> implements Disposable {
  readonly rows: number;
  readonly classes: number;
  /** Rows whose logits are in the memory at a time. */
  readonly chunkRows: number;
  readonly #host: Host;
  readonly #products: Products;
  readonly #plan: LinearPlan<W, K>;
  readonly #address: number;
  /** Of a chunk. */
  readonly #batch: Batch;
  #disposed = false;
  #running = false;

  /** @internal Made by `createLinear`. */
  constructor(host: Host, products: Products, plan: LinearPlan<W, K>, address: number, batch: Batch) {
    this.rows = plan.rows;
    this.classes = plan.classes;
    this.chunkRows = plan.chunkRows;
    this.#host = host;
    this.#products = products;
    this.#plan = plan;
    this.#address = address;
    this.#batch = batch;
  }

  /** [rows, features]. Write your features here. */
  get features(): Float32Array {
    return this.#floats(this.#plan.offsets.features, this.rows * this.#plan.features) as Float32Array;
  }

  /** [classes, features]. Write your weight here. */
  get weight(): WeightArrays[W] {
    this.#assertAlive();
    const { weight, offsets, classes, features } = this.#plan;
    const at = this.#address + offsets.weight;
    return new LOGITS[weight](this.#host.engine.memory.buffer, at, classes * features) as WeightArrays[W];
  }

  /** [classes], or undefined where there is none. Write your bias here. */
  get bias(): Float32Array | undefined {
    return this.#floats(this.#plan.offsets.bias, this.classes);
  }

  /** [rows]. Write your labels here. */
  get labels(): LabelsArrays[K] {
    this.#assertAlive();
    const { labels, offsets, rows } = this.#plan;
    return new LABELS[labels](this.#host.engine.memory.buffer, this.#address + offsets.labels, rows);
  }

  /** [rows, features], 0 in ignored rows; undefined where the layer was created without. */
  get featuresGradient(): Float32Array | undefined {
    return this.#floats(this.#plan.offsets.featuresGradient, this.rows * this.#plan.features);
  }

  /** [classes, features], or undefined where the layer was created without. */
  get weightGradient(): Float32Array | undefined {
    return this.#floats(this.#plan.offsets.weightGradient, this.classes * this.#plan.features);
  }

  /** [classes], or undefined where the layer was created without. */
  get biasGradient(): Float32Array | undefined {
    return this.#floats(this.#plan.offsets.biasGradient, this.classes);
  }

  /** Writes features of any kind that `batch.setLogits` takes, from element `offset` on, with its checks. */
  setFeatures(source: Logits, offset = 0): void {
    this.#write(source, "float32", () => this.features, offset);
  }

  /** Writes weights likewise: numbers are rounded to the layer's type, and a Uint16Array has bits of it. */
  setWeight(source: Logits, offset = 0): void {
    this.#write(source, this.#plan.weight, () => this.weight, offset);
  }

  /** Writes biases likewise. Throws TypeError where there is none. */
  setBias(source: Logits, offset = 0): void {
    if (!this.#plan.bias) throw new TypeError("this layer has no bias: create it with bias: true");
    this.#write(source, "float32", () => this.bias as Float32Array, offset);
  }

  /** Writes labels of any kind that `batch.setLabels` takes, from row `offset` on. */
  setLabels(source: Labels, offset = 0): void {
    const { labels } = flatLabels("source", source);
    const exact = exactLabels("source", labels, this.#plan.labels);
    assertFits({ extent: exact.length }, offset, this.rows);
    this.#assertIdle();
    (this.labels as Int32Array).set(exact as Int32Array, offset);
  }

  #write(source: Logits, type: WeightType, target: () => Float32Array | Uint16Array, offset: number): void {
    const numbers = readLogits("source", source);
    if (numbers.kind === "Uint16Array" && type === "float32") {
      throw new TypeError('"source" is a Uint16Array, whose numbers are bits, but here are float32 numbers');
    }
    const whole = { run: numbers.elements, step: numbers.elements, extent: numbers.elements };
    this.#assertIdle();
    assertFits(whole, offset, target().length);
    writeSource(numbers, type, target(), offset, whole);
  }

  /**
   * Computes the losses of all rows and, with `gradient: true`, the gradients that the layer was created with. Blocks until done; uses
   * the threads of the instance where the calling thread may wait for them. Same results, to the bit, either way.
   *
   * Throws RangeError for a label outside of [0, classes), before a byte is written; TypeError in the middle of a {@link runAsync} of
   * this layer; WorkerError where a worker of the pool fails.
   */
  run<G extends boolean = false, P extends boolean = false>(options?: LinearOptions<G, P>): LinearResult<G, P> {
    this.#assertIdle();
    const steps = this.#steps(this.#prepare(options));
    let loss: LossResult | undefined;
    for (;;) {
      const next = steps.next(loss);
      if (next.done) return next.value as LinearResult<G, P>;
      const step = next.value;
      if ("loss" in step) loss = this.#batch.run(step.loss);
      else this.#compute(step);
    }
  }

  /**
   * As {@link run}, without blocking: the workers compute it, or where there are none this thread, a few milliseconds at a time. Until
   * it has settled the layer is the job's: nothing may be written there, and `dispose` frees the memory only then.
   *
   * Rejects with the errors of {@link run}, and with TypeError where layer or instance are disposed in the meantime.
   */
  async runAsync<G extends boolean = false, P extends boolean = false>(
    options?: LinearOptions<G, P>,
  ): Promise<LinearResult<G, P>> {
    this.#assertIdle();
    const steps = this.#steps(this.#prepare(options));
    this.#running = true;
    try {
      let loss: LossResult | undefined;
      for (;;) {
        this.#assertAlive();
        const next = steps.next(loss);
        if (next.done) return next.value as LinearResult<G, P>;
        const step = next.value;
        if ("loss" in step) loss = await this.#batch.runAsync(step.loss);
        else await this.#computeLater(step);
      }
    } finally {
      this.#running = false;
      if (this.#disposed) this.#release();
    }
  }

  /** Gives the memory back. The second call does nothing. */
  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    if (!this.#running) this.#release();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  #release(): void {
    this.#batch.dispose();
    this.#host.heap.free(this.#address);
  }

  #assertAlive(): void {
    if (this.#disposed) throw new TypeError("this layer was disposed");
    this.#host.assertAlive();
  }

  #assertIdle(): void {
    this.#assertAlive();
    if (this.#running) throw new TypeError("this layer is in the middle of runAsync(): wait for its promise first");
  }

  #floats(offset: number | undefined, length: number): Float32Array | undefined {
    this.#assertAlive();
    if (offset === undefined) return undefined;
    return new Float32Array(this.#host.engine.memory.buffer, this.#address + offset, length);
  }

  /** Checks everything; nothing is written yet. */
  #prepare(options: LinearOptions | undefined): Prepared {
    const { rows, classes, shift, sequence, gradient } = this.#plan;
    // Code of the caller's (a getter, a Proxy) runs in these lines only.
    const accumulate = boolean("accumulate", options?.accumulate ?? false);
    const settings = ownWeights(readOptions(options, rows, classes, ["accumulate"]));
    this.#assertIdle();
    if (settings.gradient && gradient.size === 0) {
      throw new TypeError('"gradient" expected a layer with memory for it: create it with gradient: true');
    }
    if (accumulate && !settings.gradient) throw new TypeError('"accumulate" expected gradient: true');
    const { ignoreIndex, classWeights, sampleWeights, invalidLabels } = settings;
    const rules = { classes, ignoreIndex, classWeights, strict: invalidLabels === "throw", shift, sequence };
    const { labels } = this;
    const [count, normalizer] = readLabels(labels, rules, 0, rows);
    const ofRows = new Int32Array(rows);
    copyLabels(labels, rules, 0, rows, ofRows);
    const kept = new Uint32Array(rows);
    let length = 0;
    for (let row = 0; row < rows; row++) {
      if (ofRows[row] !== IGNORED && sampleWeights?.[row] !== 0) kept[length++] = row;
    }
    return { settings, accumulate, labels: ofRows, kept: kept.subarray(0, length), count, normalizer };
  }

  /** What is to be computed, one after the other; it is given the loss of a chunk back. */
  *#steps({
    settings,
    accumulate,
    labels,
    kept,
    count,
    normalizer,
  }: Prepared): Generator<Step, LinearResult, LossResult | undefined> {
    const { rows, features, classes, chunkRows, gradient } = this.#plan;
    const result = emptyResult(rows, settings.predictions);
    const product = this.#product(settings, normalizer);
    let added = accumulate;
    if (settings.gradient) this.#clear(kept, accumulate);
    for (let begin = 0; begin < kept.length; begin += chunkRows) {
      const chunk = kept.subarray(begin, begin + chunkRows);
      const length = chunk.length;
      const of = { ...product, rows: length };
      const madds = upTo(4, length) * features;
      // The memory may have grown since.
      new Uint32Array(this.#host.engine.memory.buffer, product.index, length).set(chunk);
      yield { product: { ...of, kind: KIND.PACK_ROWS }, items: Math.ceil(length / 4), cost: features };
      yield {
        product: { ...of, kind: KIND.LOGITS },
        items: Math.ceil(classes / LOGITS_ITEM),
        cost: (madds * Math.min(LOGITS_ITEM, classes)) / MADDS,
      };
      for (const [i, row] of chunk.entries()) this.#batch.labels[i] = labels[row] as number;
      gather(result, chunk, (yield { loss: this.#lossOptions(settings, chunk) }) as LossResult);
      if (!settings.gradient) continue;
      if (gradient.has("features")) {
        const columns = this.#columns();
        yield {
          product: { ...of, kind: KIND.FEATURES, columns },
          items: Math.ceil(features / columns),
          cost: (upTo(4, length) * classes * columns) / MADDS,
        };
      }
      if (gradient.has("weight")) {
        yield { product: { ...of, kind: KIND.PACK_COLUMNS }, items: Math.ceil(features / 8), cost: length };
      }
      if (gradient.has("weight") || gradient.has("bias")) {
        yield {
          product: { ...of, kind: KIND.WEIGHT, accumulate: added ? 1 : 0 },
          items: Math.ceil(classes / WEIGHT_ITEM),
          cost: (madds * Math.min(WEIGHT_ITEM, classes)) / MADDS,
        };
      }
      added = true;
    }
    const { sum } = result;
    const { temperature } = settings;
    const sums = { ...result, mean: normalizer === 0 ? 0 : sum / normalizer, normalizer, count };
    if (!settings.gradient) return sums;
    const slope = this.#finishBias(accumulate);
    return { ...sums, temperatureGradient: this.#temperatureGradient(settings, kept, slope) / temperature };
  }

  /** The record of products, but for the chunk and the kind. */
  #product({ reduction }: Settings, normalizer: number): Product {
    const { offsets, weight, features, classes, stride } = this.#plan;
    const place = (offset: number | undefined): number => (offset === undefined ? 0 : this.#address + offset);
    return {
      source: place(offsets.features),
      index: place(offsets.index),
      packed: place(offsets.packed),
      weight: place(offsets.weight),
      bias: place(offsets.bias),
      logits: this.#batch.logits.byteOffset,
      features_gradient: place(offsets.featuresGradient),
      weight_gradient: place(offsets.weightGradient),
      bias_gradient: place(offsets.biasSums),
      kind: 0,
      weight_type: WEIGHT_TYPES[weight],
      rows: 0,
      features,
      classes,
      stride,
      columns: MOST_COLUMNS,
      accumulate: 0,
      scale: reduction !== "mean" ? 1 : normalizer === 0 ? 0 : 1 / normalizer,
    };
  }

  /** Columns of an item, so that there are as many items as threads, or a multiple. */
  #columns(): number {
    const { features } = this.#plan;
    const threads = this.#host.engine.pool?.threads ?? 1;
    const items = threads * Math.ceil(features / (threads * MOST_COLUMNS));
    return upTo(8, Math.ceil(features / items));
  }

  /** What no product writes. */
  #clear(kept: Uint32Array, accumulate: boolean): void {
    const { rows, features, classes, offsets } = this.#plan;
    const { featuresGradient } = this;
    if (featuresGradient && kept.length < rows) {
      let next = 0;
      for (let row = 0; row < rows; row++) {
        if (row === kept[next]) next++;
        else featuresGradient.fill(0, row * features, (row + 1) * features);
      }
    }
    if (kept.length === 0 && !accumulate) this.weightGradient?.fill(0);
    if (offsets.biasSums === undefined) return;
    this.#biasSums(upTo(4, classes)).fill(0);
  }

  #biasSums(length: number): Float64Array {
    const { biasSums = 0 } = this.#plan.offsets;
    return new Float64Array(this.#host.engine.memory.buffer, this.#address + biasSums, length);
  }

  #lossOptions(settings: Settings, chunk: Uint32Array): Parameters<Batch["run"]>[0] {
    const { gradient, classWeights, labelSmoothing, zLoss, softcap, temperature, predictions, sampleWeights } =
      settings;
    const { invalidLabels } = settings;
    const own = sampleWeights && new Float32Array(this.#batch.rows);
    if (own) for (const [i, row] of chunk.entries()) own[i] = sampleWeights[row] as number;
    const ofRows = { rows: [0, chunk.length] as const, sampleWeights: own, invalidLabels };
    return { gradient, classWeights, labelSmoothing, zLoss, softcap, temperature, predictions, ...ofRows };
  }

  /** Rounds the bias's gradient, and returns the sum of its products with the bias; NaN where it is not known. */
  #finishBias(accumulate: boolean): number {
    const { bias, biasGradient, classes } = this;
    if (bias === undefined) return 0;
    if (biasGradient === undefined) return Number.NaN;
    const sums = this.#biasSums(classes);
    let product = 0;
    for (let i = 0; i < classes; i++) {
      const sum = sums[i] as number;
      product += sum * (bias[i] as number);
      biasGradient[i] = accumulate ? (biasGradient[i] as number) + sum : sum;
    }
    return product;
  }

  /**
   * The sum of each logit x times the loss's gradient with respect to it, negated: x / t falls by x / t^2 for t. Of a row this is the
   * product of its features with their gradient, and of the bias with its own.
   */
  #temperatureGradient({ softcap }: Settings, kept: Uint32Array, ofBias: number): number {
    const { features: source, featuresGradient } = this;
    if (featuresGradient === undefined || softcap !== undefined) return Number.NaN;
    const { features } = this.#plan;
    let sum = ofBias;
    for (const row of kept) {
      let ofRow = 0;
      for (let i = row * features; i < (row + 1) * features; i++) {
        ofRow += (source[i] as number) * (featuresGradient[i] as number);
      }
      sum += ofRow;
    }
    return -sum;
  }

  /** Writes the record, and how it is dealt out; returns undefined where this thread is to compute all of it. */
  #schedule({ product, items, cost }: ProductStep, waits: boolean): Schedule | undefined {
    const { memory, pool } = this.#host.engine;
    const { scratchBytes, offsets } = this.#plan;
    writeProduct(memory, this.#record, product);
    const schedule = pool?.schedule({ begin: 0, end: items, classes: ITEM, cost: cost / ITEM, splits: false }, waits);
    const other = { kernel: this.#products.number, scratch: this.#address + offsets.scratch, scratchBytes };
    if (schedule) writeSchedule(memory, this.#record, schedule, false, 0, other);
    return schedule;
  }

  get #record(): number {
    return this.#address + this.#plan.offsets.product;
  }

  #compute(step: ProductStep): void {
    const schedule = this.#schedule(step, true);
    if (schedule) this.#host.engine.pool?.run(schedule, this.#record);
    else this.#run(0, step.items);
  }

  #run(begin: number, end: number): void {
    this.#products.kernel.run(this.#record, this.#address + this.#plan.offsets.scratch, begin, end);
  }

  #computeLater(step: ProductStep): Promise<void> {
    return this.#host.engine.inTurn(async () => {
      this.#assertAlive();
      const schedule = this.#schedule(step, false);
      if (schedule) {
        await this.#host.engine.pool?.runAsync(schedule, this.#record);
        return;
      }
      let started = Date.now();
      for (let item = 0; item < step.items; item++) {
        this.#run(item, item + 1);
        if (Date.now() - started < SLICE_MS) continue;
        await nextTask();
        this.#assertAlive();
        started = Date.now();
      }
    });
  }
}

type ProductStep = Extract<Step, { product: Product }>;

/** A page that draws 60 frames a second has 16 ms for one. */
const SLICE_MS = 8;
/** Products that take as long as a class of the plain loss. */
const MADDS = 8;
/** So many classes are a chunk of their own for the pool: an item is never put together with others. */
const ITEM = 2 ** 15;

/** A run that is ready to be computed. */
interface Prepared {
  readonly settings: Settings;
  readonly accumulate: boolean;
  /** Of each row, checked. */
  readonly labels: Int32Array;
  /** Rows that are computed. */
  readonly kept: Uint32Array;
  readonly count: number;
  readonly normalizer: number;
}

interface Rows {
  loss: Float32Array<ArrayBuffer>;
  logSumExp: Float32Array<ArrayBuffer>;
  predictions?: Int32Array<ArrayBuffer>;
  correct?: number;
  sum: number;
}

function emptyResult(rows: number, predictions: boolean): Rows {
  const result = { loss: new Float32Array(rows), logSumExp: new Float32Array(rows).fill(Number.NaN), sum: 0 };
  return predictions ? { ...result, predictions: new Int32Array(rows).fill(-1), correct: 0 } : result;
}

/** What a chunk has found, where it belongs. */
function gather(result: Rows, chunk: Uint32Array, of: LossResult): void {
  for (const [i, row] of chunk.entries()) {
    result.loss[row] = of.loss[i] as number;
    result.logSumExp[row] = of.logSumExp[i] as number;
    if (result.predictions) result.predictions[row] = of.predictions?.[i] as number;
  }
  result.sum += of.sum;
  if (result.correct !== undefined) result.correct += of.correct as number;
}
