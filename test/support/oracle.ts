import type { LossOptions } from "xent";

/** The exact result of one row, by the formula of test/golden/README.md in f64. */
export interface ExactRow {
  loss: number;
  /** The parts whose difference is the loss, if the label has no weight or the log-sum-exp vanishes. */
  lossParts: number;
  logSumExp: number;
  gradient: number[];
  /** The parts whose differences are the entries of the gradient: only their last places are known. */
  parts: number[];
}

export interface RowInput {
  x: number[];
  /** A class, or soft targets. */
  target: number | number[];
  sampleWeight: number;
}

export function exactRow({ x, target, sampleWeight }: RowInput, options: LossOptions): ExactRow {
  const { labelSmoothing: e = 0, zLoss: z = 0, softcap: c, temperature: t = 1, classWeights } = options;
  const classes = x.length;
  const y = x.map((v) => (c === undefined ? v : c * Math.tanh(v / c)) / t);
  const slope = x.map((v) => (c === undefined ? 1 : 1 / Math.cosh(v / c) ** 2) / t);
  const q = x.map((_, j) => {
    const hard = typeof target === "number" ? Number(j === target) : (target[j] as number);
    return (classWeights?.[j] ?? 1) * ((1 - e) * hard + e / classes);
  });
  const top = y.indexOf(Math.max(...y));
  const sumBut = (skip: number): number =>
    y.reduce((sum, v, j) => sum + (j === skip ? 0 : Math.exp(v - (y[top] as number))), 0);
  const rest = sumBut(top);
  const logSumExp = (y[top] as number) + Math.log1p(rest);
  // nll_j = (lse - max) + (max - y_j): neither part cancels.
  const nll = y.map((v) => Math.log1p(rest) + ((y[top] as number) - v));
  const weighted = q.reduce((sum, weight, j) => sum + (weight === 0 ? 0 : weight * (nll[j] as number)), 0);
  const total = q.reduce((sum, weight) => sum + weight, 0);
  const alpha = total + 2 * z * logSumExp;
  const reference = typeof target === "number" ? target : top;
  const others = sumBut(reference) / (1 + rest);
  const gradient = y.map((v, j) => {
    const p = Math.exp(v - (y[top] as number)) / (1 + rest);
    const weight = q[j] as number;
    const own = total - weight - total * others + 2 * z * logSumExp * p;
    // Each form loses its small part: the first one the probabilities of others, the second one its own.
    return sampleWeight * (slope[j] as number) * (j === reference && p > 0.5 ? own : alpha * p - weight);
  });
  const parts = y.map((v, j) => {
    const p = Math.exp(v - (y[top] as number)) / (1 + rest);
    return (
      Math.abs(sampleWeight * (slope[j] as number)) *
      (Math.abs(alpha) * p + (q[j] as number) + Math.abs(2 * z * logSumExp))
    );
  });
  const ofLabel = nll[reference] as number;
  // The kernel computes the log-sum-exp from the logit of the label.
  const lossParts = total * ofLabel + 2 * z * Math.abs(logSumExp) * (Math.abs(y[reference] as number) + ofLabel);
  return {
    lossParts: Math.abs(sampleWeight) * lossParts,
    loss: sampleWeight * (weighted + z * logSumExp ** 2),
    logSumExp,
    gradient,
    parts,
  };
}
