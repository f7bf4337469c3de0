/// <reference lib="esnext.disposable" preserve="true" />
import { Batch, type BatchOwner } from "./batch.ts";
import { type Call, computeCall, readLabelsCall, reads, readTargetsCall } from "./call.ts";
import { type Engine, makeEngine, owned, WORKSPACE_BYTES } from "./engine.ts";
import { wrongType } from "./errors.ts";
import { isShared, type Variant } from "./features.ts";
import type { Logits, Targets } from "./inputs.ts";
import type { Labels, LabelsType } from "./labels.ts";
import type { LogitsType } from "./logits.ts";
import { Heap } from "./memory.ts";
import type { NestedArray } from "./nested.ts";
import type { LossOptions, ShapeOptions } from "./options.ts";
import {
  type BatchGradient,
  type BatchParts,
  type BatchSpec,
  bytesOfWork,
  type PlacedBatch,
  planBatch,
  readSpec,
  type SharedBatch,
} from "./plan.ts";
import type { LossResult, OwnArrays, OwnInt32Array } from "./result.ts";
import type { WasmMemory, WasmModule } from "./wasm.ts";

/** An instance's memory as data, for one worker: send it there, and call {@link attach} with it. */
export interface SharedXent {
  readonly memory: WasmMemory;
  readonly module: WasmModule;
  readonly variant: Variant;
  /** The worker's own working memory. */
  readonly workspace: number;
}

/** One WebAssembly.Memory, and a kernel over it. */
export class Xent implements Disposable {
  /** The build of the kernel that runs. */
  readonly variant: Variant;
  readonly memory: WasmMemory;
  readonly #engine: Engine;
  readonly #module: WebAssembly.Module;
  /** Undefined in an attached instance: only the owner of a memory allocates in it. */
  readonly #heap: Heap | undefined;
  /** Batches that were created here and not disposed of. */
  #batches = 0;
  /** For one calls that would move the views of batches: a memory of their own. */
  #aside: Place | undefined;
  #disposed = false;

  /** @internal Made by `createXent`, `createXentSync` and `attach`. */
  constructor(module: WebAssembly.Module, variant: Variant, engine: Engine, heap: Heap | undefined) {
    this.variant = variant;
    this.memory = engine.memory;
    this.#module = module;
    this.#engine = engine;
    this.#heap = heap;
    // What console.log shows in Node.js, Deno and Bun, where getters of a class are not.
    Object.defineProperty(this, Symbol.for("nodejs.util.inspect.custom"), { value: inspect });
  }

  /** Threads that a run uses, the calling one among them where it may wait. Fewer than asked for when workers have ended. */
  get threads(): number {
    return this.#engine.pool?.threads ?? 1;
  }

  /**
   * Rows of logits and labels that lie in the kernel's memory, for as many runs as you like. All zero at first.
   *
   * This is where a memory that is not shared grows, which detaches the views of other batches: take those from their batch again.
   * Nothing else moves them: what runs with any options need is reserved here, if there is room for it.
   *
   * Throws RangeError where they do not fit below `maxBytes`; what exists stays as it is.
   */
  createBatch<
    L extends LogitsType = "float32",
    K extends LabelsType = "int32",
    G extends BatchGradient = false,
    T extends boolean = false,
  >(spec: BatchSpec<L, K, G, T>): Batch<L, K, G, T>;
  createBatch<L extends LogitsType, K extends LabelsType>(spec: BatchSpec<L, K>): Batch<L, K>;
  createBatch<L extends LogitsType, K extends LabelsType, G extends BatchGradient, T extends boolean>(
    spec: BatchSpec<L, K, G, T>,
  ): Batch<L, K, G, T> {
    this.#assertAlive();
    const heap = owned(this.#heap, "createBatch");
    const parts = readSpec(spec);
    const plan = planBatch(parts);
    const workBytes = this.#bytesOfWork(parts, true);
    try {
      return this.#batch(heap, plan.at(heap.allocateZeroed(workBytes + plan.bytes, workBytes), workBytes));
    } catch {
      // A batch that leaves no room for options can be run without them.
      return this.#batch(heap, plan.at(heap.allocateZeroed(plan.bytes), 0));
    }
  }

  #bytesOfWork({ layout }: BatchParts, sharded: boolean): number {
    return bytesOfWork(layout, this.#engine.pool?.slots ?? 1, sharded);
  }

  #batch<L extends LogitsType, K extends LabelsType, G extends BatchGradient, T extends boolean>(
    heap: Heap,
    plan: PlacedBatch<L, K, G, T>,
  ): Batch<L, K, G, T> {
    this.#batches++;
    // Its block begins with this buffer.
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

  /** A batch that the owner of this memory has shared. Its memory stays the owner's. */
  attachBatch<L extends LogitsType, K extends LabelsType, G extends BatchGradient, T extends boolean>(
    shared: SharedBatch<L, K, G, T>,
  ): Batch<L, K, G, T> {
    this.#assertAlive();
    if (typeof shared?.regions?.logits !== "number" || !(shared.buffer > 0))
      throw wrongType("shared", "what batch.share() returns", shared);
    return new Batch(this.#engine, shared, {
      assertAlive: () => this.#assertAlive(),
      allocate: () => {
        throw new TypeError("share() expected the batch's owner: call it there, once a worker");
      },
      release: () => {},
    });
  }

  /** As the function of this name, with this instance's variant and threads: copies in and out. */
  sparseSoftmaxCrossEntropyWithLogits<L extends Logits, G extends boolean = false, P extends boolean = false>(
    logits: L,
    labels: Labels,
    options?: LossOptions<G, P> & ShapeOptions,
  ): OneCallResult<L, G, P, false> {
    owned(this.#heap, "sparseSoftmaxCrossEntropyWithLogits");
    return this.#once(readLabelsCall(logits, labels, options)) as OneCallResult<L, G, P, false>;
  }

  /** As the function of this name, with this instance's variant and threads: copies in and out. */
  softmaxCrossEntropyWithLogits<L extends Logits, G extends boolean = false, P extends boolean = false>(
    logits: L,
    targets: Targets,
    options?: LossOptions<G, P> & ShapeOptions,
  ): OneCallResult<L, G, P, true> {
    owned(this.#heap, "softmaxCrossEntropyWithLogits");
    return this.#once(readTargetsCall(logits, targets, options)) as OneCallResult<L, G, P, true>;
  }

  #once(call: Call): LossResult<Float32Array | Float64Array> {
    // Code of the caller's has run while the call was read.
    this.#assertAlive();
    const plan = planBatch(call.parts);
    const workBytes = this.#bytesOfWork(call.parts, false);
    const bytes = workBytes + plan.bytes;
    const { heap, engine } = this.#placeFor(call, bytes);
    const address = heap.allocate(bytes);
    try {
      return computeCall(call, engine, plan.at(address, workBytes));
    } finally {
      heap.free(address);
      if ((this.#aside?.heap.memory.buffer.byteLength ?? 0) > KEPT_BYTES) this.#aside = undefined;
    }
  }

  /** Where a one call of so many bytes moves no views. */
  #placeFor(call: Call, bytes: number): Place {
    const heap = owned(this.#heap, "one call");
    const place = { heap, engine: this.#engine };
    if (isShared(this.memory) || !heap.mustGrow(bytes)) return place;
    if (this.#batches === 0 && !reads(call, this.memory)) return place;
    this.#aside ??= openAside(this.#module, heap.maxBytes);
    return this.#aside;
  }

  /**
   * This memory as data for one worker: it reserves the worker's own working memory, so call it once a worker.
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
      workspace: heap.allocate(WORKSPACE_BYTES),
    };
  }

  /**
   * Ends the use of this instance and of its batches, and its workers. A `runAsync` that is under way is given up, and its
   * promise rejected. The second call does nothing.
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

function inspect(
  this: Xent,
  _depth: number,
  options: object,
  show: (value: object, options: object) => string,
): string {
  const { variant, threads, memory } = this;
  return `Xent ${show({ variant, threads, memory }, options)}`;
}

/** A kernel, and the allocator of its memory. */
interface Place {
  readonly heap: Heap;
  readonly engine: Engine;
}

/** A larger memory of one calls is given back after the call. */
export const KEPT_BYTES: number = 2 ** 26;

function openAside(module: WebAssembly.Module, maxBytes: number): Place {
  const heap = new Heap(maxBytes, false);
  return { heap, engine: makeEngine(module, heap.memory, heap.allocate(WORKSPACE_BYTES)) };
}

/** The arrays of one call: those of float64 logits are float64, all others' are float32. */
export type GradientOf<L> = L extends Float64Array | NestedArray<Float64Array>
  ? OwnArrays["float64"]
  : OwnArrays["float32"];

/** What one call returns: all of it is the caller's own. */
export type OneCallResult<
  L,
  G extends boolean = boolean,
  P extends boolean = boolean,
  T extends boolean = boolean,
> = LossResult<GradientOf<L>, G, P, OwnInt32Array, T>;
