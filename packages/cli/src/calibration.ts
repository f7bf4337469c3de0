import { type Long, LongSum } from "./long-sum.ts";

/** The number of bins in the paper. */
export const USUAL_BINS = 15;

/** Rows whose confidence lies in a bin. */
export interface CalibrationBin {
  /** Confidences in (from, to]. */
  readonly from: number;
  readonly to: number;
  readonly rows: number;
  /** Means over these rows; absent if there are none. */
  readonly confidence?: number;
  readonly accuracy?: number;
}

export interface CalibrationResult {
  readonly expectedCalibrationError: number;
  readonly bins: readonly CalibrationBin[];
}

/**
 * Compares confidence, the probability of the predicted class, with accuracy, in bins of equal width. The expected calibration error
 * is sum_b n_b / n |accuracy_b - confidence_b| (C. Guo et al., On Calibration of Modern Neural Networks, ICML 2017).
 */
export class Calibration {
  readonly #rows: Float64Array;
  readonly #correct: Float64Array;
  readonly #confidence: readonly LongSum[];

  constructor(bins: number) {
    this.#rows = new Float64Array(bins);
    this.#correct = new Float64Array(bins);
    this.#confidence = Array.from({ length: bins }, () => new LongSum());
  }

  add(confidence: number, isCorrect: boolean): void {
    const bins = this.#rows.length;
    let bin = Math.max(0, Math.ceil(confidence * bins) - 1);
    // The product is rounded, so it may be on the other side of the bin's edge.
    if (bin > 0 && confidence <= bin / bins) bin--;
    else if (confidence > (bin + 1) / bins) bin++;
    this.#rows[bin] = (this.#rows[bin] as number) + 1;
    this.#correct[bin] = (this.#correct[bin] as number) + (isCorrect ? 1 : 0);
    this.#confidence[bin]?.add(confidence);
  }

  /** Four numbers for each bin: rows, correct rows, and the sum of their confidences (two numbers). */
  get numbers(): number[] {
    return this.#confidence.flatMap((sum, bin) => [
      this.#rows[bin] as number,
      this.#correct[bin] as number,
      ...sum.value,
    ]);
  }

  merge(numbers: ArrayLike<number>): void {
    for (const [bin, sum] of this.#confidence.entries()) {
      const [rows, correct, ...confidence] = Array.from({ length: 4 }, (_, i) => numbers[4 * bin + i] as number) as [
        number,
        number,
        ...Long,
      ];
      this.#rows[bin] = (this.#rows[bin] as number) + rows;
      this.#correct[bin] = (this.#correct[bin] as number) + correct;
      sum.addLong(confidence);
    }
  }

  get result(): CalibrationResult {
    const count = this.#rows.length;
    const all = this.#rows.reduce((sum, rows) => sum + rows, 0);
    let error = 0;
    const bins = this.#confidence.map((sum, bin): CalibrationBin => {
      const place = { from: bin / count, to: (bin + 1) / count };
      const rows = this.#rows[bin] as number;
      if (rows === 0) return { ...place, rows };
      const [confidence, accuracy] = [sum.value[0] / rows, (this.#correct[bin] as number) / rows];
      error += (rows / all) * Math.abs(accuracy - confidence);
      return { ...place, rows, confidence, accuracy };
    });
    return { expectedCalibrationError: all === 0 ? NaN : error, bins };
  }
}
