import { integer, wrongType, wrongValue } from "../errors.ts";
import { assertAttached, lengthOf, typedArrayKind } from "../typed-array.ts";
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

  /**
   * Adds the rows of a result. Rows without predictions count as incorrect. Throws, and adds nothing, if the losses are detached or are
   * fewer than `count`.
   */
  add(result: RowsResult): this {
    const { loss, normalizer, count, correct = 0 }: Partial<RowsResult> = result ?? {};
    if (!isNumbers(loss)) throw wrongType("result", "what run() or lossFromPartials() gives", result);
    if (typeof normalizer !== "number") throw wrongType("normalizer", "a number", normalizer);
    assertAttached("loss", loss);
    this.#addCounts(integer("count", count, 0, lengthOf(loss)), correct);
    addAll(this.#sum, loss);
    this.#normalizer.add(normalizer);
    return this;
  }

  /**
   * Adds rows one by one: their losses, the weights of rows that are not ignored, and the number of correct predictions. Throws, and adds
   * nothing, if an array is detached or if there are more weights than losses.
   */
  addRows(losses: Float32Array | Float64Array, weights: Float32Array | Float64Array, correct: number): this {
    for (const [title, numbers] of Object.entries({ losses, weights })) {
      if (!isNumbers(numbers)) throw wrongType(title, "a Float32Array or Float64Array", numbers);
      assertAttached(title, numbers);
    }
    const [rows, count] = [lengthOf(losses), lengthOf(weights)];
    if (count > rows) throw new RangeError(`"weights" expected at most one for each of ${rows} losses, got ${count}`);
    this.#addCounts(count, correct);
    addAll(this.#sum, losses);
    addAll(this.#normalizer, weights);
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
    assertTotals("other", other);
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

function isNumbers(value: unknown): value is Float32Array | Float64Array {
  const kind = typedArrayKind(value);
  return kind === "Float32Array" || kind === "Float64Array";
}

function addAll(sum: ExactSum, numbers: Float32Array | Float64Array): void {
  const length = lengthOf(numbers);
  for (let i = 0; i < length; i++) sum.add(numbers[i] as number);
}

/** Throws TypeError for anything but {@link Totals}. */
export function assertTotals(title: string, value: unknown): asserts value is Totals {
  if (value instanceof Totals) return;
  // An application may load the package twice, as an ES module and in CommonJS. Each copy has a class of its own.
  const isOther = typeof (value as Partial<Totals> | null | undefined)?.addSource === "function";
  throw wrongType(title, isOther ? OF_THIS_COPY : "Totals", value);
}

const OF_THIS_COPY =
  "Totals of this copy of xent (two are loaded; encodeTotals() of the other and decodeTotals() of this one convert them)";
