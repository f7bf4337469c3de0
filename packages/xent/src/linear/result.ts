import type { TargetsType } from "../logits.ts";
import type { OwnResult } from "../result.ts";
import type { LinearTargets } from "./plan.ts";

/**
 * What a run returns: what a batch returns, all of it the caller's own. In rows that are ignored `loss` is 0, `logSumExp` NaN and
 * `prediction` -1: they are not computed. The gradients are views of the layer.
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
   * Of the reduced loss with respect to the temperature; NaN where there is a softcap, where the targets are logits, or where the layer
   * has no gradient of the features or of a bias that there is.
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

/** The results of rows that are all ignored. `isCounted`: whether there are labels, to count correct predictions. */
export function emptyResult(rows: number, predictions: boolean, isCounted: boolean): Rows {
  const result = { loss: new Float32Array(rows), logSumExp: new Float32Array(rows).fill(Number.NaN), sum: 0 };
  if (!predictions) return result;
  const found = { ...result, predictions: new Int32Array(rows).fill(-1) };
  return isCounted ? { ...found, correct: 0 } : found;
}

/** Writes the results of a chunk where its rows belong. */
export function gather(result: Rows, chunk: Uint32Array, found: Found): void {
  for (const [i, row] of chunk.entries()) {
    result.loss[row] = found.loss[i] as number;
    result.logSumExp[row] = found.logSumExp[i] as number;
    if (result.predictions) result.predictions[row] = found.predictions?.[i] as number;
  }
  result.sum += found.sum;
  if (result.correct !== undefined) result.correct += found.correct as number;
}
