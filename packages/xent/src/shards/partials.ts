import { show, wrongType } from "../errors.ts";
import { lengthOf, typedArrayKind } from "../typed-array.ts";
import {
  COLUMNS,
  type Column,
  DIVERGENT,
  type Partials,
  type PartialsSettings,
  SETTINGS,
  SMOOTHED,
  TYPES,
} from "./columns.ts";
import { mergeDivergence } from "./divergence.ts";
import { ExactSum, twoProduct } from "./exact.ts";
import { above, factorOf } from "./scale.ts";
import { findInvalidHeader } from "./valid.ts";

/**
 * Merges the partials of several shards of the classes. Sums are exact until they are rounded to 106 bits, so the result does not
 * depend on order or grouping, unless the sums of two shards differ by more than a factor of 2^40, or soft targets have capped logits.
 * Even then, no loss depends on them, except the loss of a divergence, which may differ in its last bits.
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
  const soft = first.settings.softTargets === 1;
  for (let row = 0; row < first.rows; row++) mergeRow(all, row, merged, soft);
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

/** Whether classes other than the label have weight. */
export function isDense({ labelSmoothing, softTargets }: PartialsSettings): boolean {
  return labelSmoothing > 0 || softTargets === 1;
}

function mergeRow(all: readonly Partials[], row: number, out: Partials, soft: boolean): void {
  let [maximum, largest, power, prediction] = [-Infinity, -Infinity, 0, -1];
  let reference: Partials | undefined;
  for (const part of all) {
    const [most, raw] = [part.maximum[row] as number, part.largest[row] ?? NaN];
    const best = part.predictions[row] as number;
    const isMore = most > maximum || prediction < 0;
    // Compare before the softcap, which makes large logits equal. Of equals, take the first class and the larger power, whatever the order.
    const isFirst = most === maximum && best >= 0 && best < prediction;
    const isBest = raw < largest || raw > largest ? raw > largest : isMore || isFirst;
    if (prediction < 0 || isBest) {
      [largest, prediction] = [raw, best];
      if (soft) reference = part;
    }
    if (isMore) power = part.power[row] as number;
    else if (most === maximum) power = Math.max(power, part.power[row] as number);
    maximum = Math.max(maximum, most);
    if (!(soft || Number.isNaN(part.labelWeight[row]))) reference = part;
  }
  out.predictions[row] = prediction;
  if (out.settings.divergence === 1) {
    out.labelLogit[row] = out.labelWeight[row] = NaN;
    mergeDivergence(all, row, out);
    return;
  }
  const sum = new ExactSum();
  for (const part of all) {
    const from = { maximum: part.maximum[row] as number, power: part.power[row] as number };
    const factor = factorOf(from, { maximum, power });
    for (const column of [part.sum, part.sumLow]) if (column[row] !== 0) sum.add((column[row] as number) * factor);
    // Only one reference remains; the others become ordinary terms.
    const term = soft && part !== reference ? Math.exp(above(part.labelLogit[row] as number, from)) : 0;
    if (term !== 0) sum.add(term * factor);
  }
  out.maximum[row] = maximum;
  out.power[row] = power;
  out.largest[row] = largest;
  out.labelLogit[row] = reference?.labelLogit[row] ?? NaN;
  out.labelWeight[row] = reference?.labelWeight[row] ?? NaN;
  if (soft) out.labels[row] = reference?.labels[row] as number;
  [out.sum[row], out.sumLow[row]] = sum.pair;
  if (out.weight.length > 0) {
    const others = all.filter((part) => soft && part !== reference);
    const weights = others.map((part) => part.labelWeight[row] as number);
    const weighted = others.flatMap((part, i) => productOf(weights[i] as number, part.labelLogit[row] as number));
    [out.weight[row], out.weightLow[row]] = sumOf(all, row, "weight", "weightLow", weights);
    [out.weighted[row], out.weightedLow[row]] = sumOf(all, row, "weighted", "weightedLow", weighted);
  }
}

/** w x in two parts; nothing without weight, even at -Infinity. */
function productOf(weight: number, logit: number): readonly number[] {
  return weight === 0 || Number.isNaN(weight)
    ? []
    : Number.isFinite(logit)
      ? twoProduct(weight, logit)
      : [weight * logit];
}

type Part = "weight" | "weightLow" | "weighted" | "weightedLow";

/** The sum of a column with `more`, in two parts. Infinity if it overflows. */
function sumOf(
  all: readonly Partials[],
  row: number,
  high: Part,
  low: Part,
  more: readonly number[],
): [high: number, low: number] {
  const sum = new ExactSum();
  for (const term of more) sum.add(term);
  for (const part of all) {
    sum.add(part[high][row] as number);
    // After an overflow, there is no low part.
    if (Number.isFinite(part[high][row])) sum.add(part[low][row] as number);
  }
  return sum.pair;
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
  if (invalid !== undefined) throw new RangeError(`"partials" expected what a run can have, got ${invalid}`);
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
  // With soft targets, each shard has its own reference.
  const columns =
    first.settings.softTargets === 1 ? (["sampleWeights"] as const) : (["labels", "sampleWeights"] as const);
  for (const name of columns) {
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
