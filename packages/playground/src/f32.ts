// The loss in its usual forms, with every step rounded to f32, and the exact loss.
import { sparseSoftmaxCrossEntropyWithLogits } from "xent";

const f32 = Math.fround;

export interface Losses {
  naive: number;
  stable: number;
  xent: number;
  exact: number;
}

/** The logits of the comparison, rounded to f32 as for any library. */
export function moved(logits: readonly number[], scale: number, offset: number): number[] {
  return logits.map((x) => f32(f32(x * scale) + offset));
}

/** The losses of rows with the same label. */
export function lossesOf(rows: readonly number[][], label: number): Losses[] {
  const { loss } = sparseSoftmaxCrossEntropyWithLogits(rows, new Int32Array(rows.length).fill(label));
  return rows.map((x, i) => ({
    naive: naive(x, label),
    stable: stable(x, label),
    xent: at(loss, i),
    exact: exact(x, label),
  }));
}

export const COMPUTED = ["naive", "stable", "xent"] as const;
export type Computed = (typeof COMPUTED)[number];

export interface Errors {
  difference: number;
  /** The difference relative to the exact loss. */
  relative: number;
}

export function errorOf(losses: Losses, of: Computed): Errors {
  const difference = Math.abs(losses[of] - losses.exact);
  return { difference, relative: difference === 0 ? 0 : difference / losses.exact };
}

/** -log(softmax(x)[y]), as in the textbook. */
function naive(x: readonly number[], label: number): number {
  const e = x.map((v) => f32(Math.exp(v)));
  const probability = f32(at(e, label) / sum(e));
  // + 0 turns -0 into 0
  return f32(-Math.log(probability)) + 0;
}

/** log S - (x_y - m), in the steps of TensorFlow's kernel. */
function stable(x: readonly number[], label: number): number {
  const max = Math.max(...x);
  const shifted = x.map((v) => f32(v - max));
  const logSum = f32(Math.log(sum(shifted.map((v) => f32(Math.exp(v))))));
  return f32(logSum - at(shifted, label));
}

/** In f64, without cancellation: the largest term is left out of the sum. */
function exact(x: readonly number[], label: number): number {
  const max = Math.max(...x);
  const top = x.indexOf(max);
  const others = x.reduce((rest, v, j) => rest + (j === top ? 0 : Math.exp(v - max)), 0);
  return Math.log1p(others) + (max - at(x, label));
}

function sum(values: readonly number[]): number {
  return values.reduce((total, v) => f32(total + v), 0);
}

function at(values: ArrayLike<number>, index: number): number {
  return values[index] ?? Number.NaN;
}
