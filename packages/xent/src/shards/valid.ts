// What partials may say: all that computing and merging can, and nothing else. Whoever reads a file relies on it.

import type { Column, Partials, PartialsSettings } from "./partials.ts";

/** One row: what each column has of it. */
type Row = Readonly<Record<Column, number>> & {
  /** Whether the label is among the classes that were seen. */
  readonly seen: boolean;
  readonly partials: Pick<Partials, "classes" | "classesTotal">;
};

const SETTINGS: { readonly [name in keyof PartialsSettings]: (value: number) => boolean } = {
  labelSmoothing: (e) => e >= 0 && e < 1,
  zLoss: (z) => z >= 0 && z < Infinity,
  softcap: (c) => c >= 0 && c < Infinity,
  temperature: (t) => t > 0 && t < Infinity,
};

/** From here on a maximum may be too large for a power (`TOO_LARGE` in crates/kernel/src/partial.rs, and room). */
const LARGE = 2 ** 30;
/** A power is next to maximum / ln 2, and so a sum is of some terms next to 1. */
const NEAR = 4;
const MOST_TERM = 2 ** (NEAR + 2);

const COLUMNS: { readonly [name in Column]: (row: Row) => boolean } = {
  labels: ({ labels, partials }) => labels >= -2 && labels < partials.classesTotal,
  maximum: ({ maximum }) => maximum !== Infinity,
  power: ({ maximum, power }) => {
    if (Number.isNaN(maximum)) return Number.isNaN(power) || Number.isInteger(power);
    if (Number.isNaN(power)) return Math.abs(maximum) >= LARGE;
    const exact = maximum === -Infinity ? 0 : maximum / Math.LN2;
    return Number.isInteger(power) && Math.abs(power - exact) <= NEAR;
  },
  sum: ({ sum, maximum, seen, labelLogit, partials }) => {
    if (Number.isNaN(maximum)) return Number.isNaN(sum) || sum >= 0;
    if (maximum === -Infinity) return sum === 0;
    // The largest term is in it, but the label's.
    const least = seen && labelLogit === maximum ? 0 : 1 / MOST_TERM;
    return sum >= least && sum <= MOST_TERM * partials.classesTotal;
  },
  sumLow: ({ sum, sumLow }) => isRest(sumLow, sum),
  labelLogit: ({ labelLogit, maximum, seen }) => {
    if (!seen) return Number.isNaN(labelLogit);
    return Number.isNaN(maximum) || labelLogit <= maximum;
  },
  predictions: ({ predictions, maximum, seen, labels, labelLogit, partials }) => {
    if (predictions === -1) return !Number.isFinite(maximum);
    if (!isSeen(partials.classes, predictions)) return false;
    return !(seen && predictions === labels) || Number.isNaN(maximum) || labelLogit === maximum;
  },
  labelWeight: ({ labelWeight, seen }) => seen || Number.isNaN(labelWeight),
  // Weights may be any numbers, and so may their sums.
  sampleWeights: () => true,
  weight: () => true,
  weightLow: ({ weight, weightLow }) => isRest(weightLow, weight),
  weighted: () => true,
  weightedLow: ({ weighted, weightedLow }) => isRest(weightedLow, weighted),
};

/** What a number rounds away. */
function isRest(low: number, high: number): boolean {
  return !Number.isFinite(high) || Math.abs(low) <= Math.abs(high) * 2 ** -52;
}

/** Whether a class is in one of these ranges. */
export function isSeen(classes: Partials["classes"], label: number): boolean {
  return classes.some(([begin, end]) => begin <= label && label < end);
}

/** What no shards have in common: the first of it, undefined where there is none. */
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
  return undefined;
}

/** What no run and no merging gives of a row: the first of it, undefined where there is none. */
export function findInvalidRow(partials: Partials): string | undefined {
  const names = Object.keys(COLUMNS) as Column[];
  const values = Object.fromEntries(names.map((name) => [name, 0])) as Record<Column, number>;
  const row = Object.assign(values, { seen: false, partials });
  for (let i = 0; i < partials.rows; i++) {
    for (const name of names) row[name] = partials[name][i] ?? 0;
    row.seen = isSeen(partials.classes, row.labels);
    const wrong = names.find((name) => !COLUMNS[name](row));
    if (wrong !== undefined) return `${row[wrong]} as ${wrong} of row ${i}`;
  }
  return undefined;
}
