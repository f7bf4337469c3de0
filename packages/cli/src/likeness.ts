import type { LogitsView } from "./logits-view.ts";

/** What the logits of a file may be instead. */
export type Likeness = "probabilities" | "log-probabilities";

/** How far a sum of rounded probabilities is from 1: 16 bits have few digits. */
const TOLERANCE = { float16: 0.01, bfloat16: 0.05, float32: 1e-3, float64: 1e-3 };

/** Looks whether all rows are probabilities, or all are log-probabilities. Of other rows it looks at no more than the first one. */
export class LikenessCheck {
  #rows = 0;
  #probabilities = true;
  #logProbabilities = true;

  /** `logSumExp`: of the logits as they are, where it is known. */
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

/** What is said of it. */
export function noticeOf(likeness: Likeness): string {
  return likeness === "probabilities"
    ? "each row lies in [0, 1] and adds up to 1: these look like probabilities, of which softmax is taken once more; give logits, or their logarithms"
    : "each row is log-probabilities: their softmax is what they are the logarithms of, and the loss is right";
}
