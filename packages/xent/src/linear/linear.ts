/// <reference lib="esnext.disposable" preserve="true" />

import type { Runs } from "../abi.ts";
import { assertFits, type Logits, type Targets } from "../inputs.ts";
import { exactLabels, flatLabels, type Labels, type LabelsArrays, type LabelsType } from "../labels.ts";
import { targetsName } from "../logits.ts";
import { type Schedule, writeSchedule } from "../pool/schedule.ts";
import type { LossResult } from "../result.ts";
import type { Partials } from "../shards/columns.ts";
import { inSlices } from "../time-slices.ts";
import type { Host } from "../xent.ts";
import { type Guard, Layer, writeNumbers } from "./layer.ts";
import { LayerMemory } from "./layer-memory.ts";
import type { LayerSpec, LinearPlan, LinearTargets, WeightArrays, WeightType } from "./plan.ts";
import { type LinearOptions, type Prepared, prepare, readLinearOptions } from "./prepare.ts";
import { writeProduct } from "./product.ts";
import type { LinearResult } from "./result.ts";
import { type ChunkBatch, type ProductStep, Steps } from "./steps.ts";

/** The products' kernel, and its number in the pool. */
export interface Products {
  readonly kernel: Runs;
  readonly number: number;
}

/**
 * A linear layer and its loss. Every array is a view of the kernel's memory; if it is not shared, take them anew after `createBatch` or
 * `createLinear`, which make it grow.
 */
export class Linear<W extends WeightType = "float32", K extends LabelsType = "int32", T extends LinearTargets = false>
  implements Disposable
{
  readonly rows: number;
  readonly classes: number;
  /** Rows whose logits are in the memory at a time. */
  readonly chunkRows: number;
  readonly #host: Host;
  readonly #products: Products;
  readonly #memory: LayerMemory<W, K>;
  readonly #layer: Layer<W>;
  readonly #targetLayer: Layer | undefined;
  readonly #batches: readonly ChunkBatch[];
  readonly #steps: Steps;
  readonly #guard: Guard = { assertAlive: () => this.#assertAlive(), assertIdle: () => this.#assertIdle() };
  #disposed = false;
  #running = false;

  /** @internal Made by `createLinear`. */
  constructor(host: Host, products: Products, plan: LinearPlan<W, K>, address: number, batches: readonly ChunkBatch[]) {
    this.rows = plan.rows;
    this.classes = plan.classes;
    this.chunkRows = plan.chunkRows;
    this.#host = host;
    this.#products = products;
    this.#memory = new LayerMemory(host.engine, plan, address);
    this.#layer = new Layer(this.#memory, plan.layer, this.#guard);
    this.#targetLayer = plan.targetLayer && new Layer(this.#memory, plan.targetLayer, this.#guard);
    this.#batches = batches;
    this.#steps = new Steps(this.#memory, batches);
  }

  /** [rows, features]. Write your features here. */
  get features(): Float32Array {
    return this.#layer.features;
  }

  /** [classes, features]. Write your weight here. */
  get weight(): WeightArrays[W] {
    return this.#layer.weight;
  }

  /** [classes], or undefined where there is none. Write your bias here. */
  get bias(): Float32Array | undefined {
    return this.#layer.bias;
  }

  /** [rows]. Write your labels here. Throws TypeError where the layer was created with `targets`. */
  get labels(): T extends false ? LabelsArrays[K] : never {
    const { labels, plan } = this.#alive;
    if (labels === undefined) throw new TypeError(`this layer has ${targetsName(plan.targets)}, and no labels`);
    return labels as T extends false ? LabelsArrays[K] : never;
  }

  /** [rows, classes]: soft targets, or with `targets: "logits"` those logits; else undefined. Write them here. */
  get targets(): T extends true | "logits" ? Float32Array : undefined {
    return this.#alive.targets as T extends true | "logits" ? Float32Array : undefined;
  }

  /** The layer whose logits are the targets, or undefined. Write its features, weight and bias there. */
  get targetLayer(): T extends LayerSpec<infer V> ? Layer<V> : undefined {
    this.#assertAlive();
    return this.#targetLayer as T extends LayerSpec<infer V> ? Layer<V> : undefined;
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
    this.#layer.setFeatures(source, offset);
  }

  /** Writes weights the same way: numbers are rounded to the layer's type, and a Uint16Array has bits of it. */
  setWeight(source: Logits, offset = 0): void {
    this.#layer.setWeight(source, offset);
  }

  /** Writes biases the same way. Throws TypeError where there is none. */
  setBias(source: Logits, offset = 0): void {
    this.#layer.setBias(source, offset);
  }

  /** Writes labels of any kind that `batch.setLabels` takes, from row `offset` on. */
  setLabels(source: Labels, offset = 0): void {
    const { labels } = flatLabels("source", source);
    const exact = exactLabels("source", labels, this.#memory.plan.labels);
    assertFits({ extent: exact.length }, offset, this.rows);
    this.#assertIdle();
    (this.labels as Int32Array).set(exact as Int32Array, offset);
  }

  /** Writes {@link targets} of any kind that `batch.setTargets` takes, from element `offset` on. Throws TypeError where there are none. */
  setTargets(source: Targets, offset = 0): void {
    writeNumbers(source, "float32", () => this.#givenTargets, offset, this.#guard);
  }

  get #givenTargets(): Float32Array {
    const { targets } = this.#alive;
    if (targets) return targets;
    const has = this.#targetLayer ? "a layer for its targets: write to targetLayer" : "labels";
    throw new TypeError(`this layer has ${has}, and takes no targets`);
  }

  /**
   * Computes the losses of all rows and, with `gradient: true`, the gradients that the layer was created with. Blocks until done; uses
   * the threads of the instance where the calling thread may wait for them. Same results, to the bit, either way.
   *
   * Throws RangeError for a label outside of [0, classes), before a byte is written; TypeError in the middle of a {@link runAsync} of
   * this layer; WorkerError where a worker of the pool fails.
   */
  run<G extends boolean = false, P extends boolean = false>(options?: LinearOptions<G, P>): LinearResult<G, P, T> {
    this.#assertIdle();
    const steps = this.#steps.of(this.#prepare(options));
    let found: LossResult | Partials | undefined;
    for (;;) {
      const { done, value } = steps.next(found);
      if (done) return value as LinearResult<G, P, T>;
      if ("loss" in value) found = value.batch.run(value.loss);
      else if ("partials" in value) found = value.batch.partials(value.partials);
      else this.#compute(value);
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
  ): Promise<LinearResult<G, P, T>> {
    this.#assertIdle();
    const steps = this.#steps.of(this.#prepare(options));
    this.#running = true;
    try {
      let found: LossResult | Partials | undefined;
      for (;;) {
        this.#assertAlive();
        const { done, value } = steps.next(found);
        if (done) return value as LinearResult<G, P, T>;
        if ("loss" in value) found = await value.batch.runAsync(value.loss);
        else if ("partials" in value) found = await value.batch.partialsAsync(value.partials);
        else await this.#computeLater(value);
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
    for (const batch of this.#batches) batch.dispose();
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
    const read = readLinearOptions(options, this.#memory);
    this.#assertIdle();
    return prepare(read, this.#memory);
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
