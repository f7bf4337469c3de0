// Whether merged partials belong to the last partials of a batch: a gradient from others would be wrong without any sign of it.

import { show } from "../errors.ts";
import type { Layout } from "../layout.ts";
import type { Partials } from "./columns.ts";
import { factorOf } from "./scale.ts";
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
  const { settings, rows } = merged;
  const [begin, end] = own.classes;
  const isNear = (mine: number, all: number): boolean => Object.is(mine, all) || isLargest(mine, all, settings);
  let row = 0;
  const differs = (what: string, mine: number, all: number): RangeError =>
    new RangeError(`"merged" expected ${what} of row ${row} of the last partials(), ${show(mine)}, got ${show(all)}`);
  const check = (name: Kept, accepts: (mine: number, all: number) => boolean, relation = ""): void => {
    const [mine, all] = [own[name][row] as number, merged[name][row] as number];
    if (!accepts(mine, all)) throw differs(`${relation}the ${name}`, mine, all);
  };
  const checkLeast = (maximum: "maximum" | "targetMaximum"): void =>
    check(maximum, (mine, all) => all >= mine || Number.isNaN(all) || isNear(mine, all), "at least ");
  const checkSum = (...[maximum, power, sum]: readonly [Kept, Kept, Kept]): void => {
    const scaleOf = (of: Own | Partials) => ({ maximum: of[maximum][row] as number, power: of[power][row] as number });
    const [from, to] = [scaleOf(own), scaleOf(merged)];
    // Without powers, sums are scaled with rounding errors.
    if (Number.isNaN(from.power) || Number.isNaN(to.power)) return;
    const [mine, all] = [(own[sum][row] as number) * factorOf(from, to), merged[sum][row] as number];
    if (mine > all * (1 + 2 ** -50) + TINY) throw differs(`at least the ${sum}`, mine, all);
  };
  for (; row < rows; row++) {
    check("labels", Object.is);
    check("sampleWeights", Object.is);
    if (!Number.isNaN(own.labelWeight[row])) {
      check("labelWeight", Object.is);
      check("labelLogit", isNear);
    }
    checkLeast("maximum");
    const best = merged.predictions[row] as number;
    if (best >= begin && best < end) {
      check("predictions", Object.is);
      check("bestWeight", Object.is);
      // Files of version 1 do not have the largest logit before the softcap.
      check("largest", (mine, all) => Object.is(mine, all) || Number.isNaN(all));
      check("maximum", (mine, all) => isNear(mine, all) || Number.isNaN(all));
    }
    checkSum("maximum", "power", "sum");
    if (settings.divergence === 0) continue;
    checkLeast("targetMaximum");
    checkSum("targetMaximum", "targetPower", "targetSum");
  }
}

/** More than the rounding error of a sum that is subnormal in the unit of the merged sum. */
const TINY = 2 ** -1000;
