import { choice } from "./errors.ts";

/** The typed arrays of logits in a batch. A Uint16Array holds the bits of 16-bit floats: not every runtime has a Float16Array. */
export interface LogitsArrays {
  float32: Float32Array;
  float64: Float64Array;
  float16: Uint16Array;
  bfloat16: Uint16Array;
}

/** The name of a type of logits. */
export type LogitsType = keyof LogitsArrays;

/** What rows are compared with: labels (false), soft targets (true), or target logits of the same type ("logits"). */
export type TargetsType = boolean | "logits";

/** The typed arrays of targets. */
export type TargetsOf<L extends LogitsType, T extends TargetsType> = T extends "logits"
  ? LogitsArrays[L]
  : T extends true
    ? Float32Array
    : undefined;

/** The name of these targets in messages. */
export function targetsName(targets: TargetsType): string {
  return targets === "logits" ? "target logits" : "soft targets";
}

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

/** Returns the name of a type of logits, or throws. */
export function logitsType(name: unknown): LogitsType {
  return choice("logits", name, Object.keys(LOGITS) as LogitsType[]);
}
