// Partial results of rows, column by column.

/** The options of a run that all shards share. */
export interface PartialsSettings {
  readonly labelSmoothing: number;
  readonly zLoss: number;
  /** 0: no cap. */
  readonly softcap: number;
  readonly temperature: number;
  /** 1: soft targets instead of labels; else 0. */
  readonly softTargets: number;
  /** 1: the logits of another model instead of labels; else 0. */
  readonly divergence: number;
}

/**
 * Partial results of rows over some of their classes: of a shard, or of several after {@link mergePartials}. This is plain data, which
 * can be posted to another thread, or sent to another machine by `encodePartials`. Arrays have one entry for each row.
 */
export interface Partials {
  readonly rows: number;
  /** The number of all classes of a row. */
  readonly classesTotal: number;
  /** The ranges of classes that were seen, [begin, end), in order and not adjacent. */
  readonly classes: readonly (readonly [begin: number, end: number])[];
  readonly settings: PartialsSettings;
  /**
   * The label of the row; -1 if the row is ignored, -2 if the label is invalid (`invalidLabels: "nan"`). With soft targets, and of a
   * divergence, -2 in rows that count.
   */
  readonly labels: Int32Array;
  /** The largest logit, after softcap and temperature; -Infinity if all logits are -Infinity, NaN if one is NaN or Infinity. */
  readonly maximum: Float64Array;
  /** The unit of {@link sum} is 2^power, or e^maximum if the power is NaN. */
  readonly power: Float64Array;
  /**
   * The sum of the exponentials of all logits but the label's; with label smoothing or soft targets, but that of the class in
   * {@link predictions}; of a divergence, of all logits.
   */
  readonly sum: Float64Array;
  /** The rounding error of the sum, after merging. */
  readonly sumLow: Float64Array;
  /** The label's logit; NaN if it was not seen. */
  readonly labelLogit: Float64Array;
  /** The first class with the largest logit; -1 if there is none. */
  readonly predictions: Int32Array;
  /** The class weight of the label; NaN if it was not seen. All 1 without class weights. */
  readonly labelWeight: Float64Array;
  /** Factors of the losses. All 1 without sample weights. */
  readonly sampleWeights: Float32Array;
  /**
   * With label smoothing or soft targets, else empty: the sums of the weights, and of weight times distance from {@link maximum}, over
   * all classes but the one in {@link predictions}. For soft targets, the weights are the targets.
   */
  readonly weight: Float64Array;
  readonly weightLow: Float64Array;
  readonly margin: Float64Array;
  readonly marginLow: Float64Array;
  /** With label smoothing or soft targets, else empty: the weight of the class in {@link predictions}. */
  readonly bestWeight: Float64Array;
  /** With a softcap, else empty: the largest logit before softcap and temperature, which decides predictions; NaN if unknown. */
  readonly largest: Float64Array;
  /** Of a divergence, else empty: {@link maximum}, {@link power}, {@link sum} and {@link sumLow} of the target logits. */
  readonly targetMaximum: Float64Array;
  readonly targetPower: Float64Array;
  readonly targetSum: Float64Array;
  readonly targetSumLow: Float64Array;
  /** Of a divergence, else empty: the divergence within the classes that were seen, in the unit of {@link targetSum}. */
  readonly divergence: Float64Array;
  /** Of a divergence, else empty: how much {@link sum} exceeds the value that minimises the divergence of these classes. */
  readonly excess: Float64Array;
}

/** The arrays of {@link Partials}, and their types. */
export const COLUMNS = {
  labels: "Int32Array",
  maximum: "Float64Array",
  power: "Float64Array",
  sum: "Float64Array",
  sumLow: "Float64Array",
  labelLogit: "Float64Array",
  predictions: "Int32Array",
  labelWeight: "Float64Array",
  sampleWeights: "Float32Array",
  weight: "Float64Array",
  weightLow: "Float64Array",
  margin: "Float64Array",
  marginLow: "Float64Array",
  bestWeight: "Float64Array",
  largest: "Float64Array",
  targetMaximum: "Float64Array",
  targetPower: "Float64Array",
  targetSum: "Float64Array",
  targetSumLow: "Float64Array",
  divergence: "Float64Array",
  excess: "Float64Array",
} as const;

export type Column = keyof typeof COLUMNS;

/** The types of {@link COLUMNS}. */
export const TYPES: {
  readonly Float64Array: Float64ArrayConstructor;
  readonly Float32Array: Float32ArrayConstructor;
  readonly Int32Array: Int32ArrayConstructor;
} = { Float64Array, Float32Array, Int32Array };

/** Columns that are empty without label smoothing and soft targets. */
export const SMOOTHED: readonly Column[] = ["weight", "weightLow", "margin", "marginLow", "bestWeight"];

/** Whether classes other than the label have weight. */
export function isDense({ labelSmoothing, softTargets }: PartialsSettings): boolean {
  return labelSmoothing > 0 || softTargets === 1;
}

/** Columns that only a divergence has. */
export const DIVERGENT: readonly Column[] = [
  "targetMaximum",
  "targetPower",
  "targetSum",
  "targetSumLow",
  "divergence",
  "excess",
];

/** The settings of {@link Partials}, in the order of the file. */
export const SETTINGS = ["labelSmoothing", "zLoss", "softcap", "temperature", "softTargets", "divergence"] as const;
