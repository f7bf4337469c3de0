// Shards of a divergence: see crates/kernel/src/divergence.rs for the formulas.

import { IGNORED } from "../labels.ts";
import type { Partials } from "./columns.ts";
import { ExactSum } from "./exact.ts";
import { above, factorOf, logUnit, type Scale } from "./scale.ts";

/** Merges a row of shards: adds the divergences within them, and the divergence between their sums. */
export function mergeDivergence(all: readonly Partials[], row: number, out: Partials): void {
  const logits = scaleOf(all.map((part) => scaleOfLogits(part, row)));
  const targets = scaleOf(all.map((part) => scaleOfTargets(part, row)));
  const [p, q, excess, within] = [new ExactSum(), new ExactSum(), new ExactSum(), new ExactSum()];
  const parts = all.map((part) => {
    const at = (column: Float64Array): number => column[row] as number;
    const toTargets = factorOf(scaleOfTargets(part, row), targets);
    const toLogits = factorOf(scaleOfLogits(part, row), logits);
    const [sum, targetSum] = [new ExactSum(), new ExactSum()];
    for (const term of [at(part.targetSum), at(part.targetSumLow)]) add(targetSum, term * toTargets, p);
    for (const term of [at(part.sum), at(part.sumLow)]) add(sum, term * toLogits, q);
    const more = at(part.excess) * toLogits;
    excess.add(more);
    sum.add(-more);
    // Infinity stays Infinity, even if its factor is 0.
    within.add(at(part.divergence) === Infinity ? Infinity : at(part.divergence) * toTargets);
    // log q, for a sum that is so small beside the others that it keeps few of its digits.
    const own = at(part.sum) - at(part.excess);
    const logQ = toLogits < SMALL && own > 0 ? Math.log(own) + logUnit(scaleOfLogits(part, row)) : NaN;
    return { p: targetSum.value, q: sum.value, logQ };
  });
  out.maximum[row] = logits.maximum;
  out.power[row] = logits.power;
  out.targetMaximum[row] = targets.maximum;
  out.targetPower[row] = targets.power;
  [out.sum[row], out.sumLow[row]] = q.pair;
  [out.targetSum[row], out.targetSumLow[row]] = p.pair;
  out.excess[row] = excess.value;
  const [allP, allQ] = [p.value, q.value - excess.value];
  for (const part of parts) {
    const [a, b] = [share(part.p, allP), share(part.q, allQ)];
    const far = part.logQ - logUnit(logits) - Math.log(allQ);
    within.add(allP * (Number.isNaN(far) || a === 0 ? between(a, b) : a * (Math.log(a) - far - 1)));
  }
  out.divergence[row] = within.value;
}

/** Scaled by a smaller factor than this, a sum may be subnormal. */
const SMALL = 2 ** -900;

function share(part: number, all: number): number {
  return all === 0 ? 0 : part / all;
}

function add(sum: ExactSum, term: number, total: ExactSum): void {
  if (term === 0) return;
  sum.add(term);
  total.add(term);
}

function scaleOfLogits({ maximum, power }: Partials, row: number): Scale {
  return { maximum: maximum[row] as number, power: power[row] as number };
}

function scaleOfTargets({ targetMaximum, targetPower }: Partials, row: number): Scale {
  return { maximum: targetMaximum[row] as number, power: targetPower[row] as number };
}

/** The scale with the largest maximum; of equal maxima, the larger power, whatever the order. */
function scaleOf(all: readonly Scale[]): Scale {
  const maximum = all.reduce((most, scale) => Math.max(most, scale.maximum), -Infinity);
  const powers = all.filter((scale) => Object.is(scale.maximum, maximum)).map((scale) => scale.power);
  return { maximum, power: powers.length === 0 ? 0 : Math.max(...powers) };
}

/** a (d + expm1(-d)) with d = log(a / b), for a part with the share a of all p and b of all q. */
function between(a: number, b: number): number {
  if (a === 0) return b;
  if (b === 0) return Infinity;
  if (b < 0.5 * a || b > 2 * a) return a * (Math.log(a) - Math.log(b)) + (b - a);
  const expm1 = (b - a) / a;
  const d = -Math.log1p(expm1);
  return a * (Math.abs(d) < NEAR ? d * d * series(d) : d + expm1);
}

/** If |d| is less, d + expm1(-d) cancels, and a series replaces it. */
const NEAR = 0.35;

/** (d + expm1(-d)) / d^2 */
function series(d: number): number {
  let sum = 0;
  for (let k = 14; k >= 2; k--) sum = (1 - sum * d) / k;
  return sum;
}

interface RowDivergence {
  readonly loss: number;
  readonly logSumExp: number;
  /** The factors from e^(x - maximum) to the softmax, of the logits and of the targets. */
  readonly factor: number;
  readonly targetFactor: number;
}

/** The results of a row from merged partials. NaN if a logit or target is NaN or Infinity, or if all of either are -Infinity. */
export function findDivergence(merged: Partials, row: number): RowDivergence {
  const at = (column: Float64Array | Float32Array): number => column[row] as number;
  const [logits, targets] = [scaleOfLogits(merged, row), scaleOfTargets(merged, row)];
  const isIgnored = merged.labels[row] === IGNORED || at(merged.sampleWeights) === 0;
  if (!(Number.isFinite(logits.maximum) && Number.isFinite(targets.maximum))) {
    return { loss: isIgnored ? 0 : NaN, logSumExp: NaN, factor: NaN, targetFactor: NaN };
  }
  const [q, p] = [at(merged.sum) + at(merged.sumLow), at(merged.targetSum) + at(merged.targetSumLow)];
  const [sum, targetSum] = [
    q * Math.exp(-above(logits.maximum, logits)),
    p * Math.exp(-above(targets.maximum, targets)),
  ];
  return {
    loss: isIgnored ? 0 : at(merged.sampleWeights) * (at(merged.divergence) / p),
    logSumExp: logits.maximum + Math.log1p(sum - 1),
    factor: 1 / sum,
    targetFactor: 1 / targetSum,
  };
}
