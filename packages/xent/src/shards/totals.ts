import { integer, wrongType, wrongValue } from "../errors.ts";
import { lengthOf, typedArrayKind } from "../typed-array.ts";
import { ExactSum } from "./exact.ts";

/** The result of a run or of {@link lossFromPartials}. */
export interface RowsResult {
  readonly loss: Float32Array | Float64Array;
  readonly normalizer: number;
  readonly count: number;
  readonly correct?: number;
}

/**
 * Exact sums over any number of rows, on any number of machines. They have the same bits for any order and grouping of the results.
 * Totals with sources ({@link addSource}) refuse to count a source twice.
 */
export class Totals {
  readonly #sum = new ExactSum();
  readonly #normalizer = new ExactSum();
  #count = 0;
  #correct = 0;
  readonly #sources = new Set<string>();

  /** Adds the rows of a result. Rows without predictions count as incorrect. */
  add(result: RowsResult): this {
    if (typeof result !== "object" || result === null || !isLosses(result.loss)) {
      throw wrongType("result", "what run() or lossFromPartials() gives", result);
    }
    const { loss, normalizer, count, correct = 0 } = result;
    if (typeof normalizer !== "number") throw wrongType("normalizer", "a number", normalizer);
    this.#addCounts(count, correct);
    const rows = lengthOf(loss);
    for (let row = 0; row < rows; row++) this.#sum.add(loss[row] as number);
    this.#normalizer.add(normalizer);
    return this;
  }

  /** Adds rows one by one: their losses, the weights of rows that are not ignored, and the number of correct predictions. */
  addRows(losses: Float32Array | Float64Array, weights: Float32Array, correct: number): this {
    this.#addCounts(weights.length, correct);
    for (const loss of losses) this.#sum.add(loss);
    for (const weight of weights) this.#normalizer.add(weight);
    return this;
  }

  #addCounts(count: number, correct: number): void {
    integer("count", count, 0, Number.MAX_SAFE_INTEGER - this.#count);
    integer("correct", correct, 0, count);
    this.#count += count;
    this.#correct += correct;
  }

  /**
   * Names the source of these rows, so that {@link merge} can refuse to count them twice: 128 bits of a checksum or a UUID, as 32
   * hexadecimal digits. Throws RangeError if these totals already have the source.
   */
  addSource(source: string): this {
    if (typeof source !== "string") throw wrongType("source", "32 hexadecimal digits", source);
    if (!/^[0-9a-f]{32}$/.test(source)) throw wrongValue("source", "32 hexadecimal digits", source);
    if (this.#sources.has(source)) throw wrongValue("source", "one whose rows are not counted yet", source);
    this.#sources.add(source);
    return this;
  }

  /**
   * Adds the rows of other totals. Throws RangeError, and adds nothing, if there would be more than 2^53 - 1 rows, or if both have a
   * source in common.
   */
  merge(other: Totals): this {
    if (!(other instanceof Totals)) throw wrongType("other", "Totals", other);
    for (const source of other.#sources) {
      if (this.#sources.has(source)) throw wrongValue("other", "rows that are not counted yet", source);
    }
    // Read before writing: `other` may be this.
    const { terms } = other;
    this.#addCounts(other.#count, other.#correct);
    for (const source of other.#sources) this.#sources.add(source);
    for (const term of terms.sum) this.#sum.add(term);
    for (const term of terms.normalizer) this.#normalizer.add(term);
    return this;
  }

  /** The sum of the losses, rounded to f64. */
  get sum(): number {
    return this.#sum.value;
  }

  /** The sum of the normalizers, rounded to f64. */
  get normalizer(): number {
    return this.#normalizer.value;
  }

  /** The number of rows that are not ignored. */
  get count(): number {
    return this.#count;
  }

  /** The number of rows whose prediction is the label, without ignored rows. */
  get correct(): number {
    return this.#correct;
  }

  /** `sum / normalizer`, and 0 if that is 0. */
  get mean(): number {
    const { normalizer } = this;
    return normalizer === 0 ? 0 : this.sum / normalizer;
  }

  /** Numbers whose sums are {@link sum} and {@link normalizer} before rounding. Equal totals give equal numbers. */
  get terms(): { sum: number[]; normalizer: number[] } {
    return { sum: this.#sum.terms, normalizer: this.#normalizer.terms };
  }

  /** The sources that {@link addSource} has named, sorted. */
  get sources(): string[] {
    return [...this.#sources].sort();
  }

  /** Totals from their `terms`, and `sources` if there are any. */
  static of(
    terms: { sum: Iterable<number>; normalizer: Iterable<number> },
    count: number,
    correct: number,
    sources: Iterable<string> = [],
  ): Totals {
    const totals = new Totals();
    for (const source of sources) totals.addSource(source);
    totals.#addCounts(count, correct);
    for (const [name, sum] of [
      ["sum", totals.#sum],
      ["normalizer", totals.#normalizer],
    ] as const) {
      for (const term of terms[name]) {
        if (typeof term !== "number") throw wrongType(`terms.${name}`, "numbers", term);
        sum.add(term);
      }
    }
    return totals;
  }
}

function isLosses(loss: unknown): boolean {
  const kind = typedArrayKind(loss);
  return kind === "Float32Array" || kind === "Float64Array";
}
