import { IGNORED } from "../labels.ts";
import type { Partials } from "./columns.ts";
import { findDivergence } from "./divergence.ts";
import { ExactSum, twoProduct } from "./exact.ts";
import { assertPartials, isDense } from "./partials.ts";
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
  const soft = merged.settings.softTargets === 1;
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
    normalizer.add(soft || label < 0 ? 1 : (labelWeight[row] as number));
    if (!soft && predictions[row] === label) correct++;
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
    factor * spreadOf(merged),
    (merged.labels[row] as number) - classOffset,
  ];
}

/** The sum of the weights of the rows that are not ignored. */
export function normalizerOf({ rows, labels, labelWeight, settings }: Partials): number {
  if (settings.softTargets === 1) return rows;
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

/** If the loss is below this part of its terms, they cancel: crates/kernel/src/ends.rs. */
const SMALLEST_LOSS = 0.75;

/** So do they below this part of the terms that grow with the label's distance. Their rounding errors are about 2^-53 of these. */
const SMALLEST_OF_FAR = 2 ** -20;

/** The factor of the weights of classes other than the label. */
function spreadOf({ settings: { labelSmoothing, softTargets }, classesTotal }: Partials): number {
  return softTargets === 1 ? 1 : labelSmoothing / classesTotal;
}

/** The formula of crates/kernel/src/ends.rs, in f64. */
function findRow(merged: Partials, row: number) {
  const at = (column: Float64Array | Float32Array): number => column[row] as number;
  const { labelSmoothing, zLoss, softTargets } = merged.settings;
  const [label, maximum] = [merged.labels[row] as number, at(merged.maximum)];
  // A row with weight 0 is ignored.
  const sample = at(merged.sampleWeights);
  const counts = label !== IGNORED && sample !== 0;
  if (!Number.isFinite(maximum) || label < IGNORED) return counts ? BROKEN : { ...BROKEN, loss: 0 };
  // From here on, logits are relative to the maximum.
  const others = (at(merged.sum) + at(merged.sumLow)) * Math.exp(-above(maximum, { maximum, power: at(merged.power) }));
  if (label === IGNORED) return { ...BROKEN, loss: 0, logSumExp: maximum + Math.log1p(others - 1) };
  const logit = at(merged.labelLogit);
  const distance = maximum - logit;
  const own = Math.exp(-distance);
  const sum = others + own;
  const nll = distance < FAR ? Math.log1p(others / own) : distance + Math.log1p(others - 1);
  const logSumExp = distance < 1 ? logit + nll : maximum + Math.log1p(others - 1 + own);

  const [spread, dense] = [spreadOf(merged), isDense(merged.settings)];
  const ownTarget = at(merged.labelWeight) * (softTargets === 1 ? 1 : 1 - labelSmoothing + spread);
  const value = logit === -Infinity ? maximum : logit;
  const [rest, tilt] = dense ? [spread * at(merged.weight), tiltOf(merged, row, value, spread)] : [0, 0];
  const far = nll === Infinity ? logSumExp - value : nll;
  const fromLabel = ownTarget === 0 ? 0 : ownTarget * nll;
  const fromRest = rest === 0 ? tilt : rest * far + tilt;
  const fromZ = zLoss === 0 ? 0 : zLoss * logSumExp * logSumExp;
  const z = zLoss === 0 ? 0 : 2 * zLoss * logSumExp;
  let loss = fromLabel + fromRest;
  const smallest = Math.max(SMALLEST_LOSS * (ownTarget + rest) * Math.min(1, nll), SMALLEST_OF_FAR * rest * far);
  // NaN if the parts overflow.
  if (dense && softTargets === 0 && !(loss >= smallest)) {
    // Relative to the largest logit, all parts have the same sign.
    const least = Math.log1p(others - 1 + own);
    const below = ownTarget === 0 ? 0 : ownTarget * distance;
    loss = (ownTarget + rest) * least + below + tiltOf(merged, row, maximum, spread);
  }
  return {
    loss: counts ? sample * (loss + fromZ) : 0,
    logSumExp,
    /** The factor from e^(x - maximum) to the gradient. */
    probability: (ownTarget + rest + z) / sum,
    /** Gradient at the label. */
    own: (rest + z) * (own / sum) - ownTarget * (others / sum),
  };
}

/**
 * `spread` times the sum of w (value - x) over all classes but the label, from two sums that may be large. Infinity if the sum of w x
 * overflows, or if a class that counts is at -Infinity.
 */
function tiltOf(merged: Partials, row: number, value: number, spread: number): number {
  const { weight, weightLow, weighted, weightedLow } = merged;
  const size = Math.abs(weighted[row] as number);
  // NaN if the sums of two shards are Infinity and -Infinity.
  if (!Number.isFinite(size)) return Infinity;
  // Scaled so that products with a weight do not overflow.
  const unit = Math.max(size, Math.abs(value)) > 2 ** 800 ? 2 ** 200 : 1;
  const sum = new ExactSum();
  for (const column of [weight, weightLow]) {
    for (const part of twoProduct(column[row] as number, value / unit)) sum.add(part);
  }
  for (const column of [weighted, weightedLow]) sum.add(-(column[row] as number) / unit);
  return spread * sum.value * unit;
}
