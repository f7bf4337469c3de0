/// <reference lib="esnext.disposable" preserve="true" />

import type { Runs } from "../abi.ts";
import type { Batch } from "../index.ts";
import { assertFits, type Logits, readLogits, writeSource } from "../inputs.ts";
import {
  copyLabels,
  exactLabels,
  flatLabels,
  IGNORED,
  type Labels,
  type LabelsArrays,
  type LabelsType,
  readLabels,
} from "../labels.ts";
import { boolean, type LossOptions, ownWeights, readOptions } from "../options.ts";
import { type Schedule, writeSchedule } from "../pool/schedule.ts";
import type { LossResult } from "../result.ts";
import { inSlices } from "../time-slices.ts";
import type { Host } from "../xent.ts";
import { LayerMemory } from "./layer-memory.ts";
import type { LinearPlan, WeightArrays, WeightType } from "./plan.ts";
import { writeProduct } from "./product.ts";
import { type LinearResult, type Prepared, type ProductStep, Steps } from "./steps.ts";

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
  readonly #memory: LayerMemory<W, K>;
  /** Of a chunk. */
  readonly #batch: Batch;
  readonly #steps: Steps;
  #disposed = false;
  #running = false;

  /** @internal Made by `createLinear`. */
  constructor(host: Host, products: Products, plan: LinearPlan<W, K>, address: number, batch: Batch) {
    this.rows = plan.rows;
    this.classes = plan.classes;
    this.chunkRows = plan.chunkRows;
    this.#host = host;
    this.#products = products;
    this.#memory = new LayerMemory(host.engine, plan, address);
    this.#batch = batch;
    this.#steps = new Steps(this.#memory, batch);
  }

  /** [rows, features]. Write your features here. */
  get features(): Float32Array {
    return this.#alive.features;
  }

  /** [classes, features]. Write your weight here. */
  get weight(): WeightArrays[W] {
    return this.#alive.weight;
  }

  /** [classes], or undefined where there is none. Write your bias here. */
  get bias(): Float32Array | undefined {
    return this.#alive.bias;
  }

  /** [rows]. Write your labels here. */
  get labels(): LabelsArrays[K] {
    return this.#alive.labels;
  }

  /** [rows, features], 0 in ignored rows; undefined where the layer was created without. */
  get featuresGradient(): Float32Array | undefined {
    return this.#alive.featuresGradient;
  }

  /** [classes, features], or undefined where the layer was created without. */
  get weightGradient(): Float32Array | undefined {
    return this.#alive.weightGradient;
  }

  /** [classes], or undefined where the layer was created without. */
  get biasGradient(): Float32Array | undefined {
    return this.#alive.biasGradient;
  }

  /** Writes features of any kind that `batch.setLogits` takes, from element `offset` on, with its checks. */
  setFeatures(source: Logits, offset = 0): void {
    this.#write(source, "float32", () => this.features, offset);
  }

  /** Writes weights likewise: numbers are rounded to the layer's type, and a Uint16Array has bits of it. */
  setWeight(source: Logits, offset = 0): void {
    this.#write(source, this.#memory.plan.weight, () => this.weight, offset);
  }

  /** Writes biases likewise. Throws TypeError where there is none. */
  setBias(source: Logits, offset = 0): void {
    if (!this.#memory.plan.bias) throw new TypeError("this layer has no bias: create it with bias: true");
    this.#write(source, "float32", () => this.bias as Float32Array, offset);
  }

  /** Writes labels of any kind that `batch.setLabels` takes, from row `offset` on. */
  setLabels(source: Labels, offset = 0): void {
    const { labels } = flatLabels("source", source);
    const exact = exactLabels("source", labels, this.#memory.plan.labels);
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
    const steps = this.#steps.of(this.#prepare(options));
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
    const steps = this.#steps.of(this.#prepare(options));
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
    this.#host.heap.free(this.#memory.address);
  }

  #assertAlive(): void {
    if (this.#disposed) throw new TypeError("this layer was disposed");
    this.#host.assertAlive();
  }

  #assertIdle(): void {
    this.#assertAlive();
    if (this.#running) throw new TypeError("this layer is in the middle of runAsync(): wait for its promise first");
  }

  get #alive(): LayerMemory<W, K> {
    this.#assertAlive();
    return this.#memory;
  }

  /** Checks everything; nothing is written yet. */
  #prepare(options: LinearOptions | undefined): Prepared {
    const { rows, classes, shift, sequence, gradient } = this.#memory.plan;
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

  /** Writes the record, and how it is dealt out; returns undefined where this thread is to compute all of it. */
  #schedule({ product, items, cost }: ProductStep, waits: boolean): Schedule | undefined {
    const { memory, pool } = this.#host.engine;
    const { scratchBytes, offsets } = this.#memory.plan;
    writeProduct(memory, this.#record, product);
    const schedule = pool?.schedule({ begin: 0, end: items, classes: ITEM, cost: cost / ITEM, splits: false }, waits);
    const other = { kernel: this.#products.number, scratch: this.#memory.place(offsets.scratch), scratchBytes };
    if (schedule) writeSchedule(memory, this.#record, schedule, false, 0, other);
    return schedule;
  }

  get #record(): number {
    return this.#memory.place(this.#memory.plan.offsets.product);
  }

  #compute(step: ProductStep): void {
    const schedule = this.#schedule(step, true);
    if (schedule) this.#host.engine.pool?.run(schedule, this.#record);
    else this.#run(0, step.items);
  }

  #run(begin: number, end: number): void {
    this.#products.kernel.run(this.#record, this.#memory.place(this.#memory.plan.offsets.scratch), begin, end);
  }

  #computeLater(step: ProductStep): Promise<void> {
    return this.#host.engine.inTurn(async () => {
      this.#assertAlive();
      const schedule = this.#schedule(step, false);
      if (schedule) {
        await this.#host.engine.pool?.runAsync(schedule, this.#record);
        return;
      }
      await inSlices(0, step.items, step.cost, (begin, end) => {
        this.#assertAlive();
        this.#run(begin, end);
      });
    });
  }
}

/** So many classes are a chunk of their own for the pool: an item is never put together with others. */
const ITEM = 2 ** 15;
