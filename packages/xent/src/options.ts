import { checkNames, choice, integer, wrongType, wrongValue } from "./errors.ts";
import { type NumbersOf16Bits, readSource } from "./inputs.ts";
import { assertAttached, bareView, typedArrayKind } from "./typed-array.ts";

/** The reduction of the losses whose gradient is computed. */
export type Reduction = "none" | "sum" | "mean";

/** One number for each class, or for each row; converted to f32. */
export type Weights = Float32Array | Float64Array | NumbersOf16Bits | readonly number[];

/**
 * Options of a loss. Names and meanings follow PyTorch and Keras. All options combine. `G` and `P` are the types of `gradient` and
 * `predictions`, which determine the type of the result.
 */
export interface LossOptions<G extends boolean = boolean, P extends boolean = boolean> {
  /** Whether to compute the gradient of the reduced loss with respect to the logits. Default false. */
  gradient?: G | undefined;
  /**
   * What the gradient is of. "none" (default) and "sum": the sum of the losses. "mean": their sum divided by `normalizer`. The losses
   * are returned row by row in any case.
   */
  reduction?: Reduction | undefined;
  /** Rows with this label have loss 0 and gradient 0, and do not count. It may lie outside of [0, classes). Default: none. */
  ignoreIndex?: number | undefined;
  /** Weight of each class, [classes]. As in PyTorch, the mean is weighted by the weights of the labels. */
  classWeights?: Weights | undefined;
  /**
   * Factor of the loss of each row, [rows]. Does not change the normalizer. A row with 0 has loss and gradient 0, whatever its logits and
   * targets are.
   */
  sampleWeights?: Weights | undefined;
  /** e in [0, 1): the label gets 1 - e of the target, and e is spread evenly over all classes. Default 0. */
  labelSmoothing?: number | undefined;
  /** z >= 0: adds z (log-sum-exp)^2 to each loss, without class weights. Default 0. */
  zLoss?: number | undefined;
  /** c > 0: logits become c tanh(x / c) first. Default: no cap. */
  softcap?: number | undefined;
  /** t > 0: logits are divided by it, after the softcap. Default 1. */
  temperature?: number | undefined;
  /** Whether to return the class of each row's largest logit, and how many of these are the label. Default false. */
  predictions?: P | undefined;
  /** How to treat a label outside of [0, classes): "throw" (default), or "nan", which makes its row NaN, as TensorFlow does on a GPU. */
  invalidLabels?: "throw" | "nan" | undefined;
}

/** The layout and type of the logits of a call, if the array does not state them. */
export interface ShapeOptions {
  /** Sizes of all axes of the logits. Default [rows, classes], with one row for each label. */
  shape?: readonly number[] | undefined;
  /** The class axis in `shape`, counted from the end if negative. Default -1. */
  axis?: number | undefined;
  /** The type of 16-bit floats in a Uint16Array. */
  logits?: "float16" | "bfloat16" | undefined;
}

/** Checked options, with defaults. */
export interface Settings {
  gradient: boolean;
  reduction: Reduction;
  ignoreIndex: number | undefined;
  classWeights: Float32Array | undefined;
  sampleWeights: Float32Array | undefined;
  labelSmoothing: number;
  zLoss: number;
  softcap: number | undefined;
  temperature: number;
  predictions: boolean;
  invalidLabels: "throw" | "nan";
}

const DEFAULTS: Settings = {
  gradient: false,
  reduction: "none",
  ignoreIndex: undefined,
  classWeights: undefined,
  sampleWeights: undefined,
  labelSmoothing: 0,
  zLoss: 0,
  softcap: undefined,
  temperature: 1,
  predictions: false,
  invalidLabels: "throw",
};

/** The names of the options of a loss. */
export const LOSS_OPTIONS: readonly string[] = Object.keys(DEFAULTS);

export const REDUCTIONS: readonly Reduction[] = ["none", "sum", "mean"];

/** Throws TypeError for an option that does not exist or is of the wrong type, RangeError for a wrong value. */
export function readOptions(
  options: LossOptions | undefined,
  rows: number,
  classes: number,
  others: readonly string[] = [],
): Settings {
  if (options === undefined) return DEFAULTS;
  checkNames("options", options, LOSS_OPTIONS, others);
  const { gradient = false, predictions = false, reduction = "none", ignoreIndex, invalidLabels = "throw" } = options;
  const { labelSmoothing = 0, zLoss = 0, softcap, temperature = 1 } = options;
  if (ignoreIndex !== undefined) integer("ignoreIndex", ignoreIndex, Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER);
  // Both are read before either length is checked: reading one array of the caller may change the other.
  const classWeights = weights("classWeights", options.classWeights);
  const sampleWeights = weights("sampleWeights", options.sampleWeights);
  assertLength("classWeights", classWeights, classes, "classes");
  assertLength("sampleWeights", sampleWeights, rows, "rows");
  return {
    gradient: boolean("gradient", gradient),
    reduction: choice("reduction", reduction, REDUCTIONS),
    ignoreIndex,
    classWeights,
    sampleWeights,
    labelSmoothing: number("labelSmoothing", labelSmoothing, "a number in [0, 1)", (e) => e >= 0 && e < 1),
    zLoss: number("zLoss", zLoss, "a finite number >= 0", (z) => z >= 0 && z < Infinity),
    softcap: softcap === undefined ? undefined : number("softcap", softcap, "a finite number > 0", isPositive),
    temperature: number("temperature", temperature, "a finite number > 0", isPositive),
    predictions: boolean("predictions", predictions),
    invalidLabels: choice("invalidLabels", invalidLabels, ["throw", "nan"]),
  };
}

/** Settings with copies of the weights: the caller may change or detach the originals before they are read. */
export function ownWeights(settings: Settings): Settings {
  const { classWeights, sampleWeights } = settings;
  if (classWeights === undefined && sampleWeights === undefined) return settings;
  return { ...settings, classWeights: classWeights?.slice(), sampleWeights: sampleWeights?.slice() };
}

function isPositive(x: number): boolean {
  return x > 0 && x < Infinity;
}

/** Returns true or false, or throws an error that names it. */
export function boolean(title: string, value: unknown): boolean {
  if (typeof value !== "boolean") throw wrongType(title, "true or false", value);
  return value;
}

function number(title: string, value: unknown, expected: string, accepts: (value: number) => boolean): number {
  if (typeof value !== "number") throw wrongType(title, expected, value);
  if (!accepts(value)) throw wrongValue(title, expected, value);
  return value;
}

function weights(title: string, value: unknown): Float32Array | undefined {
  if (value === undefined) return undefined;
  if (typedArrayKind(value) === "Float32Array") {
    assertAttached(title, value as Float32Array);
    return bareView(value as Float32Array);
  }
  const expected = "a Float32Array or Float64Array, or an array of numbers";
  const { kind, parts, elements, shape } = readSource(title, value, expected);
  if (kind === "Uint16Array" || shape !== undefined) throw wrongType(title, expected, value);
  const weights = new Float32Array(elements);
  for (const part of parts) weights.set(part);
  return weights;
}

function assertLength(title: string, array: Float32Array | undefined, length: number, of: string): void {
  if (array === undefined) return;
  // Code of the caller may have run since the array was read.
  assertAttached(title, array);
  if (array.length !== length) {
    throw new RangeError(`"${title}" expected one number for each of ${length} ${of}, got ${array.length}`);
  }
}
