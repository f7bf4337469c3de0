// Partials and totals as bytes, for other machines and languages: docs/scale.md describes both files.

import type { OwnUint8Array } from "../result.ts";
import { type Numbers, pack, Unpacked } from "./binary-file.ts";
import { COLUMNS, type Column, type Partials, SETTINGS, SMOOTHED, TYPES } from "./columns.ts";
import { assertPartials, lengthOfColumn } from "./partials.ts";
import { assertTotals, Totals } from "./totals.ts";
import { findInvalidHeader, findInvalidRow, has } from "./valid.ts";

const PARTIALS = "XENTPART";
const TOTALS = "XENTTOTL";
/** The newest versions; older ones are read, too. A file is written in the oldest version that can represent it. */
const PARTIALS_VERSION = 3;
const TOTALS_VERSION = 2;

const NAMES = Object.keys(COLUMNS) as Column[];

/**
 * Partials as bytes: 32 for each row; 8 more if a label was seen, 8 if they were merged, 8 with class weights, 4 with sample weights, 16
 * to 40 with label smoothing or soft targets, 8 with a softcap, and 40 for a divergence.
 */
export function encodePartials(partials: Partials): OwnUint8Array {
  assertPartials(partials);
  const { rows, classesTotal, classes, settings } = partials;
  // Leave out columns that have only default values.
  const saysNothing = (name: Column): boolean =>
    OPTIONAL.includes(name) && partials[name].every((value, row) => Object.is(value, usual(partials, name, row)));
  const names = NAMES.filter((name) => !saysNothing(name));
  const columns = names.reduce((bits, name) => bits + 2 ** NAMES.indexOf(name), 0);
  const isSecond = settings.softTargets === 1 || names.includes("largest");
  const version = settings.divergence === 1 ? PARTIALS_VERSION : isSecond ? 2 : 1;
  return pack(PARTIALS, version, [
    Uint32Array.from([rows, classesTotal, columns, classes.length].concat(classes.flat())),
    Float64Array.from(settingsIn(version), (name) => settings[name]),
    ...names.map((name) => partials[name]),
  ]);
}

/**
 * Decodes the bytes of {@link encodePartials}. Throws RangeError if they are something else, are damaged, or hold values that
 * `partials` and `mergePartials` never give.
 */
export function decodePartials(bytes: Uint8Array): Partials {
  const file = new Unpacked(bytes, PARTIALS, PARTIALS_VERSION);
  const [rows = 0, classesTotal = 0, columns = 0, ranges = 0] = file.take(Uint32Array, 4);
  const ends = [...file.take(Uint32Array, 2 * ranges)];
  const classes = Array.from({ length: ranges }, (_, i) => [ends[2 * i], ends[2 * i + 1]] as [number, number]);
  const names = settingsIn(file.version);
  const values = file.take(Float64Array, names.length);
  const settings = Object.fromEntries(
    SETTINGS.map((name, i) => [name, values[i] ?? 0]),
  ) as unknown as Partials["settings"];
  const known = { rows, classesTotal, classes, settings };
  const invalid = findInvalidHeader(known);
  if (invalid !== undefined) throw file.error(invalid);
  if (columns >= 2 ** NAMES.length) throw file.error(`columns ${columns.toString(2)}; only ${NAMES.length} are known`);
  const arrays: Partial<Record<Column, Numbers>> = {};
  const missing: Column[] = [];
  for (const [i, name] of NAMES.entries()) {
    const isThere = Math.floor(columns / 2 ** i) % 2 === 1;
    const length = lengthOfColumn(name, rows, settings);
    if (isThere) arrays[name] = file.take<Numbers>(TYPES[COLUMNS[name]], length);
    else if (OPTIONAL.includes(name)) missing.push(name);
    else throw file.error(`no column ${name}`);
  }
  file.end();
  for (const name of missing) {
    const array = new TYPES[COLUMNS[name]](lengthOfColumn(name, rows, settings));
    const labels = arrays.labels as Int32Array;
    for (let row = 0; row < array.length; row++) array[row] = usual({ classes, labels }, name, row);
    arrays[name] = array;
  }
  const partials = { ...known, ...(arrays as Pick<Partials, Column>) };
  const wrong = findInvalidRow(partials);
  if (wrong !== undefined) throw file.error(wrong);
  return partials;
}

/** Totals as bytes: about 100, and 16 for each source. Equal totals give equal bytes. */
export function encodeTotals(totals: Totals): OwnUint8Array {
  assertTotals("totals", totals);
  const { count, correct, sources } = totals;
  const [sum, normalizer] = [totals.terms.sum, totals.terms.normalizer].map(written) as [number[], number[]];
  const sizes = [count, correct, sum.length, normalizer.length];
  const numbers = sizes.concat(sum, normalizer);
  if (sources.length === 0) return pack(TOTALS, 1, [Float64Array.from(numbers)]);
  const digits = sources.flatMap((source) => source.match(/.{8}/g) ?? []);
  const words = Uint32Array.from(digits, (word) => Number.parseInt(word, 16));
  return pack(TOTALS, TOTALS_VERSION, [Float64Array.from(numbers.concat(sources.length)), words]);
}

/** A file has no NaN: a sum that is NaN is written as Infinity and -Infinity. */
function written(terms: readonly number[]): readonly number[] {
  return terms.some(Number.isNaN) ? [Infinity, -Infinity] : terms;
}

/**
 * Decodes the bytes of {@link encodeTotals}. Throws RangeError if they are something else, are damaged, or hold values that totals
 * never have.
 */
export function decodeTotals(bytes: Uint8Array): Totals {
  const file = new Unpacked(bytes, TOTALS, TOTALS_VERSION);
  const [count = 0, correct = 0, sums = 0, normalizers = 0] = file.take(Float64Array, 4);
  const terms = { sum: file.take(Float64Array, sums), normalizer: file.take(Float64Array, normalizers) };
  const sources = file.version === 1 ? [] : takeSources(file);
  file.end();
  const isCount = Number.isSafeInteger(count) && correct <= count && Number.isInteger(correct) && correct >= 0;
  if (!isCount) throw file.error(`${correct} correct predictions in ${count} rows`);
  for (const [name, numbers] of Object.entries(terms)) {
    if (numbers.some(Number.isNaN)) throw file.error(`NaN in its ${name}`);
    if (count === 0 && numbers.length > 0) throw file.error(`a ${name} of no rows`);
  }
  return Totals.of(terms, count, correct, sources);
}

function takeSources(file: Unpacked): string[] {
  const [count = 0] = file.take(Float64Array, 1);
  if (!(Number.isInteger(count) && count >= 1)) throw file.error(`${count} sources`);
  const words = file.take(Uint32Array, 4 * count);
  const digits = Array.from(words, (word) => word.toString(16).padStart(8, "0"));
  const sources = Array.from({ length: count }, (_, i) => digits.slice(4 * i, 4 * i + 4).join(""));
  const wrong = sources.findIndex((source, i) => i > 0 && source <= (sources[i - 1] as string));
  if (wrong >= 0) throw file.error(`the source ${sources[wrong]} after ${sources[wrong - 1]}`);
  return sources;
}

/** The settings that a file of this version has. */
function settingsIn(version: number): readonly (keyof Partials["settings"])[] {
  return SETTINGS.slice(0, 3 + version);
}

const OPTIONAL: readonly Column[] = [
  "sumLow",
  "labelLogit",
  "labelWeight",
  "sampleWeights",
  ...SMOOTHED,
  "largest",
  "targetSumLow",
  "excess",
];

/** The default value of a column. */
function usual({ classes, labels }: Pick<Partials, "classes" | "labels">, name: Column, row: number): number {
  if (name === "sampleWeights" || name === "bestWeight") return 1;
  if (name === "labelLogit" || name === "largest") return NaN;
  if (name !== "labelWeight") return 0;
  return has(classes, labels[row] as number) ? 1 : NaN;
}
