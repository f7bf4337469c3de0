import type { LogitsType } from "xent";
import type { Notice } from "./evaluation.ts";
import { standardErrorBy, type Uncertainty } from "./file-summary.ts";
import type { Group } from "./files.ts";
import { IGNORED } from "./labels.ts";
import type { NotFinite } from "./not-finite.ts";
import { Observations } from "./observations.ts";
import type { Quantiles } from "./quantiles.ts";

/** Results of two models on the same rows. */
export interface ComparedRows {
  readonly first: number;
  readonly labels: Int32Array;
  readonly base: RowsOfModel;
  readonly other: RowsOfModel;
  readonly divergence: Float32Array | Float64Array;
}

export interface RowsOfModel {
  readonly loss: Float32Array | Float64Array;
  readonly predictions: Int32Array;
}

/** A value, and the row that has it. */
export interface RowValue {
  readonly value: number;
  readonly row: number;
  /** Present if there are several files. */
  readonly file?: string;
}

/** A mean and its standard error. */
export interface Estimate {
  readonly mean: number;
  readonly standardError: number;
}

/** The loss of a model. */
export interface ModelSummary extends Estimate {
  readonly name: string;
  readonly dtype: LogitsType;
  readonly sum: number;
  readonly perplexity: number;
  readonly perplexityStandardError: number;
  readonly bitsPerToken: number;
  readonly correct: number;
  readonly accuracy: number;
  readonly notFinite: NotFinite;
}

const VALUES = [
  "base",
  "other",
  "difference",
  "divergence",
  "agreement",
  "before",
  "after",
  "change",
  "square",
] as const;

/** The observations of the rows of one file. */
export type Compared = Readonly<Record<(typeof VALUES)[number], Observations>> & {
  readonly correct: { base: number; other: number };
};

/** Quantiles and extremes over all files. */
export interface Extremes {
  readonly divergences: Quantiles;
  largest: RowValue | undefined;
  increase: RowValue | undefined;
  decrease: RowValue | undefined;
  /** Rows whose divergence is not finite. */
  infinite: number;
}

export function observing(sequence: number | undefined): Compared {
  const observations = Object.fromEntries(VALUES.map((name) => [name, new Observations(false, sequence)]));
  return { ...(observations as Record<(typeof VALUES)[number], Observations>), correct: { base: 0, other: 0 } };
}

/** Adds rows of one file, in their order. */
export function observe(into: Compared, extremes: Extremes, rows: ComparedRows, file: string | undefined): void {
  const { first, labels, base, other, divergence } = rows;
  for (let i = 0; i < labels.length; i++) {
    const label = labels[i] as number;
    if (label === IGNORED) continue;
    const row = first + i;
    const [a, b, kl] = [base.loss[i] as number, other.loss[i] as number, divergence[i] as number];
    const [best, otherBest] = [base.predictions[i] as number, other.predictions[i] as number];
    const change = changeOf(a, b);
    into.base.add(row, a, 1);
    into.other.add(row, b, 1);
    into.difference.add(row, b - a, 1);
    into.divergence.add(row, kl, 1);
    into.agreement.add(row, best === otherBest && best >= 0 ? 1 : 0, 1);
    into.before.add(row, Math.exp(-a), 1);
    into.after.add(row, Math.exp(-b), 1);
    into.change.add(row, change, 1);
    into.square.add(row, change * change, 1);
    if (best === label) into.correct.base++;
    if (otherBest === label) into.correct.other++;
    extremes.divergences.add(kl);
    if (!Number.isFinite(kl)) extremes.infinite++;
    const at = (value: number): RowValue => ({ value, row, ...(file === undefined ? {} : { file }) });
    if (isMore(kl, extremes.largest?.value)) extremes.largest = at(kl);
    if (isMore(change, extremes.increase?.value)) extremes.increase = at(change);
    if (isMore(-change, extremes.decrease && -extremes.decrease.value)) extremes.decrease = at(change);
  }
}

/** The change of the label's probability, exp(-loss). */
export function changeOf(base: number, other: number): number {
  if (base === Infinity || other === Infinity) return Math.exp(-other) - Math.exp(-base);
  return Math.exp(-base) * Math.expm1(base - other);
}

function isMore(value: number, than: number | undefined): boolean {
  return than === undefined || value > than || (Number.isNaN(value) && !Number.isNaN(than));
}

/** Call it when all rows of a file are added. */
export function endOf(compared: Compared): void {
  for (const name of VALUES) compared[name].end();
}

export function estimate(files: readonly Compared[], name: (typeof VALUES)[number], by: Group): Estimate {
  const of = files.map((file) => file[name]);
  const all = new Observations(false, undefined);
  for (const observations of of) all.merge(observations);
  return { mean: all.rows.mean, standardError: standardErrorBy(by, of).standardError };
}

/** How two models differ. */
export interface Relation {
  /** Other minus base, row by row. */
  readonly difference: Estimate & { readonly perplexityRatio: number; readonly perplexityRatioStandardError: number };
  /** KL divergence of the other model from the base, in nat. */
  readonly divergence: Estimate & {
    readonly median: number;
    readonly percentile99: number;
    readonly largest: RowValue | undefined;
    readonly notFinite: number;
    /** Whether the median and the percentile are exact. */
    readonly quantiles: "exact" | "within 0.2 %";
  };
  /** Rows whose largest logit has the same class in both. */
  readonly agreement: Estimate & { readonly rows: number };
  readonly labelProbability: {
    readonly base: number;
    readonly other: number;
    readonly change: Estimate;
    readonly rootMeanSquareChange: number;
    readonly largestIncrease: RowValue | undefined;
    readonly largestDecrease: RowValue | undefined;
  };
}

export function relationOf(files: readonly Compared[], extremes: Extremes, by: Group): Relation {
  const of = (name: (typeof VALUES)[number]): Estimate => estimate(files, name, by);
  const difference = of("difference");
  const perplexityRatio = Math.exp(difference.mean);
  const [median = NaN, percentile99 = NaN] = extremes.divergences.at([0.5, 0.99]);
  const agreement = of("agreement");
  return {
    difference: {
      ...difference,
      perplexityRatio,
      perplexityRatioStandardError: perplexityRatio * difference.standardError,
    },
    divergence: {
      ...of("divergence"),
      median,
      percentile99,
      largest: extremes.largest,
      notFinite: extremes.infinite,
      quantiles: extremes.divergences.isExact ? "exact" : "within 0.2 %",
    },
    agreement: { ...agreement, rows: files.reduce((sum, file) => sum + file.agreement.rows.sums.y[0], 0) },
    labelProbability: {
      base: of("before").mean,
      other: of("after").mean,
      change: of("change"),
      rootMeanSquareChange: Math.sqrt(of("square").mean),
      largestIncrease: extremes.increase,
      largestDecrease: extremes.decrease,
    },
  };
}

export function modelOf(
  files: readonly Compared[],
  model: "base" | "other",
  by: Group,
  about: Pick<ModelSummary, "name" | "dtype" | "notFinite">,
): ModelSummary {
  const { mean, standardError } = estimate(files, model, by);
  const counted = files.reduce((sum, file) => sum + file[model].rows.count, 0);
  const sum = files.reduce((total, file) => total + file[model].rows.sums.y[0], 0);
  const correct = files.reduce((total, file) => total + file.correct[model], 0);
  const perplexity = Math.exp(mean);
  return {
    ...about,
    sum,
    mean,
    standardError,
    perplexity,
    perplexityStandardError: perplexity * standardError,
    bitsPerToken: mean / Math.LN2,
    correct,
    accuracy: correct / counted,
  };
}

/** The comparison of one pair of files. */
export interface FileComparison {
  readonly base: string;
  readonly other: string;
  readonly rows: number;
  readonly counted: number;
  readonly baseMean: number;
  readonly otherMean: number;
  readonly difference: Estimate;
  readonly divergence: Estimate;
  readonly agreement: number;
}

/** The result of `xent compare`. */
export interface Comparison extends Relation {
  readonly base: ModelSummary;
  readonly other: ModelSummary;
  readonly labels: { readonly name: string; readonly dtype: string };
  readonly rows: number;
  readonly classes: number;
  readonly counted: number;
  readonly ignored: number;
  readonly group: Uncertainty["group"];
  readonly files: readonly FileComparison[];
  readonly notices: readonly Notice[];
  readonly variant: string;
  readonly threads: number;
  readonly bytes: number;
  readonly seconds: number;
}
