/// <reference lib="esnext.disposable" preserve="true" />
import { Batch, type BatchOwner } from "./batch.ts";
import { type Call, computeCall, isLarge, readDivergenceCall, readLabelsCall, reads, readTargetsCall } from "./call.ts";
import type { DivergenceOptions } from "./divergence.ts";
import { type Engine, openPlace, owned, type Place, WORKSPACE_BYTES } from "./engine.ts";
import { wrongType } from "./errors.ts";
import { isShared, type Variant } from "./features.ts";
import type { Logits, Targets } from "./inputs.ts";
import type { Labels, LabelsType } from "./labels.ts";
import type { LogitsType, TargetsType } from "./logits.ts";
import type { Heap } from "./memory.ts";
import type { NestedArray } from "./nested.ts";
import type { LossOptions, ShapeOptions } from "./options.ts";
import {
  type BatchGradient,
  type BatchSpec,
  bytesOfWork,
  type PlacedBatch,
  planBatch,
  readSpec,
  type SharedBatch,
} from "./plan.ts";
import type { LossResult, OwnArrays, OwnInt32Array } from "./result.ts";
import type { WasmMemory, WasmModule } from "./wasm.ts";

/** The memory of an instance as data for one worker: send it there, and pass it to {@link attach}. */
export interface SharedXent {
  readonly memory: WasmMemory;
  readonly module: WasmModule;
  readonly variant: Variant;
  /** Address of the worker's working memory. */
  readonly workspace: number;
  /** The number by which batches of this memory are known. */
  readonly id: number;
}

/** An instance: one WebAssembly.Memory and a kernel over it. */
export class Xent implements Disposable {
  /** The build of the kernel that runs. */
  readonly variant: Variant;
  readonly memory: WasmMemory;
  readonly #engine: Engine;
  readonly #module: WebAssembly.Module;
  /** Undefined in an attached instance: only the owner of a memory allocates in it. */
  readonly #heap: Heap | undefined;
  /** The number of batches that were created here and not disposed. */
  #batches = 0;
  /** A separate memory for one-call functions that would detach the views of batches. */
  #aside: Place | undefined;
  #disposed = false;

  /** @internal Made by `createXent`, `createXentSync` and `attach`. */
  constructor(module: WebAssembly.Module, variant: Variant, engine: Engine, heap: Heap | undefined) {
    this.variant = variant;
    this.memory = engine.memory;
    this.#module = module;
    this.#engine = engine;
    this.#heap = heap;
    // For console.log in Node.js, Deno and Bun, which does not show getters of a class.
    Object.defineProperty(this, Symbol.for("nodejs.util.inspect.custom"), { value: inspect });
  }

  /** The number of threads that a run uses, including the calling one if it may block. Fewer than requested after workers have ended. */
  get threads(): number {
    return this.#engine.pool?.threads ?? 1;
  }

  /**
   * Creates a batch of rows whose arrays lie in the kernel's memory, for any number of runs. All arrays are zero at first.
   *
   * This may grow the memory. If it is not shared, that detaches the views of other batches: read those from their batch again.
   * Nothing else detaches views: the working memory of runs with any options is reserved here, if there is room for it.
   *
   * Throws RangeError if the batch does not fit below `maxBytes`. Existing batches stay valid.
   */
  createBatch<
    L extends LogitsType = "float32",
    K extends LabelsType = "int32",
    G extends BatchGradient = false,
    T extends TargetsType = false,
  >(spec: BatchSpec<L, K, G, T>): Batch<L, K, G, T>;
  createBatch<L extends LogitsType, K extends LabelsType>(spec: BatchSpec<L, K>): Batch<L, K>;
  createBatch<L extends LogitsType, K extends LabelsType, G extends BatchGradient, T extends TargetsType>(
    spec: BatchSpec<L, K, G, T>,
  ): Batch<L, K, G, T> {
    this.#assertAlive();
    const heap = owned(this.#heap, "createBatch");
    const parts = readSpec(spec);
    const plan = planBatch(parts);
    const workBytes = bytesOfWork(parts.layout, this.#slots, true);
    try {
      return this.#batch(heap, plan.at(heap.allocateZeroed(workBytes + plan.bytes, workBytes), workBytes));
    } catch {
      // Without room for the working memory of options, the batch can still run without them.
      return this.#batch(heap, plan.at(heap.allocateZeroed(plan.bytes), 0));
    }
  }

  /** The number of threads that may work on a job. */
  get #slots(): number {
    return this.#engine.pool?.slots ?? 1;
  }

  #batch<L extends LogitsType, K extends LabelsType, G extends BatchGradient, T extends TargetsType>(
    heap: Heap,
    plan: PlacedBatch<L, K, G, T>,
  ): Batch<L, K, G, T> {
    this.#batches++;
    // The block begins with the working memory.
    const addresses = [plan.buffer];
    const owner: BatchOwner = {
      assertAlive: () => this.#assertAlive(),
      allocate: (more) => {
        const address = heap.allocate(more);
        addresses.push(address);
        return address;
      },
      release: () => {
        this.#batches--;
        for (const address of addresses) heap.free(address);
      },
    };
    return new Batch(this.#engine, plan, owner);
  }

  /** Attaches a batch that the owner of this memory has shared. The owner keeps its memory. */
  attachBatch<L extends LogitsType, K extends LabelsType, G extends BatchGradient, T extends TargetsType>(
    shared: SharedBatch<L, K, G, T>,
  ): Batch<L, K, G, T> {
    this.#assertAlive();
    if (typeof shared?.regions?.logits !== "number" || !(shared.buffer > 0))
      throw wrongType("shared", "what batch.share() returns", shared);
    if (shared.id !== this.#engine.id) throw new RangeError('"shared" expected a batch of this memory, got another');
    return new Batch(this.#engine, shared, {
      assertAlive: () => this.#assertAlive(),
      allocate: () => {
        throw new TypeError("share() expected the batch's owner: call it there, once for each worker");
      },
      release: () => {},
    });
  }

  /** Like the function of this name, with this instance's variant and threads. Copies arguments and results. */
  sparseSoftmaxCrossEntropyWithLogits<L extends Logits, G extends boolean = false, P extends boolean = false>(
    logits: L,
    labels: Labels,
    options?: LossOptions<G, P> & ShapeOptions,
  ): OneCallResult<L, G, P, false> {
    owned(this.#heap, "sparseSoftmaxCrossEntropyWithLogits");
    return this.#once(readLabelsCall(logits, labels, options)) as OneCallResult<L, G, P, false>;
  }

  /** Like the function of this name, with this instance's variant and threads. Copies arguments and results. */
  softmaxCrossEntropyWithLogits<L extends Logits, G extends boolean = false, P extends boolean = false>(
    logits: L,
    targets: Targets,
    options?: LossOptions<G, P> & ShapeOptions,
  ): OneCallResult<L, G, P, true> {
    owned(this.#heap, "softmaxCrossEntropyWithLogits");
    return this.#once(readTargetsCall(logits, targets, options)) as OneCallResult<L, G, P, true>;
  }

  /** Like the function of this name, with this instance's variant and threads. Copies arguments and results. */
  klDivergenceWithLogits<L extends Logits, G extends boolean = false, P extends boolean = false>(
    logits: L,
    targetLogits: Logits,
    options?: DivergenceOptions<G, P> & ShapeOptions,
  ): OneCallResult<L, G, P, "logits"> {
    owned(this.#heap, "klDivergenceWithLogits");
    return this.#once(readDivergenceCall(logits, targetLogits, options)) as OneCallResult<L, G, P, "logits">;
  }

  #once(call: Call): LossResult<Float32Array | Float64Array> {
    // Reading the call may have run code of the caller.
    this.#assertAlive();
    try {
      return computeCall(call, this.#slots, (bytes) => this.#placeFor(call, bytes));
    } finally {
      if (this.#aside && isLarge(this.#aside)) this.#aside = undefined;
    }
  }

  /** A memory in which a call that needs this many bytes detaches no views. */
  #placeFor(call: Call, bytes: number): Place {
    const heap = owned(this.#heap, "one call");
    const place = { heap, engine: this.#engine };
    if (isShared(this.memory) || !heap.mustGrow(bytes)) return place;
    if (this.#batches === 0 && !reads(call, this.memory)) return place;
    this.#aside ??= openPlace(this.#module, heap.maxBytes, false);
    return this.#aside;
  }

  /**
   * The memory of this instance as data for one worker. It reserves working memory for that worker, so call it once for each.
   *
   * Throws TypeError for an instance that was not created with `shared: true`.
   */
  share(): SharedXent {
    this.#assertAlive();
    const heap = owned(this.#heap, "share");
    if (!isShared(this.memory)) {
      throw new TypeError("share() expected a shared memory: create the instance with shared: true");
    }
    return {
      memory: this.memory,
      module: this.#module,
      variant: this.variant,
      workspace: heap.allocateZeroed(WORKSPACE_BYTES),
      id: this.#engine.id,
    };
  }

  /** @internal For `xent/linear`, which is a separate bundle. */
  host(method: string): Host {
    this.#assertAlive();
    const heap = owned(this.#heap, method);
    return { heap, engine: this.#engine, assertAlive: () => this.#assertAlive() };
  }

  /**
   * Disposes of this instance, its batches and its workers. A `runAsync` in progress is abandoned, and its promise rejects.
   * A second call does nothing.
   */
  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    this.#engine.pool?.dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  #assertAlive(): void {
    if (this.#disposed) throw new TypeError("this Xent was disposed");
    this.#engine.pool?.assertAlive();
  }
}

/** The parts of an instance. */
export interface Host {
  readonly heap: Heap;
  readonly engine: Engine;
  /** Throws TypeError if the instance was disposed. */
  assertAlive(): void;
}

function inspect(
  this: Xent,
  _depth: number,
  options: object,
  show: (value: object, options: object) => string,
): string {
  const { variant, threads, memory } = this;
  return `Xent ${show({ variant, threads, memory }, options)}`;
}

/** The arrays of a result: float64 for float64 logits, float32 for all others. */
export type GradientOf<L> = L extends Float64Array | NestedArray<Float64Array>
  ? OwnArrays["float64"]
  : OwnArrays["float32"];

/** The result of a one-call function. All arrays are the caller's own. */
export type OneCallResult<
  L,
  G extends boolean = boolean,
  P extends boolean = boolean,
  T extends TargetsType = TargetsType,
> = LossResult<GradientOf<L>, G, P, OwnInt32Array, T>;
