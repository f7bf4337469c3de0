// Whether merged partials belong to the last partials of a batch: a gradient from others would be wrong without any sign of it.

import { show } from "../errors.ts";
import type { Layout } from "../layout.ts";
import type { Partials } from "./columns.ts";
import { isLargest } from "./valid.ts";

/** The columns that are compared. */
const KEPT = [
  "labels",
  "sampleWeights",
  "labelWeight",
  "labelLogit",
  "predictions",
  "bestWeight",
  "largest",
  "maximum",
  "power",
  "sum",
  "targetMaximum",
  "targetPower",
  "targetSum",
] as const;

type Kept = (typeof KEPT)[number];

/** What a batch keeps of its last partials. */
export interface Own extends Pick<Partials, Kept> {
  /** The range of the batch's classes. */
  readonly classes: readonly [begin: number, end: number];
  /** Some of the batch's numbers: {@link readSome}. */
  readonly some: readonly Float64Array[];
}

/** The numbers of a batch: logits and, if it has them, targets. */
interface Numbers {
  readonly logits: ArrayLike<number>;
  readonly targets: ArrayLike<number> | undefined;
}

/** Copies of what {@link assertOwn} and {@link assertUnchanged} compare. The first row of the partials is row `begin` of the batch. */
export function ownOf(partials: Partials, numbers: Numbers, layout: Layout, begin: number): Own {
  const columns = Object.fromEntries(KEPT.map((name) => [name, partials[name].slice()])) as Pick<Partials, Kept>;
  const own = { ...columns, classes: partials.classes[0] as readonly [number, number] };
  return { ...own, some: readSome(own, numbers, layout, begin) };
}

/** The numbers at the largest logit of each row, and at the label if its class is in the batch; else 0. */
function readSome(
  { predictions, labels, classes: [first, end] }: Omit<Own, "some">,
  { logits, targets }: Numbers,
  { inner, rowStride, classStride }: Layout,
  begin: number,
): Float64Array[] {
  const placeOf = (row: number, c: number): number =>
    Math.floor(row / inner) * rowStride + (row % inner) + (c - first) * classStride;
  return [logits, ...(targets ? [targets] : [])].map((numbers) => {
    const read = (c: number, row: number): number =>
      c >= first && c < end ? (numbers[placeOf(begin + row, c)] as number) : 0;
    const some = new Float64Array(2 * labels.length);
    for (let row = 0; row < labels.length; row++) {
      some[2 * row] = read(predictions[row] as number, row);
      some[2 * row + 1] = read(labels[row] as number, row);
    }
    return some;
  });
}

/** Throws RangeError if the numbers in memory are others than at the last partials. Of each row, only a few are compared. */
export function assertUnchanged(own: Own, numbers: Numbers, layout: Layout, begin: number): void {
  for (const [i, some] of readSome(own, numbers, layout, begin).entries()) {
    const at = some.findIndex((value, j) => !Object.is(value, own.some[i]?.[j]));
    if (at < 0) continue;
    const title = i === 0 ? "logits" : "targets";
    const [expected, got] = [show(own.some[i]?.[at]), show(some[at])];
    throw new RangeError(
      `"${title}" expected those of the last partials(), with ${expected} in row ${begin + (at >> 1)}, got ${got}`,
    );
  }
}

/** Throws RangeError if a row of the merged partials cannot be the result of merging these partials with others. */
export function assertOwn(own: Own, merged: Partials): void {
  const { settings, predictions } = merged;
  const [begin, end] = own.classes;
  const isAny = (): boolean => true;
  const isLabelHere = (row: number): boolean => !Number.isNaN(own.labelWeight[row]);
  const isBestHere = (row: number): boolean => {
    const best = predictions[row] as number;
    return best >= begin && best < end;
  };
  const isNear = (mine: number, all: number): boolean => Object.is(mine, all) || isLargest(mine, all, settings);
  const isLeast = (mine: number, all: number): boolean => all >= mine || Number.isNaN(all) || isNear(mine, all);
  const differs = (what: string, row: number, mine: number, all: number): RangeError =>
    new RangeError(`"merged" expected ${what} of row ${row} of the last partials(), ${show(mine)}, got ${show(all)}`);
  // One column after the other, which is fast.
  const check = (name: Kept, accepts: Accepts, counts: (row: number) => boolean = isAny): void => {
    const [ours, theirs] = [own[name], merged[name]];
    for (let row = 0; row < ours.length; row++) {
      const [mine, all] = [ours[row] as number, theirs[row] as number];
      if (accepts(mine, all) || !counts(row)) continue;
      throw differs(`${accepts === isLeast ? "at least " : ""}the ${name}`, row, mine, all);
    }
  };
  const checkSum = (name: Kept, power: Kept): void => {
    const [ours, theirs, ourPowers, theirPowers] = [own[name], merged[name], own[power], merged[power]];
    for (let row = 0; row < ours.length; row++) {
      // NaN, which is never more, if a sum has no power: it is scaled with rounding errors.
      const mine = (ours[row] as number) * 2 ** ((ourPowers[row] as number) - (theirPowers[row] as number));
      const all = theirs[row] as number;
      if (mine > all * (1 + ROUNDING) + TINY) throw differs(`at least the ${name}`, row, mine, all);
    }
  };
  check("labels", Object.is);
  check("sampleWeights", Object.is);
  check("labelWeight", Object.is, isLabelHere);
  check("labelLogit", isNear, isLabelHere);
  check("maximum", isLeast);
  check("predictions", Object.is, isBestHere);
  check("bestWeight", Object.is, isBestHere);
  // Files of version 1 do not have the largest logit before the softcap.
  check("largest", (mine, all) => Object.is(mine, all) || Number.isNaN(all), isBestHere);
  check("maximum", (mine, all) => isNear(mine, all) || Number.isNaN(all), isBestHere);
  checkSum("sum", "power");
  check("targetMaximum", isLeast);
  checkSum("targetSum", "targetPower");
}

type Accepts = (mine: number, all: number) => boolean;

/** More than the relative difference between the sums of two variants of the kernel, which may have computed the two partials. */
const ROUNDING = 2 ** -20;

/** More than the rounding error of a sum that is subnormal in the unit of the merged sum. */
const TINY = 2 ** -1000;
