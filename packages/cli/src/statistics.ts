import type { LossOptions, Totals } from "xent";
import { Calibration, type CalibrationResult } from "./calibration.ts";
import { confidenceOf } from "./confidence.ts";
import { IGNORED } from "./labels.ts";
import { type Likeness, LikenessCheck } from "./likeness.ts";
import type { LogitsView } from "./logits-view.ts";
import type { MomentSums } from "./moments.ts";
import { Observations } from "./observations.ts";
import type { Rows } from "./per-row.ts";

/** Results of rows, with their logits and labels. */
export interface ComputedRows extends Rows {
  readonly logSumExp: Float32Array | Float64Array;
  readonly logits: LogitsView;
}

/** The statistics that are wanted beyond sums. */
export interface Questions {
  /** Each k of the top-k accuracies. */
  readonly topK: readonly number[];
  /** The number of bins of the calibration. */
  readonly calibration: number | undefined;
  /** Whether sequences are clusters. */
  readonly bySequence: boolean;
  /** Whether rows have class weights. */
  readonly weighted: boolean;
}

/** How many numbers a {@link MomentSums} has. */
const MOMENTS = 11;
const LIKENESSES = [undefined, "probabilities", "log-probabilities"] as const;

/** Statistics of rows beyond their sums. Those of several files can be merged in any order. */
export class Statistics {
  readonly questions: Questions;
  readonly observations: Observations;
  readonly #topK: Float64Array;
  readonly #calibration: Calibration | undefined;
  readonly #likeness = new LikenessCheck();
  #known: Likeness | undefined;

  /** `sequence`: rows of one sequence in the file whose rows are added. */
  constructor(questions: Questions, sequence = 1) {
    this.questions = questions;
    this.observations = new Observations(questions.weighted, questions.bySequence ? sequence : undefined);
    this.#topK = new Float64Array(questions.topK.length);
    this.#calibration = questions.calibration === undefined ? undefined : new Calibration(questions.calibration);
  }

  /** Adds rows of one file, in their order. */
  add(computed: ComputedRows, options: LossOptions): void {
    const { first, labels, loss, logSumExp, predictions, logits } = computed;
    const { topK } = this.questions;
    const { classWeights, labelSmoothing = 0, zLoss = 0, softcap, temperature } = options;
    const most = Math.max(0, ...topK);
    const isPlain = classWeights === undefined && labelSmoothing === 0 && zLoss === 0;
    const isTransformed = softcap !== undefined || temperature !== undefined;
    for (let row = 0; row < loss.length; row++) {
      const label = labels[row] as number;
      if (label === IGNORED) continue;
      const [y, w] = [loss[row] as number, classWeights === undefined ? 1 : (classWeights[label] as number)];
      this.observations.add(first + row, y, w);
      const prediction = predictions[row] as number;
      const lse = logSumExp[row] as number;
      this.#likeness.add(logits, row, prediction, isTransformed ? undefined : lse);
      if (prediction < 0) continue;
      if (most > 0) {
        const rank = prediction === label ? 0 : logits.rankOf(row, label, most);
        for (const [i, k] of topK.entries()) if (rank < k) this.#topK[i] = (this.#topK[i] as number) + 1;
      }
      if (this.#calibration === undefined) continue;
      const predicted = { label, prediction, nll: isPlain ? y : undefined, logSumExp: lse };
      this.#calibration.add(confidenceOf(logits, row, predicted, options), prediction === label);
    }
  }

  /** Call it when all rows of a file are added. */
  end(): void {
    this.observations.end();
    this.#known = this.#likeness.result;
  }

  /** The standard error of the mean, over rows, or over clusters if these are asked for. */
  get standardError(): number {
    const { rows, clusters } = this.observations;
    return (this.questions.bySequence ? clusters : rows).standardError;
  }

  get topK(): readonly { readonly k: number; readonly correct: number }[] {
    return this.questions.topK.map((k, i) => ({ k, correct: this.#topK[i] as number }));
  }

  get calibration(): CalibrationResult | undefined {
    return this.#calibration?.result;
  }

  /** What the rows look like instead of logits, if all look alike. */
  get likeness(): Likeness | undefined {
    return this.#known;
  }

  /** The statistics as numbers, for {@link merge}. */
  get numbers(): Float64Array {
    return Float64Array.from([
      ...numbersOf(this.observations.rows.sums),
      ...numbersOf(this.observations.clusters.sums),
      LIKENESSES.indexOf(this.#known),
      ...this.#topK,
      ...(this.#calibration?.numbers ?? []),
    ]);
  }

  /** Reads {@link numbers}; undefined if they contradict the totals. */
  static read(questions: Questions, numbers: Float64Array, { count, sum }: Totals): Statistics | undefined {
    const { topK, calibration = 0 } = questions;
    if (numbers.length !== 2 * MOMENTS + 1 + topK.length + 4 * calibration) return undefined;
    const read = new Statistics(questions).merge(numbers);
    const isCount = (value: number, most: number): boolean => Number.isInteger(value) && value >= 0 && value <= most;
    const counts = [...read.#topK, count];
    const bins = read.calibration?.bins ?? [];
    const { rows, clusters } = read.observations;
    const [ofRows] = rows.sums.y;
    const isRight =
      rows.count === count &&
      isCount(clusters.count, questions.bySequence ? count : 0) &&
      isCount(numbers[2 * MOMENTS] as number, LIKENESSES.length - 1) &&
      counts.every((value, i) => isCount(value, counts[i + 1] ?? count)) &&
      bins.every(({ rows, confidence = 0, accuracy = 0 }) => {
        return isCount(rows, count) && confidence >= 0 && confidence <= 1 && accuracy >= 0 && accuracy <= 1;
      }) &&
      bins.reduce((all, { rows }) => all + rows, 0) <= count &&
      (Object.is(ofRows, sum) || Math.abs(ofRows - sum) <= 1e-12 * Math.abs(sum));
    return isRight ? read : undefined;
  }

  /** Adds the numbers of other rows, which must answer the same questions. */
  merge(numbers: Float64Array): this {
    this.observations.rows.merge(momentsOf(numbers.subarray(0, MOMENTS)));
    this.observations.clusters.merge(momentsOf(numbers.subarray(MOMENTS, 2 * MOMENTS)));
    const at = 2 * MOMENTS;
    this.#known = LIKENESSES[numbers[at] as number];
    for (const [i, count] of this.#topK.entries()) this.#topK[i] = count + (numbers[at + 1 + i] as number);
    this.#calibration?.merge(numbers.subarray(at + 1 + this.#topK.length));
    return this;
  }
}

function numbersOf({ count, ...sums }: MomentSums): number[] {
  const { y, yy, w, yw, ww } = sums;
  return [count, ...y, ...yy, ...w, ...yw, ...ww];
}

function momentsOf(numbers: Float64Array): MomentSums {
  const [count, ...sums] = numbers;
  const long = (i: number) => [sums[2 * i] as number, sums[2 * i + 1] as number] as const;
  return { count: count as number, y: long(0), yy: long(1), w: long(2), yw: long(3), ww: long(4) };
}
