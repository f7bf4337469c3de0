import type { LogitsView } from "./logits-view.ts";

/** What a file of logits may hold instead. */
export type Likeness = "probabilities" | "log-probabilities";

/** How far a sum of rounded probabilities may be from 1: 16-bit types have few digits. */
const TOLERANCE = { float16: 0.01, bfloat16: 0.05, float32: 1e-3, float64: 1e-3 };

/** Checks whether all rows are probabilities or all are log-probabilities, up to the first row that is neither. */
export class LikenessCheck {
  #rows = 0;
  #probabilities = true;
  #logProbabilities = true;

  /** `logSumExp`: of the logits before any option, if it is known. */
  add(logits: LogitsView, row: number, prediction: number, logSumExp: number | undefined): void {
    if (!this.#probabilities && !this.#logProbabilities) return;
    this.#rows++;
    if (prediction < 0 || logits.classes === 1) this.#probabilities = this.#logProbabilities = false;
    const tolerance = TOLERANCE[logits.dtype];
    const largest = prediction < 0 ? NaN : logits.at(row, prediction);
    if (this.#probabilities) {
      const numbers = largest <= 1 ? logits.numbers(row) : undefined;
      const sum = numbers?.every((x) => x >= 0) ? numbers.reduce((total, x) => total + x, 0) : NaN;
      this.#probabilities = Math.abs(sum - 1) <= tolerance;
    }
    if (this.#logProbabilities) {
      const log = (): number => Math.log(logits.numbers(row).reduce((sum, x) => sum + Math.exp(x), 0));
      this.#logProbabilities = largest <= 0 && Math.abs(logSumExp ?? log()) <= tolerance;
    }
  }

  get result(): Likeness | undefined {
    if (this.#rows === 0) return undefined;
    if (this.#probabilities) return "probabilities";
    return this.#logProbabilities ? "log-probabilities" : undefined;
  }
}

/** The warning for it. */
export function noticeOf(likeness: Likeness): string {
  return likeness === "probabilities"
    ? "each row lies in [0, 1] and adds up to 1: these look like probabilities, and softmax is applied again; give logits, or the logarithms of the probabilities"
    : "each row is log-probabilities: softmax gives back the probabilities, so the loss is right";
}
