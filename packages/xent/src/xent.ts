import { HEAP_START, JOB_BYTES, PAGE, SCRATCH_BYTES } from "./abi.ts";
import { Batch, type BatchSpec, type Engine, type LossResult, planBatch, type SharedBatch } from "./batch.ts";
import { integer, show, wrongType, wrongValue } from "./errors.ts";
import { hasRelaxedSimd, type Variant } from "./features.ts";
import { assertLabels, copyLabels, type Labels, readLabels } from "./labels.ts";
import { bestVariant, compile, compileAsync, instantiate } from "./load.ts";
import { Heap } from "./memory.ts";
import { type LossOptions, readOptions } from "./options.ts";
import { assertAttached, copyLogits, type Logits, measure } from "./views.ts";

/** How an instance is made. */
export interface XentOptions {
  /** "auto" (default): fused multiply-add where the engine has it. "simd128": the same bits on every machine. */
  variant?: "auto" | Variant;
  /** Ceiling of the memory in bytes. Default 4 GiB, which is also the most. */
  maxBytes?: number;
  /** Whether the memory can be shared with workers. Default false. */
  shared?: boolean;
}

/** An instance's memory as data, for one worker: send it there, and call {@link attach} with it. */
export interface SharedXent {
  readonly memory: WebAssembly.Memory;
  readonly module: WebAssembly.Module;
  readonly variant: Variant;
  /** The worker's own working memory. */
  readonly workspace: number;
}

/** One WebAssembly.Memory, and a kernel over it. */
export class Xent implements Disposable {
  /** The build of the kernel that runs. */
  readonly variant: Variant;
  /** Threads that a run uses. */
  readonly threads: number = 1;
  readonly memory: WebAssembly.Memory;
  readonly #engine: Engine;
  readonly #module: WebAssembly.Module;
  /** Undefined in an attached instance: only the owner of a memory allocates in it. */
  readonly #heap: Heap | undefined;
  #disposed = false;

  /** Made by `createXent`, `createXentSync` and `attach`. */
  constructor(
    module: WebAssembly.Module,
    variant: Variant,
    memory: WebAssembly.Memory,
    workspace: number,
    heap?: Heap,
  ) {
    this.variant = variant;
    this.memory = memory;
    this.#module = module;
    this.#heap = heap;
    this.#engine = { memory, kernel: instantiate(module, memory), job: workspace, scratch: workspace + JOB_ROOM };
  }

  /**
   * Rows of logits and labels that lie in the kernel's memory, for as many runs as you like.
   *
   * Throws RangeError where they do not fit below `maxBytes`; what exists stays as it is.
   */
  createBatch(spec: BatchSpec): Batch {
    this.#assertAlive();
    const heap = this.#owned("createBatch");
    const { bytes, at } = planBatch(spec);
    const address = heap.allocate(bytes);
    return new Batch(
      this.#engine,
      at(address),
      () => this.#assertAlive(),
      () => heap.free(address),
    );
  }

  /** A batch that the owner of this memory has shared. Its memory stays the owner's. */
  attachBatch(shared: SharedBatch): Batch {
    this.#assertAlive();
    if (typeof shared?.regions !== "object") throw wrongType("shared", "what batch.share() returns", shared);
    return new Batch(
      this.#engine,
      shared,
      () => this.#assertAlive(),
      () => {},
    );
  }

  /** As the function of this name, with this instance's memory and threads: copies in and out. */
  sparseSoftmaxCrossEntropyWithLogits(logits: Logits, labels: Labels, options?: LossOptions): LossResult {
    this.#assertAlive();
    const heap = this.#owned("sparseSoftmaxCrossEntropyWithLogits");
    const settings = readOptions(options);
    const { elements, classes: stated } = measure(logits);
    assertLabels(labels);
    assertAttached("labels", labels);
    const rows = labels.length;
    const classes = stated ?? rowLength(elements, rows);
    if (rows * classes !== elements) {
      throw new RangeError(
        `"labels" has ${rows} rows, which do not fit ${elements / classes} rows of ${classes} logits`,
      );
    }
    readLabels(labels, classes, settings.ignoreIndex, 0, rows);
    if (rows === 0) return emptyResult(settings.gradient, settings.predictions);

    const { bytes, at } = planBatch({ rows, classes, gradient: settings.gradient });
    const own = reference(logits, this.memory);
    const ownLabels = reference(labels, this.memory);
    const address = heap.allocate(bytes);
    const batch = new Batch(
      this.#engine,
      at(address),
      () => {},
      () => heap.free(address),
    );
    try {
      copyLogits(own(), batch.logits);
      copyLabels(ownLabels(), batch.labels);
      const result = batch.run(options);
      result.loss = result.loss.slice();
      result.logSumExp = result.logSumExp.slice();
      if (result.gradient) result.gradient = result.gradient.slice();
      if (result.predictions) result.predictions = result.predictions.slice();
      return result;
    } finally {
      batch.dispose();
    }
  }

  /**
   * This memory as data for one worker: it reserves the worker's own working memory, so call it once a worker.
   *
   * Throws TypeError for an instance that was not created with `shared: true`.
   */
  share(): SharedXent {
    this.#assertAlive();
    const heap = this.#owned("share");
    if (this.memory.buffer instanceof ArrayBuffer) {
      throw new TypeError("share() expected a shared memory: create the instance with shared: true");
    }
    return {
      memory: this.memory,
      module: this.#module,
      variant: this.variant,
      workspace: heap.allocate(WORKSPACE_BYTES),
    };
  }

  /** Ends the use of this instance and of its batches. The second call does nothing. */
  dispose(): void {
    this.#disposed = true;
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  #assertAlive(): void {
    if (this.#disposed) throw new TypeError("this Xent was disposed");
  }

  #owned(method: string): Heap {
    if (this.#heap === undefined) {
      throw new TypeError(
        `${method}() allocates, which only the owner of a memory does: call it there, and share the result`,
      );
    }
    return this.#heap;
  }
}

const JOB_ROOM: number = Math.ceil(JOB_BYTES / 64) * 64;
const WORKSPACE_BYTES: number = JOB_ROOM + SCRATCH_BYTES;

/** An instance; the kernel is compiled on the calling thread (a few milliseconds, the first time). */
export function createXentSync(options?: XentOptions): Xent {
  const { variant, maxBytes, shared } = readXentOptions(options);
  return own(compile(variant, shared), variant, maxBytes, shared);
}

/** As {@link createXentSync}; the kernel is compiled without blocking. */
export async function createXent(options?: XentOptions): Promise<Xent> {
  const { variant, maxBytes, shared } = readXentOptions(options);
  return own(await compileAsync(variant, shared), variant, maxBytes, shared);
}

/** In a worker: an instance over a memory whose owner called `share()`. It runs batches that were shared with it. */
export function attach(shared: SharedXent): Xent {
  if (!(shared?.memory instanceof WebAssembly.Memory)) {
    throw wrongType("shared", "what xent.share() returns", shared);
  }
  return new Xent(shared.module, shared.variant, shared.memory, shared.workspace);
}

function own(module: WebAssembly.Module, variant: Variant, maxBytes: number, shared: boolean): Xent {
  const heap = new Heap(maxBytes, shared);
  return new Xent(module, variant, heap.memory, heap.allocate(WORKSPACE_BYTES), heap);
}

const XENT_OPTIONS = ["variant", "maxBytes", "shared"];

function readXentOptions(options: XentOptions = {}): { variant: Variant; maxBytes: number; shared: boolean } {
  if (typeof options !== "object" || options === null) throw wrongType("options", "an object", options);
  for (const name of Object.keys(options)) {
    if (!XENT_OPTIONS.includes(name)) throw new TypeError(`"options" has no option ${show(name)}`);
  }
  const { variant = "auto", maxBytes = 2 ** 32, shared = false } = options;
  if (variant !== "auto" && variant !== "simd128" && variant !== "relaxed") {
    throw (typeof variant === "string" ? wrongValue : wrongType)("variant", '"auto", "simd128" or "relaxed"', variant);
  }
  if (variant === "relaxed" && !hasRelaxedSimd()) {
    throw new RangeError('"variant" expected "auto" or "simd128": this engine has no relaxed SIMD');
  }
  integer("maxBytes", maxBytes, HEAP_START + PAGE, 2 ** 32);
  if (typeof shared !== "boolean") throw wrongType("shared", "true or false", shared);
  return { variant: variant === "auto" ? bestVariant() : variant, maxBytes, shared };
}

/** Length of a row where the number of rows is known from the labels. */
function rowLength(elements: number, rows: number): number {
  if (rows === 0 && elements === 0) return 1;
  if (elements === 0) throw new RangeError('"logits" expected at least one class, got 0 logits');
  if (rows === 0 || elements % rows !== 0) {
    throw new RangeError(`"labels" has ${rows} rows, which do not divide ${elements} logits`);
  }
  return elements / rows;
}

/** A function that gives this array, also after the memory that it may be a view of has grown and detached it. */
function reference<T extends Logits | Labels>(array: T, memory: WebAssembly.Memory): () => T {
  if (!ArrayBuffer.isView(array) || array.buffer !== memory.buffer) return () => array;
  const { byteOffset, length } = array;
  const View = array.constructor as new (buffer: ArrayBufferLike, offset: number, length: number) => T;
  return () => new View(memory.buffer, byteOffset, length);
}

function emptyResult(gradient: boolean, predictions: boolean): LossResult {
  const result: LossResult = {
    loss: new Float32Array(),
    sum: 0,
    mean: 0,
    normalizer: 0,
    logSumExp: new Float32Array(),
  };
  if (gradient) result.gradient = new Float32Array();
  if (predictions) {
    result.predictions = new Int32Array();
    result.correct = 0;
  }
  return result;
}
