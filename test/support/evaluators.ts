import { readFileSync } from "node:fs";

/** The logits [N, T, C] of two models for the same labels, and their statistics by NumPy and PyTorch in f64. */
export interface Evaluators {
  readonly shape: readonly [N: number, T: number, C: number];
  readonly logits: readonly number[];
  readonly other: readonly number[];
  readonly labels: readonly number[];
  readonly mask: readonly number[];
  readonly weights: readonly number[];
  readonly expected: {
    readonly mean: number;
    readonly standardError: number;
    readonly bySequence: number;
    readonly masked: {
      readonly count: number;
      readonly mean: number;
      readonly standardError: number;
      readonly bySequence: number;
    };
    readonly weighted: { readonly mean: number; readonly standardError: number };
    readonly files: readonly {
      readonly mean: number;
      readonly perplexity: number;
      readonly standardError: number;
      readonly correct: number;
    }[];
    readonly topK: Readonly<Record<number, number>>;
    readonly calibration: Readonly<Record<number, number>>;
    readonly bitsPerByte100: number;
    readonly compare: {
      readonly other: number;
      readonly difference: number;
      readonly differenceError: number;
      readonly differenceBySequence: number;
      readonly divergence: {
        readonly mean: number;
        readonly standardError: number;
        readonly median: number;
        readonly percentile99: number;
        readonly largest: number;
        readonly row: number;
      };
      readonly divergenceAtTemperature2: number;
      readonly agreement: number;
      readonly change: {
        readonly mean: number;
        readonly standardError: number;
        readonly rootMeanSquare: number;
        readonly least: number;
        readonly leastRow: number;
        readonly most: number;
        readonly mostRow: number;
      };
    };
  };
}

export const golden: Evaluators = JSON.parse(
  readFileSync(new URL("../golden/evaluators.json", import.meta.url), "utf8"),
);
