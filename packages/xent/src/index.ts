/**
 * Sparse softmax cross-entropy with logits. For a row of logits x and an integer label y
 *
 *     loss = -log(softmax(x)[y]) = log(sum_j exp(x_j - m)) - (x_y - m),   m = max_j x_j
 *     d loss / d x_j = softmax(x)_j - [j = y]
 *
 * within 2.5 ulp of f32 in the loss and 4 in the gradient: crates/kernel/src/lib.rs has the whole contract.
 *
 * @module
 */

// The modules. Imports go one way: each module imports only modules below it.
//
//   one-call       the one-call functions, over a memory that they share
//   create         createXent, createXentSync, attach: from options to an instance
//   xent           an instance: a memory, a kernel, and its batches
//   batch          a batch: its arrays, runs, and partials
//   shard-run      the runs of a batch that has some of the classes
//   call           the arguments of a one-call function, checked and prepared for a batch
//   run            a checked call becomes a job, on this thread or on the pool
//   time-slices    a run on this thread that yields every few milliseconds
//   plan           the memory of a batch
//
//   engine         a kernel over a memory, with the working memory of a thread and its jobs
//   compile        the kernel's module, compiled from the embedded wasm
//   embedded       a module as text, compiled as either variant
//   unfuse         from the relaxed variant to simd128
//   load           a module, instantiated over a memory
//   memory         the WebAssembly.Memory, and the only allocator in it
//   job            the job record
//
//   pool/pool      workers over one shared memory
//   pool/worker    what a worker runs
//   pool/work      how a thread works on a job
//   pool/schedule  how a job is divided among threads
//   pool/spawn     a worker, in every runtime
//
//   shards/shard     the partials of such a batch, and its gradient's records
//   shards/own       whether merged partials are those of the batch
//   shards/loss      from merged partials to losses
//   shards/codec     partials and totals as bytes
//   shards/binary-file  what both file formats have in common
//   shards/partials  merging
//   shards/divergence  merging, and the loss, of a divergence
//   shards/totals    exact sums of results
//   shards/valid     which values partials may have
//   shards/columns   the arrays of partials
//   shards/exact     sums without rounding
//   shards/scale     the power of two of a shard's sums
//
//   linear/index     xent/linear, a bundle of its own: of this file it has the types only
//   linear/create    createLinear: a layer in the memory of an instance
//   linear/linear    a layer: its surface, and its steps on the pool or this thread
//   linear/steps     a run of a layer: products and losses, chunk by chunk, or tile by tile
//   linear/prepare   the options and labels of a run, checked
//   linear/result    what a run returns
//   linear/layer     features, weight and bias, of the layer or of that of its targets
//   linear/layer-memory  the arrays of a layer: views of its memory
//   linear/plan      what a layer takes, and where it lies
//   linear/product   the record of a product
//   linear/modules   the products' module, compiled from the embedded wasm
//
//   options        the options of a run
//   divergence     the options of a divergence, and which rows count
//   inputs         logits and soft targets of the caller
//   labels         labels of the caller
//   layout         where the logits of each row lie
//   result         the types of results
//   views          the arrays of a batch: views of its memory
//   logits         the typed arrays of each type of logits
//   typed-array    what a typed array is, whatever properties it has
//   nested         nested arrays
//   half           16-bit floats
//
//   runtime        workers, cores and timers of the runtime
//   features       what the engine supports
//   errors         every error that is thrown
//   abi            the interface to the kernel
//   wasm           types of WebAssembly
//
//   edge/compile, edge/runtime, edge/worker  replace compile, runtime and the source of the workers in edge runtimes;
//                                            edge/linear-modules replaces linear/modules; edge/wasm declares the imports of .wasm files

export type { Batch } from "./batch.ts";
export type { XentOptions, XentSyncOptions } from "./create.ts";
export { attach, createXent, createXentSync } from "./create.ts";
export type { DivergenceOptions, Mask } from "./divergence.ts";
export { WorkerError } from "./errors.ts";
export type { Variant } from "./features.ts";
export type { Logits, Targets } from "./inputs.ts";
export type { Labels, LabelsArrays, LabelsType } from "./labels.ts";
export type { GradientArrays, LogitsArrays, LogitsType, LossArrays, TargetsOf, TargetsType } from "./logits.ts";
export type { NestedArray } from "./nested.ts";
export {
  klDivergenceWithLogits,
  softmaxCrossEntropyWithLogits,
  sparseSoftmaxCrossEntropyWithLogits,
} from "./one-call.ts";
export type { LossOptions, Reduction, ShapeOptions, Weights } from "./options.ts";
export type { BatchGradient, BatchOfRows, BatchOfShape, BatchSpec, BatchTypes, SharedBatch } from "./plan.ts";
export type { PoolWorker } from "./pool/spawn.ts";
export type {
  Losses,
  LossResult,
  OwnArrays,
  OwnInt32Array,
  OwnResult,
  OwnUint8Array,
  WithCorrect,
  WithGradient,
  WithPredictions,
} from "./result.ts";
export type { RunOptions, RunResult } from "./run.ts";
export { decodePartials, decodeTotals, encodePartials, encodeTotals } from "./shards/codec.ts";
export type { Partials, PartialsSettings } from "./shards/columns.ts";
export { lossFromPartials, type PartialsResult } from "./shards/loss.ts";
export { mergePartials } from "./shards/partials.ts";
export type { PartialsOptions, ShardOptions } from "./shards/shard.ts";
export { type RowsResult, Totals } from "./shards/totals.ts";
export type { WasmMemory, WasmModule } from "./wasm.ts";
export type { GradientOf, OneCallResult, SharedXent, Xent } from "./xent.ts";
