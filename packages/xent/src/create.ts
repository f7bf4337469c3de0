import { PAGE } from "./abi.ts";
import { compile, compileAsync, hasRelaxedModule } from "./compile.ts";
import { makeEngine, openPlace } from "./engine.ts";
import { checkNames, choice, integer, show, wrongType } from "./errors.ts";
import { bestVariant, hasRelaxedSimd, type Variant } from "./features.ts";
import { variantOf } from "./load.ts";
import { NoWorker, Pool } from "./pool/pool.ts";
import type { PoolWorker } from "./pool/spawn.ts";
import { availableParallelism, hasThreads } from "./runtime.ts";
import type { WasmModule } from "./wasm.ts";
import { type SharedXent, Xent } from "./xent.ts";

/** How an instance is made. */
export interface XentOptions {
  /**
   * The number of threads, including the calling one; "auto": as many as can run in parallel here. Default 1. If threads cannot share
   * a memory (a page without cross-origin isolation), there is one, and `threads` of the instance is 1. "auto" also gives one thread
   * if workers are forbidden or do not start.
   */
  threads?: number | "auto" | undefined;
  /** "auto" (default): fused multiply-add if the engine has it. "simd128": the same bits on every machine. */
  variant?: "auto" | Variant | undefined;
  /** The most bytes that the memory may have. Default 4 GiB, which is also the maximum. */
  maxBytes?: number | undefined;
  /** Whether the memory can be shared with workers of your own. Default: whether there is more than one thread. */
  shared?: boolean | undefined;
  /**
   * Creates a worker that imports `xent/worker`, for each thread but the first. Default: a worker from a source string in this
   * package, which a Content-Security-Policy may forbid.
   */
  createWorker?: (() => PoolWorker) | undefined;
  /**
   * The kernel, compiled from one of this version's .wasm files, for environments that do not allow compiling at run time. A shared
   * memory needs a file whose name ends in -shared. Default: compiled from the module in this package.
   */
  module?: WasmModule | undefined;
}

/** Options of {@link createXentSync}. */
export interface XentSyncOptions extends Omit<XentOptions, "threads" | "createWorker"> {
  threads?: 1 | undefined;
}

/** Creates an instance with one thread. The first call compiles the kernel on this thread, in a few milliseconds. */
export function createXentSync(options?: XentSyncOptions): Xent {
  const settings = readXentOptions(options);
  const { threads, auto, variant, alone, module } = settings;
  if (threads !== 1 && !auto)
    throw new RangeError('"threads" expected 1: createXentSync cannot wait for workers, createXent can');
  return instance(settings, module ?? compile(variant, alone));
}

/**
 * Creates an instance, with a pool of workers if `threads` is more than 1. The workers sleep while idle, do not keep the process
 * alive, and end with `dispose`.
 *
 * Rejects with Error if a worker does not start, unless `threads` is "auto".
 */
export async function createXent(options?: XentOptions): Promise<Xent> {
  const settings = readXentOptions(options);
  const { threads, auto, variant, alone, module } = settings;
  if (threads > 1) {
    try {
      return await withPool(settings);
    } catch (error) {
      // createWorker returned something that is not a worker, which is an error in any environment.
      if (!auto || error instanceof NoWorker) throw error;
    }
  }
  return instance(settings, module ?? (await compileAsync(variant, alone)));
}

async function withPool({ threads, variant, maxBytes, module, createWorker }: Settings): Promise<Xent> {
  const compiled = module ?? (await compileAsync(variant, true));
  const { engine, heap } = openPlace(compiled, maxBytes, true);
  const { memory, kernel, scratch } = engine;
  const allocate = (bytes: number): number => heap.allocateZeroed(bytes);
  const pool = await Pool.start({ memory, module: compiled, kernel, scratch, allocate, threads, createWorker });
  return new Xent(compiled, variant, { ...engine, pool }, heap);
}

function instance({ variant, maxBytes, alone }: Settings, module: WebAssembly.Module): Xent {
  const { engine, heap } = openPlace(module, maxBytes, alone);
  return new Xent(module, variant, engine, heap);
}

/** In a worker: creates an instance over a memory whose owner called `share()`. It runs batches that were shared with it. */
export function attach(shared: SharedXent): Xent {
  // The objects may come from another realm.
  const kinds = [shared?.memory, shared?.module].map((value) => Object.prototype.toString.call(value));
  if (kinds.join() !== "[object WebAssembly.Memory],[object WebAssembly.Module]") {
    throw wrongType("shared", "what xent.share() returns", shared);
  }
  const engine = makeEngine(shared.module, shared.memory, shared.workspace, shared.id);
  return new Xent(shared.module, shared.variant, engine, undefined);
}

const OPTIONS = ["threads", "variant", "maxBytes", "shared", "createWorker", "module"];
const MOST_THREADS = 256;

interface Settings {
  readonly threads: number;
  /** Whether fewer threads are acceptable. */
  readonly auto: boolean;
  readonly variant: Variant;
  readonly maxBytes: number | undefined;
  /** Whether the memory is shared if there is only one thread. */
  readonly alone: boolean;
  readonly createWorker: (() => PoolWorker) | undefined;
  readonly module: WebAssembly.Module | undefined;
}

function readXentOptions(options: XentOptions | undefined): Settings {
  if (options !== undefined) checkNames("options", options, OPTIONS);
  const { threads: asked, variant: wanted, maxBytes, shared, createWorker, module } = options ?? {};
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

/** Asks the environment for threads only if they are wanted. */
function readThreads(threads: unknown = 1, mayShare: boolean): number {
  if (threads === "auto") return mayShare && hasThreads() ? Math.min(availableParallelism(), MOST_THREADS) : 1;
  if (typeof threads === "string") throw wrongType("threads", 'an integer or "auto"', threads);
  const count = integer("threads", threads, 1, MOST_THREADS);
  return count === 1 || !mayShare || hasThreads() ? count : 1;
}

function readVariant(asked: unknown, module: WebAssembly.Module | undefined): Variant {
  const variant = asked === undefined ? "auto" : choice("variant", asked, ["auto", "simd128", "relaxed"]);
  if (module !== undefined) {
    const found = variantOf(module);
    if (variant === "auto" || variant === found) return found;
    throw new RangeError(`"variant" expected ${show(found)}, which "module" is, got ${show(variant)}`);
  }
  if (variant === "auto") return bestVariant(hasRelaxedModule);
  if (variant === "relaxed" && !(hasRelaxedModule && hasRelaxedSimd())) {
    throw new RangeError('"variant" expected "auto" or "simd128": this engine has no relaxed SIMD');
  }
  return variant;
}
