import type { LogitsType, TargetsType } from "./logits.ts";

/** The results of every call. Arrays have one entry for each row. */
export interface Losses<A = Float32Array> {
  /** The loss of each row, never reduced; f64 if the logits are. */
  loss: A;
  /** Sum of the losses before they are rounded to f32, added in f64 and always in the same order. */
  sum: number;
  /** `sum / normalizer`, and 0 if that is 0. */
  mean: number;
  /** The number of rows that are not ignored; with class weights, the sum of their labels' weights. */
  normalizer: number;
  /** The number of rows that are not ignored. */
  count: number;
  /** Logarithm of the sum of the exponentials of a row's logits, after softcap and temperature. */
  logSumExp: A;
}

/** Results with `gradient: true`. */
export interface WithGradient<A> {
  /** Gradient of the reduced loss, in the layout of the logits. */
  gradient: A;
}

/** Results with `predictions: true`. */
export interface WithPredictions<I> {
  /** The first class with the largest logit, before softcap and temperature; -1 if `logSumExp` is NaN. */
  predictions: I;
}

/** Results with `predictions: true` if there are labels. */
export interface WithCorrect {
  /** The number of rows whose prediction is the label, without ignored rows. */
  correct: number;
}

/** `Parts` if they are asked for; optional if that is not known at compile time. */
type IfAsked<Asked extends boolean, Parts> = [Asked] extends [true]
  ? Parts
  : [Asked] extends [false]
    ? { [Name in keyof Parts]?: never }
    : Partial<Parts>;

/**
 * The result of a call. `A` is the type of losses and gradient, `I` that of predictions. `G` and `P` are the types of the options
 * `gradient` and `predictions`. `T`: what the call had instead of labels.
 */
export type LossResult<
  A = Float32Array,
  G extends boolean = boolean,
  P extends boolean = boolean,
  I = Int32Array,
  T extends TargetsType = TargetsType,
> = Losses<A> &
  IfAsked<G, WithGradient<A>> &
  IfAsked<P, WithPredictions<I>> &
  IfAsked<[T] extends [false] ? P : [T] extends [true | "logits"] ? false : boolean, WithCorrect>;

// TypeScript has a type for an array with an ArrayBuffer only from 5.7 on. These have it if it exists.
/** Arrays that are the caller's own, by the type of the logits. */
export interface OwnArrays {
  float32: ReturnType<typeof Float32Array.of>;
  float64: ReturnType<typeof Float64Array.of>;
  float16: ReturnType<typeof Float32Array.of>;
  bfloat16: ReturnType<typeof Float32Array.of>;
}

/** Predictions that are the caller's own. */
export type OwnInt32Array = ReturnType<typeof Int32Array.of>;

/** Bytes that are the caller's own. */
export type OwnUint8Array = ReturnType<typeof Uint8Array.of>;

/** A result that is the caller's own. */
export type OwnResult<
  L extends LogitsType = "float32",
  G extends boolean = boolean,
  P extends boolean = boolean,
  T extends TargetsType = TargetsType,
> = LossResult<OwnArrays[L], G, P, OwnInt32Array, T>;
