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

// Imports go one way: index -> one-call -> create -> xent -> batch, call -> run -> views -> plan -> options, labels -> inputs -> layout,
// logits, nested, half; run -> engine -> load, memory, job, pool/pool -> work, spawn -> schedule; run -> shards/shard, whose folder
// CONTRIBUTING.md tells; all of them -> typed-array, features, abi, errors. What is in edge/ takes the place of compile, runtime and
// generated/worker where nothing may be compiled.

export type { Batch } from "./batch.ts";
export type { XentOptions, XentSyncOptions } from "./create.ts";
export { attach, createXent, createXentSync } from "./create.ts";
export { WorkerError } from "./errors.ts";
export type { Variant } from "./features.ts";
export type { Logits, Targets } from "./inputs.ts";
export type { Labels, LabelsArrays, LabelsType } from "./labels.ts";
export type { GradientArrays, LogitsArrays, LogitsType, LossArrays } from "./logits.ts";
export type { NestedArray } from "./nested.ts";
export { softmaxCrossEntropyWithLogits, sparseSoftmaxCrossEntropyWithLogits } from "./one-call.ts";
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
