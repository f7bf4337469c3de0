import { integer, show, wrongType, wrongValue } from "./errors.ts";

/** How the gradient's rows are put together, and which reduction it is the gradient of. */
export type Reduction = "none" | "sum" | "mean";

/** What to compute. Names and meanings follow PyTorch and Keras; all combine. */
export interface LossOptions {
  /** Also the gradient of the reduced loss with respect to the logits. Default false. */
  gradient?: boolean;
  /**
   * What the gradient is the gradient of. "none" (default) and "sum": the sum of the losses. "mean": their sum divided
   * by the number of rows that are not ignored. The losses are returned row by row whatever this is.
   */
  reduction?: Reduction;
  /** Rows with this label have loss 0 and gradient 0 and do not count. May lie outside of [0, classes). Default: none. */
  ignoreIndex?: number;
  /** Also the class with the largest logit of each row, and how many of them are the label. Default false. */
  predictions?: boolean;
}

/** Checked options, defaults filled in. */
export interface Settings {
  gradient: boolean;
  reduction: Reduction;
  ignoreIndex: number | undefined;
  predictions: boolean;
}

const DEFAULTS: Settings = { gradient: false, reduction: "none", ignoreIndex: undefined, predictions: false };

/** Throws TypeError for an option that does not exist or is of the wrong type, RangeError for a wrong value. */
export function readOptions(options: LossOptions | undefined, others: readonly string[] = []): Settings {
  if (options === undefined) return DEFAULTS;
  if (typeof options !== "object" || options === null) throw wrongType("options", "an object", options);
  for (const name of Object.keys(options)) {
    if (!(name in DEFAULTS) && !others.includes(name)) throw new TypeError(`"options" has no option ${show(name)}`);
  }
  const { gradient = false, reduction = "none", ignoreIndex, predictions = false } = options;
  if (typeof gradient !== "boolean") throw wrongType("gradient", "true or false", gradient);
  if (typeof predictions !== "boolean") throw wrongType("predictions", "true or false", predictions);
  if (reduction !== "none" && reduction !== "sum" && reduction !== "mean") {
    const wrong = typeof reduction === "string" ? wrongValue : wrongType;
    throw wrong("reduction", '"none", "sum" or "mean"', reduction);
  }
  if (ignoreIndex !== undefined) integer("ignoreIndex", ignoreIndex, -(2 ** 31), 2 ** 31 - 1);
  return { gradient, reduction, ignoreIndex, predictions };
}
