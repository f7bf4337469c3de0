import { choice } from "./errors.ts";

/** The typed arrays of logits in a batch. 16-bit numbers are given as their bits: not every runtime has a Float16Array. */
export interface LogitsArrays {
  float32: Float32Array;
  float64: Float64Array;
  float16: Uint16Array;
  bfloat16: Uint16Array;
}

/** The name of a type of logits. */
export type LogitsType = keyof LogitsArrays;

/** The typed arrays of gradients, by the type of the logits. */
export interface GradientArrays {
  float32: Float32Array;
  float64: Float64Array;
  float16: Float32Array;
  bfloat16: Float32Array;
}

/** The typed arrays of losses, by the type of the logits. */
export interface LossArrays {
  float32: Float32Array;
  float64: Float64Array;
  float16: Float32Array;
  bfloat16: Float32Array;
}

type Constructor<T> = {
  new (buffer: ArrayBufferLike, byteOffset: number, length: number): T;
  readonly BYTES_PER_ELEMENT: number;
};

/** Constructors by the name of the type. */
export const LOGITS: { readonly [T in LogitsType]: Constructor<LogitsArrays[T]> } = {
  float32: Float32Array,
  float64: Float64Array,
  float16: Uint16Array,
  bfloat16: Uint16Array,
};

/** Constructors of the gradient, by the type of the logits. */
export const GRADIENTS: { readonly [T in LogitsType]: Constructor<GradientArrays[T]> } = {
  float32: Float32Array,
  float64: Float64Array,
  float16: Float32Array,
  bfloat16: Float32Array,
};

/** Constructors of losses and log-sum-exps, by the type of the logits. */
export const LOSSES: { readonly [T in LogitsType]: Constructor<LossArrays[T]> } = {
  float32: Float32Array,
  float64: Float64Array,
  float16: Float32Array,
  bfloat16: Float32Array,
};

/** Throws unless this names a type of logits. */
export function logitsType(name: unknown): LogitsType {
  return choice("logits", name, Object.keys(LOGITS) as LogitsType[]);
}
