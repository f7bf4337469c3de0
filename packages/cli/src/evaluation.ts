import type { LogitsType, Totals } from "xent";
import type { CalibrationResult } from "./calibration.ts";
import type { FileSummary, Macro } from "./file-summary.ts";
import type { Group } from "./files.ts";
import type { Likeness } from "./likeness.ts";
import type { NotFinite } from "./not-finite.ts";

/** What follows from sums over rows. */
export interface Summary {
  readonly counted: number;
  readonly sum: number;
  readonly normalizer: number;
  readonly mean: number;
  readonly perplexity: number;
  readonly bitsPerToken: number;
  readonly correct: number;
  readonly accuracy: number;
}

/** How often the label is among the k largest logits. */
export interface TopK {
  readonly k: number;
  readonly correct: number;
  readonly accuracy: number;
}

/** A warning about a file. */
export interface Notice {
  readonly file: string;
  readonly looksLike: Likeness;
  readonly message: string;
}

/** The result of `xent evaluate`. */
export interface Evaluation extends Summary {
  readonly logits: { readonly name: string; readonly dtype: LogitsType; readonly shape: readonly number[] };
  readonly labels: { readonly name: string; readonly dtype: string };
  /** The number of files, if there are several. */
  readonly shards?: number;
  /** Standard error of the mean: s / sqrt(n), or by clusters. NaN if there are fewer than two. */
  readonly standardError: number;
  /** Standard error of the perplexity, by the delta method: perplexity times the standard error of the mean. */
  readonly perplexityStandardError: number;
  /** The unit that the standard errors are computed over, and the number of these units. */
  readonly group: { readonly by: Group; readonly count: number };
  readonly files: readonly FileSummary[];
  readonly macro: Macro;
  readonly topK?: readonly TopK[];
  readonly calibration?: CalibrationResult;
  readonly textBytes?: number;
  /** The sum of the losses in bits, divided by the bytes of the text. */
  readonly bitsPerByte?: number;
  readonly notices: readonly Notice[];
  readonly rows: number;
  readonly classes: number;
  readonly ignored: number;
  readonly notFinite: NotFinite;
  readonly variant: string;
  /** Absent if other processes computed the result. */
  readonly threads?: number;
  readonly bytes: number;
  readonly seconds: number;
}

/** What follows from sums over rows. */
export function summarize({ sum, normalizer, mean, count, correct }: Totals): Summary {
  const perplexity = Math.exp(mean);
  const bitsPerToken = mean / Math.LN2;
  return { counted: count, sum, normalizer, mean, perplexity, bitsPerToken, correct, accuracy: correct / count };
}

/** Names shortened: the first, and how many more there are. */
export function together(names: readonly string[]): string {
  return names.length === 1 ? (names[0] as string) : `${names[0]} and ${names.length - 1} more`;
}
