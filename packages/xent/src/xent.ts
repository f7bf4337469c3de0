/// <reference lib="esnext.disposable" preserve="true" />
import { Batch, type BatchOwner } from "./batch.ts";
import { type Call, readCall } from "./call.ts";
import { type Engine, makeEngine, owned, WORKSPACE_BYTES } from "./engine.ts";
import { wrongType } from "./errors.ts";
import { isShared, type Variant } from "./features.ts";
import { type Logits, readTargets, type Source, type Targets, writeSource } from "./inputs.ts";
import { flatLabels, type Labels, type LabelsType, labelsTypeOf, readLabels, typedLabels } from "./labels.ts";
import type { Layout } from "./layout.ts";
import type { LogitsType } from "./logits.ts";
import { Heap } from "./memory.ts";
import type { NestedArray } from "./nested.ts";
import { type LossOptions, ownWeights, type ShapeOptions } from "./options.ts";
import { type BatchGradient, type BatchSpec, bytesOfWork, planBatch, type SharedBatch } from "./plan.ts";
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
    const plan = planBatch(spec);
    const workBytes = this.#bytesOfWork(plan, true);
    const place = { heap, engine: this.#engine };
    try {
      return this.#batch(place, plan.at(heap.allocateZeroed(workBytes + plan.bytes, workBytes), workBytes));
    } catch {
      // A batch that leaves no room for options can be run without them.
      return this.#batch(place, plan.at(heap.allocateZeroed(plan.bytes), 0));
    }
  }

  #bytesOfWork({ layout }: { readonly layout: Layout }, sharded: boolean): number {
    return bytesOfWork(layout, this.#engine.pool?.slots ?? 1, sharded);
  }

  #batch<L extends LogitsType, K extends LabelsType, G extends BatchGradient, T extends boolean>(
    { heap, engine }: Place,
    plan: SharedBatch<L, K, G, T>,
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
    return new Batch(engine, plan, owner);
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
    this.#assertAlive();
    owned(this.#heap, "sparseSoftmaxCrossEntropyWithLogits");
    const own = ownWeights(options, this.memory);
    const rows = flatLabels("labels", labels);
    const call = readCall(logits, rows, own);
    const { classes, rows: sequence } = call.layout;
    const { ignoreIndex, classWeights, invalidLabels } = call.settings;
    const rules = { classes, ignoreIndex, classWeights, strict: invalidLabels === "throw", shift: 0, sequence };
    readLabels(rows.labels, rules, 0, sequence);
    const typed = typedLabels(rows.labels);
    // Of an array a copy has been made.
    const source = typed === rows.labels ? reference(typed, this.memory) : () => typed;
    const spec = { labels: labelsTypeOf(typed) };
    return this.#once(call, spec, (batch) => batch.labels.set(source() as never)) as OneCallResult<L, G, P, false>;
  }

  /** As the function of this name, with this instance's variant and threads: copies in and out. */
  softmaxCrossEntropyWithLogits<L extends Logits, G extends boolean = false, P extends boolean = false>(
    logits: L,
    targets: Targets,
    options?: LossOptions<G, P> & ShapeOptions,
  ): OneCallResult<L, G, P, true> {
    this.#assertAlive();
    owned(this.#heap, "softmaxCrossEntropyWithLogits");
    const own = ownWeights(options, this.memory);
    const numbers = readTargets("targets", targets);
    const call = readCall(logits, undefined, own, numbers.shape);
    const { elements } = call.layout;
    if (numbers.elements !== elements) {
      throw new RangeError(`"targets" expected one for each of ${elements} logits, got ${numbers.elements}`);
    }
    if (call.settings.ignoreIndex !== undefined) throw new TypeError('"ignoreIndex" expected labels, not soft targets');
    const parts = references(numbers, this.memory);
    const result = this.#once(call, { targets: true }, (batch) => {
      const source = { ...numbers, parts: parts.map((part) => part()) };
      writeSource(source, "float32", batch.targets as Float32Array, 0, WHOLE);
    });
    return result as OneCallResult<L, G, P, true>;
  }

  #once(
    { logits, type, layout, lossOptions, settings }: Call,
    spec: { labels?: LabelsType | undefined; targets?: boolean },
    fill: (batch: Batch<LogitsType, LabelsType>) => void,
  ): LossResult<Float32Array | Float64Array> {
    const parts = references(logits, this.memory);
    const { gradient } = settings;
    // Not the caller's shape: it is read once.
    const { rows, classes, inner } = layout;
    const shape = [rows / inner, classes, inner];
    const plan = planBatch<LogitsType, LabelsType, boolean, boolean>({
      shape,
      axis: 1,
      ...spec,
      logits: type,
      gradient,
    });
    const workBytes = this.#bytesOfWork(plan, false);
    const place = this.#placeFor(workBytes + plan.bytes);
    const batch = this.#batch(place, plan.at(place.heap.allocate(workBytes + plan.bytes), workBytes));
    // Not `using`: that needs a Symbol.dispose, which not every engine has.
    try {
      writeSource({ ...logits, parts: parts.map((part) => part()) }, type, batch.logits, 0, WHOLE);
      fill(batch);
      return batch.run({ ...lossOptions, copy: true });
    } finally {
      batch.dispose();
      if ((this.#aside?.heap.memory.buffer.byteLength ?? 0) > KEPT_BYTES) this.#aside = undefined;
    }
  }

  /** Where a one call of so many bytes moves no views. */
  #placeFor(bytes: number): Place {
    const heap = owned(this.#heap, "one call");
    if (isShared(this.memory) || this.#batches === 0 || !heap.mustGrow(bytes)) return { heap, engine: this.#engine };
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

/** A source in one piece. */
const WHOLE = { run: 0, step: 0 };

/** A function that gives this array, also after the memory that it may be a view of has grown and detached it. */
function reference<T extends ArrayBufferView>(array: T, memory: WebAssembly.Memory): () => T {
  if (array.buffer !== memory.buffer) return () => array;
  const { byteOffset } = array;
  const { length } = array as unknown as { length: number };
  const View = array.constructor as new (buffer: ArrayBufferLike, offset: number, length: number) => T;
  return () => new View(memory.buffer, byteOffset, length);
}

function references({ kind, parts }: Source, memory: WebAssembly.Memory): (() => Source["parts"][number])[] {
  // Of arrays a copy has been made, whose buffer is better not asked for: that would make one.
  return parts.map((part) => (kind === "Array" ? () => part : reference(part, memory)));
}
