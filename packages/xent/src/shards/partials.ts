import { show, wrongType } from "../errors.ts";
import { lengthOf, typedArrayKind } from "../typed-array.ts";
import {
  COLUMNS,
  type Column,
  DIVERGENT,
  isDense,
  type Partials,
  type PartialsSettings,
  SETTINGS,
  SMOOTHED,
  TYPES,
} from "./columns.ts";
import { mergeDivergence } from "./divergence.ts";
import { ExactSum, twoProduct, twoSum } from "./exact.ts";
import { above, factorOf } from "./scale.ts";
import { findInvalidHeader } from "./valid.ts";

/**
 * Merges the partials of several shards of the classes. Sums are exact until they are rounded to 106 bits, so the result does not
 * depend on order or grouping, unless the sums of two shards differ by more than a factor of 2^40, or smoothing or soft targets come
 * with a softcap or a temperature. Even then, no loss depends on them, except the loss of a divergence, which may differ in its last bits.
 *
 * Throws TypeError for anything but {@link Partials}; RangeError if rows, labels, number of classes or options differ, or if a class is
 * in two of them.
 */
export function mergePartials(...partials: readonly (Partials | readonly Partials[])[]): Partials {
  const all = partials.flat() as readonly Partials[];
  const [first] = all;
  if (first === undefined) throw new TypeError('"partials" expected at least one');
  for (const other of all) {
    assertPartials(other);
    assertAlike(first, other);
  }
  const classes = unionOf(all);
  const merged = emptyPartials(first, classes);
  merged.labels.set(first.labels);
  merged.sampleWeights.set(first.sampleWeights);
  for (let row = 0; row < first.rows; row++) mergeRow(all, row, merged);
  return merged;
}

/** Empty partials of the same rows. */
export function emptyPartials(
  like: Pick<Partials, "rows" | "classesTotal" | "settings">,
  classes: Partials["classes"],
): Partials {
  const { rows, classesTotal, settings } = like;
  const columns = Object.entries(COLUMNS).map(([name, type]) => {
    return [name, new TYPES[type](lengthOfColumn(name as Column, rows, settings))];
  });
  return { rows, classesTotal, classes, settings, ...Object.fromEntries(columns) };
}

/** The length of a column. */
export function lengthOfColumn(name: Column, rows: number, settings: PartialsSettings): number {
  const isMissing =
    (name === "largest" && !(settings.softcap > 0)) ||
    (SMOOTHED.includes(name) && !isDense(settings)) ||
    (DIVERGENT.includes(name) && settings.divergence !== 1);
  return isMissing ? 0 : rows;
}

function mergeRow(all: readonly Partials[], row: number, out: Partials): void {
  let [maximum, largest, power, prediction] = [-Infinity, -Infinity, 0, -1];
  let [labelled, dominant]: Partials[] = [];
  for (const part of all) {
    const [most, raw] = [part.maximum[row] as number, part.largest[row] ?? NaN];
    const best = part.predictions[row] as number;
    const isMore = most > maximum || prediction < 0;
    // Compare before the softcap, which makes large logits equal. Of equals, take the first class and the larger power, whatever the order.
    const isFirst = most === maximum && best >= 0 && best < prediction;
    const isBest = raw < largest || raw > largest ? raw > largest : isMore || isFirst;
    if (prediction < 0 || isBest) {
      [largest, prediction, dominant] = [raw, best, part];
    }
    if (isMore) power = part.power[row] as number;
    else if (most === maximum) power = Math.max(power, part.power[row] as number);
    maximum = Math.max(maximum, most);
    if (!Number.isNaN(part.labelWeight[row])) labelled = part;
  }
  out.predictions[row] = prediction;
  if (out.settings.divergence === 1) {
    out.labelLogit[row] = out.labelWeight[row] = NaN;
    mergeDivergence(all, row, out);
    return;
  }
  const dense = isDense(out.settings);
  // A softcap's rounding errors may make another logit larger than that of the prediction.
  if (dense && dominant && !Number.isNaN(maximum)) {
    [maximum, power] = [dominant.maximum[row] as number, dominant.power[row] as number];
  }
  const sum = new ExactSum();
  for (const part of all) {
    const from = { maximum: part.maximum[row] as number, power: part.power[row] as number };
    const factor = factorOf(from, { maximum, power });
    for (const column of [part.sum, part.sumLow]) if (column[row] !== 0) sum.add((column[row] as number) * factor);
    // Only one reference remains; the others become ordinary terms.
    if (dense && part !== dominant && factor !== 0) sum.add(Math.exp(above(from.maximum, from)) * factor);
  }
  out.maximum[row] = maximum;
  out.power[row] = power;
  out.largest[row] = largest;
  out.labelLogit[row] = labelled?.labelLogit[row] ?? NaN;
  out.labelWeight[row] = labelled?.labelWeight[row] ?? NaN;
  [out.sum[row], out.sumLow[row]] = sum.pair;
  if (dense) mergeWeights(all, row, out, dominant);
}

/** Merges the weights, and the margins from the common maximum. All references but that of the `dominant` part become ordinary classes. */
function mergeWeights(all: readonly Partials[], row: number, out: Partials, dominant: Partials | undefined): void {
  const maximum = out.maximum[row] as number;
  const [weight, margin] = [new ExactSum(), new ExactSum()];
  for (const part of all) {
    const from = part.maximum[row] as number;
    // Without this check, two infinities would have the distance NaN.
    const [distance, lost] = maximum === from ? [0, 0] : twoSum(maximum, -from);
    margin.add(part.margin[row] as number);
    margin.add(part.marginLow[row] as number);
    const best = part === dominant ? 0 : (part.bestWeight[row] as number);
    for (const w of [part.weight[row] as number, part.weightLow[row] as number, best]) {
      // A weight of 0 counts 0, even at an infinite distance.
      if (w === 0) continue;
      weight.add(w);
      addProduct(margin, w, distance);
      if (Number.isFinite(distance)) addProduct(margin, w, lost);
    }
  }
  out.bestWeight[row] = dominant?.bestWeight[row] as number;
  [out.weight[row], out.weightLow[row]] = weight.pair;
  [out.margin[row], out.marginLow[row]] = margin.pair;
}

function addProduct(sum: ExactSum, a: number, b: number): void {
  if (b === 0) return;
  const [product, lost] = twoProduct(a, b);
  sum.add(product);
  sum.add(lost);
}

/** Throws TypeError if a property is missing, RangeError for values that no run gives. */
export function assertPartials(partials: unknown): asserts partials is Partials {
  const value = partials as Partials;
  const isWhole =
    typeof partials === "object" &&
    partials !== null &&
    Array.isArray(value.classes) &&
    value.classes.every((range) => Array.isArray(range)) &&
    typeof value.settings === "object" &&
    value.settings !== null &&
    Object.entries(COLUMNS).every(([name, type]) => {
      const column = value[name as Column];
      const expected = lengthOfColumn(name as Column, value.rows, value.settings);
      return typedArrayKind(column) === type && lengthOf(column) === expected;
    });
  if (!isWhole) throw wrongType("partials", "what partials(), mergePartials() or decodePartials() gives", partials);
  const invalid = findInvalidHeader(value);
  if (invalid !== undefined) throw new RangeError(`"partials" expected values that a run can give, got ${invalid}`);
}

function assertAlike(first: Partials, other: Partials): void {
  const differs = (what: string, a: unknown, b: unknown): RangeError =>
    new RangeError(`"partials" expected shards of the same ${what}, got ${show(a)} and ${show(b)}`);
  if (other.rows !== first.rows) throw differs("rows", first.rows, other.rows);
  if (other.classesTotal !== first.classesTotal) throw differs("classesTotal", first.classesTotal, other.classesTotal);
  for (const name of SETTINGS) {
    const [a, b] = [first.settings[name], other.settings[name]];
    if (a !== b) throw differs(name, a, b);
  }
  for (const name of ["labels", "sampleWeights"] as const) {
    const row = first[name].findIndex((value, i) => !Object.is(value, other[name][i]));
    if (row >= 0) throw differs(`${name}, row ${row}`, first[name][row], other[name][row]);
  }
}

/** The ranges of all classes, in order. */
function unionOf(all: readonly Partials[]): [number, number][] {
  const union: [number, number][] = [];
  for (const [begin, end] of all.flatMap((part) => part.classes).sort(([a], [b]) => a - b)) {
    const last = union.at(-1);
    if (last && begin < last[1]) {
      throw new RangeError(`"partials" expected shards without a class in common, got two with class ${begin}`);
    }
    if (last?.[1] === begin) last[1] = end;
    else union.push([begin, end]);
  }
  return union;
}
