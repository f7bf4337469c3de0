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

/** The kernel of the products, and its number in the pool. */
export interface Products {
  readonly kernel: Runs;
  readonly number: number;
}

/**
 * A linear layer and its loss. Every array is a view of the kernel's memory. If that memory is not shared, read the arrays again after
 * `createBatch` or `createLinear`, which may grow it.
 */
export class Linear<W extends WeightType = "float32", K extends LabelsType = "int32", T extends LinearTargets = false>
  implements Disposable
{
  readonly rows: number;
  readonly classes: number;
  /** Rows whose logits are in memory at a time. */
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

  /** @internal Use `createLinear`. */
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

  /** [classes], or undefined if the layer has no bias. Write your bias here. */
  get bias(): Float32Array | undefined {
    return this.#layer.bias;
  }

  /** [rows]. Write your labels here. Throws TypeError if the layer was created with `targets`. */
  get labels(): T extends false ? LabelsArrays[K] : never {
    const { labels, plan } = this.#alive;
    if (labels === undefined) throw new TypeError(`this layer has ${targetsName(plan.targets)}, and no labels`);
    return labels as T extends false ? LabelsArrays[K] : never;
  }

  /** [rows, classes]: soft targets, or the target logits with `targets: "logits"`; otherwise undefined. Write your targets here. */
  get targets(): T extends true | "logits" ? Float32Array : undefined {
    return this.#alive.targets as T extends true | "logits" ? Float32Array : undefined;
  }

  /** The layer whose logits are the targets, or undefined if there is none. Write its features, weight and bias there. */
  get targetLayer(): T extends LayerSpec<infer V> ? Layer<V> : undefined {
    this.#assertAlive();
    return this.#targetLayer as T extends LayerSpec<infer V> ? Layer<V> : undefined;
  }

  /** [rows, features], 0 in ignored rows; undefined if the layer was created without it. */
  get featuresGradient(): Float32Array | undefined {
    return this.#alive.featuresGradient;
  }

  /** [classes, features], or undefined if the layer was created without it. */
  get weightGradient(): Float32Array | undefined {
    return this.#alive.weightGradient;
  }

  /** [classes], or undefined if the layer was created without it. */
  get biasGradient(): Float32Array | undefined {
    return this.#alive.biasGradient;
  }

  /** Writes features from element `offset` on. Takes what `batch.setLogits` takes, with the same checks. */
  setFeatures(source: Logits, offset = 0): void {
    this.#layer.setFeatures(source, offset);
  }

  /** Writes weights in the same way. Numbers are rounded to the type of the weight; a Uint16Array holds bits of that type. */
  setWeight(source: Logits, offset = 0): void {
    this.#layer.setWeight(source, offset);
  }

  /** Writes biases in the same way. Throws TypeError if the layer has no bias. */
  setBias(source: Logits, offset = 0): void {
    this.#layer.setBias(source, offset);
  }

  /** Writes labels from row `offset` on. Takes what `batch.setLabels` takes. */
  setLabels(source: Labels, offset = 0): void {
    const { labels } = flatLabels("source", source);
    const exact = exactLabels("source", labels, this.#memory.plan.labels);
    assertFits({ extent: exact.length }, offset, this.rows);
    this.#assertIdle();
    (this.labels as Int32Array).set(exact as Int32Array, offset);
  }

  /**
   * Writes {@link targets} from element `offset` on. Takes what `batch.setTargets` takes. Throws TypeError if the layer does not have that
   * array.
   */
  setTargets(source: Targets, offset = 0): void {
    writeNumbers(source, "float32", () => this.#givenTargets, offset, this.classes, this.#guard);
  }

  get #givenTargets(): Float32Array {
    const { targets } = this.#alive;
    if (targets) return targets;
    const has = this.#targetLayer ? "a target layer: write to targetLayer instead" : "labels, and no targets";
    throw new TypeError(`this layer has ${has}`);
  }

  /**
   * Computes the losses of all rows and, with `gradient: true`, the gradients that the layer was created with. Blocks until done. Uses
   * the threads of the instance if the calling thread may wait for them; the results have the same bits either way.
   *
   * Throws RangeError for a label outside of [0, classes), before anything is written; TypeError during a {@link runAsync} of this
   * layer; WorkerError if a worker of the pool fails.
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
   * Like {@link run}, but does not block: the workers compute, or without workers this thread, a few milliseconds at a time. Until the
   * promise settles, do not write to the layer; `dispose` frees its memory only then.
   *
   * Rejects with the errors of {@link run}, and with TypeError if the layer or the instance is disposed in the meantime.
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

  /** Frees the memory. A second call does nothing. */
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

  /** Checks everything, and writes nothing. */
  #prepare(options: LinearOptions | undefined): Prepared {
    const read = readLinearOptions(options, this.#memory);
    this.#assertIdle();
    return prepare(read, this.#memory);
  }

  /** Writes the record and its schedule. Returns undefined if this thread is to compute all items. */
  #schedule({ product, items, cost }: ProductStep, waits: boolean): Schedule | undefined {
    const { memory, pool } = this.#host.engine;
    const { scratchBytes, offsets } = this.#memory.plan;
    writeProduct(memory, this.#record, product);
    const extent = { begin: 0, end: items, classes: ITEM, cost: cost / ITEM, splits: false, finds: false };
    const schedule = pool?.schedule(extent, waits);
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

/** The classes that the schedule counts for an item: enough for a chunk of the pool, so that each chunk is one item. */
const ITEM = 2 ** 15;
