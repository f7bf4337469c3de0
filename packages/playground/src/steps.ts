import { sparseSoftmaxCrossEntropyWithLogits } from "xent";
import type { OptionName } from "./state.ts";

/** Every step of one row, in f64; the kernel computes loss and gradient. */
export interface Steps {
  max: number;
  shifted: number[];
  exp: number[];
  sum: number;
  softmax: number[];
  logSum: number;
  kernel: KernelRow;
}

/** The results of xent for one row. */
export interface KernelRow {
  loss: number;
  gradient: number[];
}

export function stepsOf(logits: readonly number[], label: number): Steps {
  const max = Math.max(...logits);
  const shifted = logits.map((x) => x - max);
  const exp = shifted.map(Math.exp);
  const sum = exp.reduce((a, b) => a + b, 0);
  return {
    max,
    shifted,
    exp,
    sum,
    softmax: exp.map((e) => e / sum),
    logSum: Math.log(sum),
    kernel: kernelRow(logits, label, {}),
  };
}

type KernelOptions = Parameters<typeof sparseSoftmaxCrossEntropyWithLogits>[2];

export function kernelRow(logits: readonly number[], label: number, options: KernelOptions): KernelRow {
  const result = sparseSoftmaxCrossEntropyWithLogits([logits], [label], { ...options, gradient: true });
  return { loss: result.loss[0] ?? Number.NaN, gradient: Array.from(result.gradient ?? []) };
}

/** The option in the form that xent takes. The class weights are 1, except the label's. */
export function kernelOptions(option: OptionName, value: number, classes: number, label: number): KernelOptions {
  if (option !== "classWeights") return { [option]: value };
  return { classWeights: Array.from({ length: classes }, (_, j) => (j === label ? value : 1)) };
}
