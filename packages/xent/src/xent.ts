/// <reference lib="esnext.disposable" preserve="true" />
import { Batch, type BatchOwner, type LossResult } from "./batch.ts";
import { type Engine, owned, WORKSPACE_BYTES } from "./engine.ts";
import { bufferOf, byteOffsetOf, choice, lengthOf, typedArrayKind, wrongType } from "./errors.ts";
import type { Variant } from "./features.ts";
import { assertLabels, type Labels, type LabelsType, labelsTypeOf, readLabels } from "./labels.ts";
import { type Layout, layoutOfShape } from "./layout.ts";
import type { Heap } from "./memory.ts";
import { type LossOptions, ownWeights, readOptions, type Settings, type ShapeOptions } from "./options.ts";
import { type BatchSpec, planBatch, type SharedBatch } from "./plan.ts";
import { assertAttached, copyLogits, type GradientArrays, type Logits, type LogitsType, measure } from "./views.ts";

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
  readonly memory: WebAssembly.Memory;
  readonly #engine: Engine;
  readonly #module: WebAssembly.Module;
  /** Undefined in an attached instance: only the owner of a memory allocates in it. */
  readonly #heap: Heap | undefined;
  #disposed = false;

  /** Made by `createXent`, `createXentSync` and `attach`. */
  constructor(module: WebAssembly.Module, variant: Variant, engine: Engine, heap: Heap | undefined) {
    this.variant = variant;
    this.memory = engine.memory;
    this.#module = module;
    this.#engine = engine;
    this.#heap = heap;
  }

  /** Threads that a run uses, the calling one among them where it may wait. Fewer than asked for when workers have ended. */
  get threads(): number {
    return this.#engine.pool?.threads ?? 1;
  }

  /**
   * Rows of logits and labels that lie in the kernel's memory, for as many runs as you like. All zero at first.
   *
   * Throws RangeError where they do not fit below `maxBytes`; what exists stays as it is.
   */
  createBatch<L extends LogitsType = "float32", K extends LabelsType = "int32">(spec: BatchSpec<L, K>): Batch<L, K> {
    this.#assertAlive();
    const heap = owned(this.#heap, "createBatch");
    const { bytes, at } = planBatch(spec);
    return this.#batch(heap, at(heap.allocateZeroed(bytes)));
  }

  #batch<L extends LogitsType, K extends LabelsType>(heap: Heap, plan: SharedBatch<L, K>): Batch<L, K> {
    // The block begins with the logits.
    const addresses = [plan.regions.logits];
    const owner: BatchOwner = {
      assertAlive: () => this.#assertAlive(),
      allocate: (more) => {
        const address = heap.allocate(more);
        addresses.push(address);
        return address;
      },
      release: () => {
        for (const address of addresses) heap.free(address);
      },
    };
    return new Batch(this.#engine, plan, owner);
  }

  /** A batch that the owner of this memory has shared. Its memory stays the owner's. */
  attachBatch<L extends LogitsType, K extends LabelsType>(shared: SharedBatch<L, K>): Batch<L, K> {
    this.#assertAlive();
    if (typeof shared?.regions?.logits !== "number") throw wrongType("shared", "what batch.share() returns", shared);
    return new Batch(this.#engine, shared, {
      assertAlive: () => this.#assertAlive(),
      allocate: () => {
        throw new TypeError("share() expected the batch's owner: call it there, once a worker");
      },
      release: () => {},
    });
  }

  /** As the function of this name, with this instance's memory: copies in and out. */
  sparseSoftmaxCrossEntropyWithLogits<L extends Logits>(
    logits: L,
    labels: Labels,
    options?: LossOptions & ShapeOptions,
  ): LossResult<GradientOf<L>> {
    this.#assertAlive();
    owned(this.#heap, "sparseSoftmaxCrossEntropyWithLogits");
    assertLabels(labels);
    assertAttached("labels", labels);
    const call = readCall(logits, ownWeights(options, this.memory), labels);
    const { rows, classes } = call.layout;
    const count = countOf(labels);
    if (count !== rows) {
      throw new RangeError(`"labels" has ${count} rows, which do not fit ${rows} rows of ${classes} logits`);
    }
    const { ignoreIndex, classWeights, invalidLabels } = call.settings;
    const rules = { classes, ignoreIndex, classWeights, strict: invalidLabels === "throw", shift: 0, sequence: rows };
    readLabels(labels, rules, 0, rows);
    const source = reference(labels, this.memory);
    const type = labelsTypeOf(labels);
    return this.#once(logits, call, { labels: type ?? "int64" }, (batch) => {
      if (type === undefined) (batch.labels as BigInt64Array).set(Array.from(labels as readonly number[], toBigInt));
      else (batch.labels as Int32Array).set(source() as Int32Array);
    });
  }

  /** As the function of this name, with this instance's memory: copies in and out. */
  softmaxCrossEntropyWithLogits<L extends Logits>(
    logits: L,
    targets: Float32Array,
    options?: LossOptions & ShapeOptions,
  ): LossResult<GradientOf<L>> {
    this.#assertAlive();
    owned(this.#heap, "softmaxCrossEntropyWithLogits");
    const call = readCall(logits, ownWeights(options, this.memory), undefined);
    const { elements } = call.layout;
    if (typedArrayKind(targets) !== "Float32Array") throw wrongType("targets", "a Float32Array", targets);
    assertAttached("targets", targets);
    const count = lengthOf(targets);
    if (count !== elements) {
      throw new RangeError(`"targets" expected one for each of ${elements} logits, got ${count}`);
    }
    if (call.settings.ignoreIndex !== undefined) throw new TypeError('"ignoreIndex" expected labels, not soft targets');
    const source = reference(targets, this.memory);
    return this.#once(logits, call, { targets: true }, (batch) => batch.targets?.set(source()));
  }

  #once<L extends Logits>(
    logits: L,
    { type, layout, lossOptions, settings }: Call,
    spec: { labels?: LabelsType; targets?: boolean },
    fill: (batch: Batch<LogitsType, LabelsType>) => void,
  ): LossResult<GradientOf<L>> {
    const source = reference(logits, this.memory);
    const { gradient } = settings;
    // Not `using`: that needs a Symbol.dispose, which not every engine has.
    const heap = owned(this.#heap, "one call");
    // Not the caller's shape: it is read once.
    const { rows, classes, inner } = layout;
    const shape = [rows / inner, classes, inner];
    const { bytes, at } = planBatch<LogitsType, LabelsType>({ shape, axis: 1, ...spec, logits: type, gradient });
    const batch = this.#batch(heap, at(heap.allocate(bytes)));
    try {
      copyLogits(source(), batch.logits);
      fill(batch);
      const result = batch.run(lossOptions);
      result.loss = result.loss.slice();
      result.logSumExp = result.logSumExp.slice();
      if (result.gradient) result.gradient = result.gradient.slice();
      if (result.predictions) result.predictions = result.predictions.slice();
      return result as LossResult<GradientOf<L>>;
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
    const heap = owned(this.#heap, "share");
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

/** The gradient of float64 logits is float64, all others' is float32. */
export type GradientOf<L> = L extends Float64Array ? GradientArrays["float64"] : GradientArrays["float32"];

/** One call, checked. */
interface Call {
  readonly type: LogitsType;
  readonly layout: Layout;
  readonly lossOptions: LossOptions;
  readonly settings: Settings;
}

function readCall(logits: Logits, options: (LossOptions & ShapeOptions) | undefined, labels: Labels | undefined): Call {
  if (options !== undefined && (typeof options !== "object" || options === null)) {
    throw wrongType("options", "an object", options);
  }
  const all: LossOptions & ShapeOptions = options ?? {};
  const { shape: stated, axis = -1, logits: bits, ...lossOptions } = all;
  const found = measure(logits, bits === undefined ? undefined : choice("logits", bits, ["float16", "bfloat16"]));
  const shape = stated ?? found.shape ?? shapeOfRows(found.elements, labels);
  const layout = layoutOfShape(shape, axis);
  if (layout.elements !== found.elements) {
    throw new RangeError(`"shape" of ${layout.elements} elements does not fit ${found.elements} logits`);
  }
  const settings = readOptions(lossOptions, layout.rows, layout.classes);
  return { type: found.type, layout, lossOptions, settings };
}

function shapeOfRows(elements: number, labels: Labels | undefined): readonly number[] {
  if (labels === undefined) throw wrongType("shape", "the sizes of all axes of the logits", undefined);
  const rows = countOf(labels);
  if (rows === 0 && elements === 0) return [0, 1];
  if (elements === 0) throw new RangeError('"logits" expected at least one class, got 0 logits');
  if (rows === 0 || elements % rows !== 0) {
    throw new RangeError(`"labels" has ${rows} rows, which do not divide ${elements} logits`);
  }
  return [rows, elements / rows];
}

/** A label of an ordinary array. Where it is no exact number it is no class either, and must not become one. */
function toBigInt(label: number): bigint {
  return Number.isSafeInteger(label) ? BigInt(label) : -(2n ** 62n);
}

/** How many labels there are. */
function countOf(labels: Labels): number {
  return ArrayBuffer.isView(labels) ? lengthOf(labels) : labels.length;
}

type ViewOf<T> = new (buffer: ArrayBufferLike, offset: number, length: number) => T;

/** A function that gives this array, also after the memory that it may be a view of has grown and detached it. */
function reference<T extends Logits | Labels>(array: T, memory: WebAssembly.Memory): () => T {
  if (!ArrayBuffer.isView(array) || bufferOf(array) !== memory.buffer) return () => array;
  const [byteOffset, length] = [byteOffsetOf(array), lengthOf(array)];
  const View = Reflect.get(globalThis, typedArrayKind(array) as string) as ViewOf<T>;
  return () => new View(memory.buffer, byteOffset, length);
}
