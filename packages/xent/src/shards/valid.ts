// The values that partials can have after computing and merging. Readers of files rely on these checks.

import { type Column, isDense, type Partials, type PartialsSettings } from "./columns.ts";

/** Whether a column may have this value for a row. `isSeen`: whether the label is among the classes that were seen. */
type Rule = (value: number, row: number, partials: Partials, isSeen: boolean) => boolean;

const SETTINGS: { readonly [name in keyof PartialsSettings]: (value: number) => boolean } = {
  labelSmoothing: (e) => e >= 0 && e < 1,
  zLoss: (z) => z >= 0 && z < Infinity,
  softcap: (c) => c >= 0 && c < Infinity,
  temperature: (t) => t > 0 && t < Infinity,
  softTargets: (soft) => soft === 0 || soft === 1,
  divergence: (divergence) => divergence === 0 || divergence === 1,
};

/** From here on, a maximum may be too large for a power: `TOO_LARGE` in crates/kernel/src/partial.rs, with a margin. */
const LARGE = 2 ** 30;
/** A power is close to maximum / ln 2, so the largest term of a sum is close to 1. */
const NEAR = 4;
const MOST_TERM = 2 ** (NEAR + 2);

const COLUMNS: { readonly [name in Column]: Rule } = {
  labels: (label, _, { classesTotal, settings }) =>
    label >= -2 && label < (settings.divergence === 1 || settings.softTargets === 1 ? 0 : classesTotal),
  maximum: (maximum) => maximum !== Infinity,
  power: (power, row, { maximum }) => isPower(power, maximum[row] as number),
  sum: (sum, row, { maximum, labelLogit, classesTotal, settings }, isSeen) => {
    const most = maximum[row] as number;
    // The sum includes the largest term, unless it is the reference's.
    const isReference = isDense(settings) || (isSeen && isLargest(labelLogit[row] as number, most, settings));
    const least = isReference ? 0 : 1 / MOST_TERM;
    return isSum(sum, most, least, classesTotal);
  },
  sumLow: (low, row, { sum }) => isRest(low, sum[row] as number),
  labelLogit: (logit, row, { maximum, settings }, isSeen) => {
    if (!isSeen) return Number.isNaN(logit);
    const most = maximum[row] as number;
    return Number.isNaN(most) || logit <= most || isLargest(logit, most, settings);
  },
  predictions: (best, row, { maximum, labels, labelLogit, classes, settings }) => {
    const most = maximum[row] as number;
    if (best === -1) return !Number.isFinite(most);
    if (!has(classes, best)) return false;
    return best !== labels[row] || Number.isNaN(most) || isLargest(labelLogit[row] as number, most, settings);
  },
  labelWeight: (weight, _, __, isSeen) => isSeen || Number.isNaN(weight),
  // Weights may be any numbers, and so may their sums.
  sampleWeights: () => true,
  weight: () => true,
  weightLow: (low, row, { weight }) => isRest(low, weight[row] as number),
  margin: () => true,
  marginLow: (low, row, { margin }) => isRest(low, margin[row] as number),
  bestWeight: () => true,
  largest: () => true,
  targetMaximum: (most, row, { maximum }) => most !== Infinity && Number.isNaN(most) === Number.isNaN(maximum[row]),
  targetPower: (power, row, { targetMaximum }) => isPower(power, targetMaximum[row] as number),
  targetSum: (sum, row, { targetMaximum, classesTotal }) =>
    isSum(sum, targetMaximum[row] as number, 1 / MOST_TERM, classesTotal),
  targetSumLow: (low, row, { targetSum }) => isRest(low, targetSum[row] as number),
  divergence: (divergence, row, { maximum, targetSum }) => {
    const most = maximum[row] as number;
    if (Number.isNaN(most)) return true;
    if (targetSum[row] === 0) return divergence === 0;
    return most === -Infinity ? divergence === Infinity : divergence >= 0;
  },
  // The excess is a rounding error, which is far below this bound.
  excess: (excess, row, { sum }) => Number.isNaN(sum[row]) || Math.abs(excess) <= 1e-3 * (sum[row] as number),
};

/** Whether a logit can be the largest. After a softcap, the errors of two logits (crates/kernel/src/lib.rs) may change their order. */
export function isLargest(logit: number, most: number, { softcap }: PartialsSettings): boolean {
  return logit === most || (softcap > 0 && Math.abs(logit - most) <= 2 ** -26 + 2 ** -50 * Math.abs(most));
}

/** Whether a power can belong to a maximum. */
function isPower(power: number, most: number): boolean {
  if (Number.isNaN(most)) return Number.isNaN(power) || Number.isInteger(power);
  if (Number.isNaN(power)) return Math.abs(most) >= LARGE;
  const exact = most === -Infinity ? 0 : most / Math.LN2;
  return Number.isInteger(power) && Math.abs(power - exact) <= NEAR;
}

/** Whether a sum, in the unit of its power, can belong to a maximum. */
function isSum(sum: number, most: number, least: number, classes: number): boolean {
  if (Number.isNaN(most)) return Number.isNaN(sum) || sum >= 0;
  if (most === -Infinity) return sum === 0;
  return sum >= least && sum <= MOST_TERM * classes;
}

/** Whether `low` can be the rounding error of `high`. */
function isRest(low: number, high: number): boolean {
  return !Number.isFinite(high) || Math.abs(low) <= Math.abs(high) * 2 ** -52;
}

/** Whether a class is in one of these ranges, which are in order. Binary search: there may be as many ranges as rows. */
export function has(classes: Partials["classes"], label: number): boolean {
  let [low, high] = [0, classes.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    const [begin, end] = classes[middle] as readonly [number, number];
    if (label < begin) high = middle;
    else if (label >= end) low = middle + 1;
    else return true;
  }
  return false;
}

/** The first invalid setting of partials; undefined if all are valid. */
export function findInvalidHeader({ classes, classesTotal, settings }: Omit<Partials, Column>): string | undefined {
  if (!(Number.isInteger(classesTotal) && classesTotal >= 1 && classesTotal < 2 ** 31)) {
    return `${classesTotal} classes`;
  }
  const ends = classes.flat();
  const rises = ends.every((end, i) => Number.isInteger(end) && end > (i > 0 ? (ends[i - 1] as number) : -1));
  if (!(rises && ends.length === 2 * classes.length && ends.length > 0 && (ends.at(-1) as number) <= classesTotal)) {
    const some = JSON.stringify(classes.slice(0, 5)).replace(/\]$/, classes.length > 5 ? ",…]" : "]");
    return `the classes ${some} of ${classesTotal}`;
  }
  for (const [name, accepts] of Object.entries(SETTINGS)) {
    const value = settings[name as keyof PartialsSettings];
    if (typeof value !== "number" || !accepts(value)) return `a ${name} of ${value}`;
  }
  if (settings.divergence === 0) return undefined;
  const other = (["labelSmoothing", "zLoss", "softcap", "softTargets"] as const).find((name) => settings[name] !== 0);
  return other && `a ${other} of ${settings[other]}, and a divergence`;
}

/** The first value that neither a run nor merging gives; undefined if all are valid. */
export function findInvalidRow(partials: Partials): string | undefined {
  const { labels, classes } = partials;
  const isSeen = Array.from(labels, (label) => has(classes, label));
  for (const [name, accepts] of Object.entries(COLUMNS)) {
    const column = partials[name as Column];
    for (let row = 0; row < column.length; row++) {
      const value = column[row] as number;
      if (!accepts(value, row, partials, isSeen[row] as boolean)) return `${value} as ${name} of row ${row}`;
    }
  }
  return undefined;
}
