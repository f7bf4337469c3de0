import type { LossOptions } from "xent";
import type { LogitsView } from "./logits-view.ts";
import { transform } from "./steps.ts";

/** The results of a run for one row. */
export interface Predicted {
  readonly label: number;
  readonly prediction: number;
  /** The loss, if it is exactly -log(softmax(x)[label]). */
  readonly nll: number | undefined;
  readonly logSumExp: number;
}

/** Above this, the difference of two f32 numbers is not exact enough. */
const MOST = 16;

/** The probability of the predicted class: the largest softmax of the row. */
export function confidenceOf(logits: LogitsView, row: number, predicted: Predicted, options: LossOptions): number {
  const { label, prediction, nll, logSumExp } = predicted;
  const { softcap, temperature } = options;
  const own = { ...(softcap === undefined ? {} : { softcap }), ...(temperature === undefined ? {} : { temperature }) };
  const transformed = (x: number): number => transform(x, own);
  const top = transformed(logits.at(row, prediction));
  // Loss and log-sum-exp are rounded to f32; the log-sum-exp includes any offset that all logits share.
  const distance = (): number => {
    if (nll !== undefined && nll <= Math.min(MOST, Math.abs(logSumExp))) {
      return label === prediction ? nll : nll - (top - transformed(logits.at(row, label)));
    }
    if (Math.abs(logSumExp) <= MOST) return logSumExp - top;
    return Math.log(logits.numbers(row).reduce((sum, x) => sum + Math.exp(transformed(x) - top), 0));
  };
  return Math.exp(-Math.max(0, distance()));
}
