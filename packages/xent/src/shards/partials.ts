import { show, wrongType } from "../errors.ts";
import { lengthOf, typedArrayKind } from "../typed-array.ts";
import { COLUMNS, type Column, type Partials, type PartialsSettings, SETTINGS, SMOOTHED, TYPES } from "./columns.ts";
import { ExactSum } from "./exact.ts";
import { factorOf } from "./scale.ts";
import { findInvalidHeader } from "./valid.ts";

/**
 * What several shards of the classes know of the same rows, in any order and any grouping. Sums are exact until they are
 * rounded to 106 bits, so neither shows in the result, unless the sums of two shards are more than 2^40 apart; and then no
 * loss shows it.
 *
 * Throws TypeError for what is no {@link Partials}; RangeError where they are not of the same rows, labels, classes and
 * options, or where a class is in two of them.
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

/** Partials of the same rows, with nothing in them yet. */
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

/** How many numbers a column has. */
export function lengthOfColumn(name: Column, rows: number, { labelSmoothing }: PartialsSettings): number {
  return SMOOTHED.includes(name) && !(labelSmoothing > 0) ? 0 : rows;
}

function mergeRow(all: readonly Partials[], row: number, out: Partials): void {
  let [maximum, power, prediction] = [-Infinity, 0, -1];
  let [labelLogit, labelWeight] = [NaN, NaN];
  for (const part of all) {
    const most = part.maximum[row] as number;
    const best = part.predictions[row] as number;
    // Of equals, the first class, and the larger power: whichever shard comes first.
    if (most > maximum || prediction < 0) [power, prediction] = [part.power[row] as number, best];
    else if (most === maximum) {
      power = Math.max(power, part.power[row] as number);
      if (best >= 0) prediction = Math.min(prediction, best);
    }
    maximum = Math.max(maximum, most);
    const weight = part.labelWeight[row] as number;
    if (!Number.isNaN(weight)) [labelLogit, labelWeight] = [part.labelLogit[row] as number, weight];
  }
  const sum = new ExactSum();
  for (const part of all) {
    const from = { maximum: part.maximum[row] as number, power: part.power[row] as number };
    const [high, low] = [part.sum[row] as number, part.sumLow[row] as number];
    if (high === 0) continue;
    const factor = factorOf(from, { maximum, power });
    sum.add(high * factor);
    sum.add(low * factor);
  }
  out.maximum[row] = maximum;
  out.power[row] = power;
  out.predictions[row] = prediction;
  out.labelLogit[row] = labelLogit;
  out.labelWeight[row] = labelWeight;
  [out.sum[row], out.sumLow[row]] = sum.pair;
  if (out.weight.length > 0) {
    [out.weight[row], out.weightLow[row]] = sumOf(all, row, "weight", "weightLow");
    [out.weighted[row], out.weightedLow[row]] = sumOf(all, row, "weighted", "weightedLow");
  }
}

type Part = "weight" | "weightLow" | "weighted" | "weightedLow";

/** Infinity where it is more than a number can be. */
function sumOf(all: readonly Partials[], row: number, high: Part, low: Part): [high: number, low: number] {
  const sum = new ExactSum();
  for (const part of all) {
    sum.add(part[high][row] as number);
    // Nothing is left of what has overflowed.
    if (Number.isFinite(part[high][row])) sum.add(part[low][row] as number);
  }
  return sum.pair;
}

/** Throws TypeError unless all parts are there, RangeError where they are of no run. */
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
  for (const name of ["labels", "sampleWeights"] as const) {
    const row = first[name].findIndex((value, i) => !Object.is(value, other[name][i]));
    if (row >= 0) throw differs(`${name}, row ${row}`, first[name][row], other[name][row]);
  }
}

/** All classes, in order. */
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
