import { PAGE } from "./abi.ts";
import { compile, compileAsync, hasRelaxedModule } from "./compile.ts";
import { makeEngine, WORKSPACE_BYTES } from "./engine.ts";
import { checkNames, choice, integer, show, wrongType } from "./errors.ts";
import { fuses, hasRelaxedSimd, type Variant } from "./features.ts";
import { variantOf } from "./load.ts";
import { Heap } from "./memory.ts";
import { NoWorker, Pool } from "./pool/pool.ts";
import type { PoolWorker } from "./pool/spawn.ts";
import { availableParallelism, hasThreads } from "./runtime.ts";
import type { WasmModule } from "./wasm.ts";
import { type SharedXent, Xent } from "./xent.ts";

/** How an instance is made. */
export interface XentOptions {
  /**
   * Threads, the calling one among them; "auto": as many as run at once here. Default 1. Where threads can not share a memory (a
   * page without cross-origin isolation) there is one, and `threads` of the instance says so. "auto" gives one thread, too, where
   * workers are forbidden or do not start.
   */
  threads?: number | "auto" | undefined;
  /** "auto" (default): fused multiply-add where the engine has it. "simd128": the same bits on every machine. */
  variant?: "auto" | Variant | undefined;
  /** Ceiling of the memory in bytes. Default 4 GiB, which is also the most. */
  maxBytes?: number | undefined;
  /** Whether the memory can be shared with workers of your own. Default: whether there is more than one thread. */
  shared?: boolean | undefined;
  /**
   * Makes a worker that imports `xent/worker`, for each thread but the first. Default: one from a source in this package, which
   * a Content-Security-Policy may forbid.
   */
  createWorker?: (() => PoolWorker) | undefined;
  /**
   * The kernel, compiled from one of this version's .wasm files, where nothing may be compiled at run time. A shared memory
   * takes those whose names end in -shared. Default: compiled from what this package contains.
   */
  module?: WasmModule | undefined;
}

/** How an instance of one thread is made. */
export interface XentSyncOptions extends Omit<XentOptions, "threads" | "createWorker"> {
  threads?: 1 | undefined;
}

/** An instance of one thread; the kernel is compiled on it (a few milliseconds, the first time). */
export function createXentSync(options?: XentSyncOptions): Xent {
  const settings = readXentOptions(options);
  const { threads, auto, variant, maxBytes, alone, module } = settings;
  if (threads !== 1 && !auto)
    throw new RangeError('"threads" expected 1: createXentSync can not wait for workers, createXent can');
  return instance(settings, module ?? compile(variant, alone), new Heap(maxBytes, alone));
}

/**
 * An instance, with a pool of workers where `threads` says so. They sleep when there is nothing to do, keep no process alive,
 * and end with `dispose`.
 *
 * Rejects with Error where a worker does not start, unless `threads` is "auto".
 */
export async function createXent(options?: XentOptions): Promise<Xent> {
  const settings = readXentOptions(options);
  const { threads, auto, variant, maxBytes, alone, module } = settings;
  if (threads > 1) {
    try {
      return await withPool(settings);
    } catch (error) {
      // What is no worker is no matter of the environment.
      if (!auto || error instanceof NoWorker) throw error;
    }
  }
  const heap = new Heap(maxBytes, alone);
  return instance(settings, module ?? (await compileAsync(variant, alone)), heap);
}

async function withPool({ threads, variant, maxBytes, module, createWorker }: Settings): Promise<Xent> {
  const heap = new Heap(maxBytes, true);
  const compiled = module ?? (await compileAsync(variant, true));
  const engine = makeEngine(compiled, heap.memory, heap.allocateZeroed(WORKSPACE_BYTES));
  const { memory, kernel, scratch } = engine;
  const allocate = (bytes: number): number => heap.allocateZeroed(bytes);
  const pool = await Pool.start({ memory, module: compiled, kernel, scratch, allocate, threads, createWorker });
  return new Xent(compiled, variant, { ...engine, pool }, heap);
}

function instance({ variant }: Settings, module: WebAssembly.Module, heap: Heap): Xent {
  return new Xent(module, variant, makeEngine(module, heap.memory, heap.allocateZeroed(WORKSPACE_BYTES)), heap);
}

/** In a worker: an instance over a memory whose owner called `share()`. It runs batches that were shared with it. */
export function attach(shared: SharedXent): Xent {
  // Of whichever realm they are.
  const kinds = [shared?.memory, shared?.module].map((value) => Object.prototype.toString.call(value));
  if (kinds.join() !== "[object WebAssembly.Memory],[object WebAssembly.Module]") {
    throw wrongType("shared", "what xent.share() returns", shared);
  }
  const engine = makeEngine(shared.module, shared.memory, shared.workspace);
  return new Xent(shared.module, shared.variant, engine, undefined);
}

const OPTIONS = ["threads", "variant", "maxBytes", "shared", "createWorker", "module"];
const MOST_THREADS = 256;

interface Settings {
  readonly threads: number;
  /** Whether fewer threads will do. */
  readonly auto: boolean;
  readonly variant: Variant;
  readonly maxBytes: number | undefined;
  /** Whether the memory of a single thread is shared. */
  readonly alone: boolean;
  readonly createWorker: (() => PoolWorker) | undefined;
  readonly module: WebAssembly.Module | undefined;
}

function readXentOptions(options: XentOptions = {}): Settings {
  checkNames("options", options, OPTIONS);
  const { threads: asked, variant: wanted, maxBytes, shared, createWorker, module } = options;
  if (maxBytes !== undefined) integer("maxBytes", maxBytes, 2 * PAGE, 2 ** 32);
  if (createWorker !== undefined && typeof createWorker !== "function") {
    throw wrongType("createWorker", "a function that makes a worker", createWorker);
  }
  const auto = asked === "auto";
  const threads = readThreads(asked, shared !== false);
  if (shared !== undefined && typeof shared !== "boolean") throw wrongType("shared", "true or false", shared);
  if (threads > 1 && shared === false)
    throw new RangeError(`"shared" expected true: ${threads} threads share their memory`);
  const variant = readVariant(wanted, module);
  return { threads, auto, variant, maxBytes, alone: shared ?? false, createWorker, module };
}

/** The environment is asked for threads only where they are wanted. */
function readThreads(threads: unknown = 1, mayShare: boolean): number {
  if (threads === "auto") return mayShare && hasThreads() ? Math.min(availableParallelism(), MOST_THREADS) : 1;
  if (typeof threads === "string") throw wrongType("threads", 'an integer or "auto"', threads);
  const count = integer("threads", threads, 1, MOST_THREADS);
  return count === 1 || !mayShare || hasThreads() ? count : 1;
}

function readVariant(asked: unknown = "auto", module: WebAssembly.Module | undefined): Variant {
  const variant = choice("variant", asked, ["auto", "simd128", "relaxed"]);
  if (module !== undefined) {
    const found = variantOf(module);
    if (variant === "auto" || variant === found) return found;
    throw new RangeError(`"variant" expected ${show(found)}, which "module" is, got ${show(variant)}`);
  }
  const relaxed = hasRelaxedModule && hasRelaxedSimd();
  if (variant === "relaxed" && !relaxed) {
    throw new RangeError('"variant" expected "auto" or "simd128": this engine has no relaxed SIMD');
  }
  if (variant !== "auto") return variant;
  // Where multiply-add is not fused, relaxed has the same bits, and is slower.
  return relaxed && fuses() ? "relaxed" : "simd128";
}
