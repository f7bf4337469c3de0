import type { TargetsType } from "../logits.ts";
import type { OwnResult } from "../result.ts";
import type { LinearTargets } from "./plan.ts";

/**
 * The result of a run: that of a batch, in arrays of the caller's own. Ignored rows are not computed: their loss is 0, their logSumExp
 * NaN and their prediction -1. The gradients are views of the layer.
 */
export type LinearResult<
  G extends boolean = boolean,
  P extends boolean = boolean,
  T extends LinearTargets = false,
> = OwnResult<"float32", false, P, T extends TargetsType ? T : "logits"> &
  ([G] extends [true]
    ? WithTemperatureGradient
    : [G] extends [false]
      ? { temperatureGradient?: never }
      : Partial<WithTemperatureGradient>);

/** With `gradient: true`. */
export interface WithTemperatureGradient {
  /**
   * The gradient of the reduced loss with respect to the temperature. NaN with a softcap, if the targets are logits, or if the layer has
   * no memory for the gradient of its features, or of its bias if it has one.
   */
  temperatureGradient: number;
}

/** Results of rows. */
export interface Found {
  readonly loss: Float32Array;
  readonly logSumExp: Float32Array;
  readonly predictions?: Int32Array | undefined;
  readonly correct?: number | undefined;
  readonly sum: number;
}

interface Rows {
  loss: Float32Array<ArrayBuffer>;
  logSumExp: Float32Array<ArrayBuffer>;
  predictions?: Int32Array<ArrayBuffer>;
  correct?: number;
  sum: number;
}

/** Results in which all rows are ignored. `isCounted`: whether there are labels, to count correct predictions. */
export function emptyResult(rows: number, predictions: boolean, isCounted: boolean): Rows {
  const result = { loss: new Float32Array(rows), logSumExp: new Float32Array(rows).fill(Number.NaN), sum: 0 };
  if (!predictions) return result;
  const found = { ...result, predictions: new Int32Array(rows).fill(-1) };
  return isCounted ? { ...found, correct: 0 } : found;
}

/** Copies the results of a chunk to its rows. */
export function gather(result: Rows, chunk: Uint32Array, found: Found): void {
  for (const [i, row] of chunk.entries()) {
    result.loss[row] = found.loss[i] as number;
    result.logSumExp[row] = found.logSumExp[i] as number;
    if (result.predictions) result.predictions[row] = found.predictions?.[i] as number;
  }
  result.sum += found.sum;
  if (result.correct !== undefined) result.correct += found.correct as number;
}
