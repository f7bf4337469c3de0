import type { LossOptions } from "xent";
import type { LogitsView } from "./logits-view.ts";
import { transform } from "./steps.ts";

/** What a run says of a row, and whose row it is. */
export interface Predicted {
  readonly label: number;
  readonly prediction: number;
  /** The loss, where it is nothing but -log(softmax(x)[label]). */
  readonly nll: number | undefined;
  readonly logSumExp: number;
}

/** From here on, f32 leaves too little of a difference of two numbers of that size. */
const MOST = 16;

/** The probability of the predicted class: the largest softmax of the row. */
export function confidenceOf(logits: LogitsView, row: number, predicted: Predicted, options: LossOptions): number {
  const { label, prediction, nll, logSumExp } = predicted;
  const { softcap, temperature } = options;
  const own = { ...(softcap === undefined ? {} : { softcap }), ...(temperature === undefined ? {} : { temperature }) };
  const transformed = (x: number): number => transform(x, own);
  const top = transformed(logits.at(row, prediction));
  // Both are rounded to f32, the log-sum-exp with whatever all logits have in common.
  const distance = (): number => {
    if (nll !== undefined && nll <= Math.min(MOST, Math.abs(logSumExp))) {
      return label === prediction ? nll : nll - (top - transformed(logits.at(row, label)));
    }
    if (Math.abs(logSumExp) <= MOST) return logSumExp - top;
    return Math.log(logits.numbers(row).reduce((sum, x) => sum + Math.exp(transformed(x) - top), 0));
  };
  return Math.exp(-Math.max(0, distance()));
}
