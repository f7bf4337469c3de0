import { IGNORED } from "../labels.ts";
import { isDense, type Partials } from "./columns.ts";
import { findDivergence } from "./divergence.ts";
import { ExactSum } from "./exact.ts";
import { assertPartials } from "./partials.ts";
import { above } from "./scale.ts";

/** Results of rows from the partials of all classes. Arrays have one entry for each row. */
export interface PartialsResult {
  /** The loss of each row, never reduced. */
  loss: Float32Array;
  /** The exact sum of the losses, rounded to f64. */
  sum: number;
  /** `sum / normalizer`, and 0 if that is 0. */
  mean: number;
  /** The number of rows that are not ignored; with class weights and labels, the sum of the labels' weights. */
  normalizer: number;
  /** The number of rows that are not ignored. */
  count: number;
  /** Logarithm of the sum of the exponentials of a row's logits, after softcap and temperature. */
  logSumExp: Float32Array;
  /** First class with the largest logit, -1 if {@link logSumExp} is NaN. */
  predictions: Int32Array;
  /** The number of rows whose prediction is the label, without ignored rows; 0 with soft targets. */
  correct: number;
}

/**
 * The losses of rows from the merged partials of all shards, within the same bounds as those of a run over all classes.
 *
 * Throws RangeError if classes are missing.
 */
export function lossFromPartials(merged: Partials): PartialsResult {
  assertComplete(merged);
  const { rows, labels, labelWeight } = merged;
  const { divergence } = merged.settings;
  const loss = new Float32Array(rows);
  const logSumExp = new Float32Array(rows);
  const predictions = new Int32Array(rows);
  const [sum, normalizer] = [new ExactSum(), new ExactSum()];
  let [correct, count] = [0, 0];
  for (let row = 0; row < rows; row++) {
    const found = divergence === 1 ? findDivergence(merged, row) : findRow(merged, row);
    const label = labels[row] as number;
    loss[row] = found.loss;
    logSumExp[row] = found.logSumExp;
    predictions[row] = Number.isNaN(found.logSumExp) ? -1 : (merged.predictions[row] as number);
    // Add the loss before it is rounded.
    sum.add(found.loss);
    if (label === IGNORED) continue;
    count++;
    normalizer.add(label < 0 ? 1 : (labelWeight[row] as number));
    if (predictions[row] === label) correct++;
  }
  const [total, weight] = [sum.value, normalizer.value];
  const mean = weight === 0 ? 0 : total / weight;
  return { loss, sum: total, mean, normalizer: weight, count, logSumExp, predictions, correct };
}

/**
 * The merged result of a row, from which the kernel computes the gradient of a shard: `Merged` in crates/kernel/src/partial.rs, for a
 * divergence in divergence/partial.rs.
 */
export function gradientRecord(merged: Partials, row: number, scale: number, classOffset: number): readonly number[] {
  const { temperature, divergence } = merged.settings;
  if (merged.labels[row] === IGNORED || merged.sampleWeights[row] === 0) return [0];
  const factor = (scale * (merged.sampleWeights[row] as number)) / temperature;
  if (divergence === 1) {
    const { logSumExp, ...found } = findDivergence(merged, row);
    if (Number.isNaN(logSumExp)) return [NaN];
    const targets = [merged.targetMaximum[row] as number, factor * found.targetFactor];
    return [1, merged.maximum[row] as number, factor * found.factor, ...targets];
  }
  const found = findRow(merged, row);
  if (Number.isNaN(found.logSumExp)) return [NaN];
  return [
    1,
    merged.maximum[row] as number,
    factor * found.probability,
    factor * found.own,
    factor,
    ((isDense(merged.settings) ? merged.predictions : merged.labels)[row] as number) - classOffset,
  ];
}

/** The sum of the weights of the rows that are not ignored. */
export function normalizerOf({ rows, labels, labelWeight }: Partials): number {
  const sum = new ExactSum();
  for (let row = 0; row < rows; row++) {
    const label = labels[row] as number;
    if (label !== IGNORED) sum.add(label < 0 ? 1 : (labelWeight[row] as number));
  }
  return sum.value;
}

/** Throws RangeError unless the partials cover all classes. */
export function assertComplete(merged: Partials): void {
  assertPartials(merged);
  const { classes, classesTotal } = merged;
  const [begin, end] = classes[0] ?? [0, 0];
  if (begin === 0 && end === classesTotal) return;
  const missing = begin > 0 ? [0, begin] : [end, classes[1]?.[0] ?? classesTotal];
  throw new RangeError(`"merged" expected all ${classesTotal} classes, but [${missing.join(", ")}) are in no shard`);
}

/** If the label's logit is this far below the maximum, its term may be too small to divide by. */
const FAR = 600;

const BROKEN = { loss: NaN, logSumExp: NaN, probability: NaN, own: NaN };

/** The formula of crates/kernel/src/ends.rs, in f64. */
function findRow(merged: Partials, row: number) {
  const at = (column: Float64Array | Float32Array): number => column[row] as number;
  const { labelSmoothing, zLoss, softTargets } = merged.settings;
  const [label, maximum] = [merged.labels[row] as number, at(merged.maximum)];
  const [soft, dense] = [softTargets === 1, isDense(merged.settings)];
  // A row with weight 0 is ignored.
  const sample = at(merged.sampleWeights);
  const counts = label !== IGNORED && sample !== 0;
  if (!Number.isFinite(maximum) || (label < IGNORED && !soft)) return counts ? BROKEN : { ...BROKEN, loss: 0 };
  // From here on, terms are relative to that of the maximum. The sum lacks the reference, and nothing if that is an ignored label.
  const others = (at(merged.sum) + at(merged.sumLow)) * Math.exp(-above(maximum, { maximum, power: at(merged.power) }));
  const logit = dense ? maximum : label === IGNORED ? -Infinity : at(merged.labelLogit);
  const distance = maximum - logit;
  const own = Math.exp(-distance);
  const sum = others + own;
  const nll = distance < FAR ? Math.log1p(others / own) : distance + Math.log1p(others - 1);
  const logSumExp = distance < 1 ? logit + nll : maximum + Math.log1p(others - 1 + own);
  if (label === IGNORED) return { ...BROKEN, loss: 0, logSumExp };

  const labelWeight = soft ? 0 : at(merged.labelWeight) * (1 - labelSmoothing);
  let [target, rest, margin] = [labelWeight, 0, 0];
  if (dense) {
    const spread = soft ? 1 : labelSmoothing / merged.classesTotal;
    target = spread * at(merged.bestWeight);
    rest = spread * (at(merged.weight) + at(merged.weightLow));
    margin = spread * (at(merged.margin) + at(merged.marginLow));
    if (merged.predictions[row] === label) target += labelWeight;
    else if (labelWeight !== 0) {
      rest += labelWeight;
      margin += labelWeight * (maximum - at(merged.labelLogit));
    }
  }
  // Measured from the largest logit, all parts of a dense loss have the same sign.
  const weight = target + rest;
  const loss = (weight === 0 ? 0 : weight * nll) + margin;
  const fromZ = zLoss === 0 ? 0 : zLoss * logSumExp * logSumExp;
  const z = zLoss === 0 ? 0 : 2 * zLoss * logSumExp;
  return {
    loss: counts ? sample * (loss + fromZ) : 0,
    logSumExp,
    /** The factor from e^(x - maximum) to the gradient. */
    probability: (weight + z) / sum,
    /** Gradient at the reference. */
    own: (rest + z) * (own / sum) - target * (others / sum),
  };
}
