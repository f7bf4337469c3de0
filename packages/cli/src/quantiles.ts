import { LogBuckets } from "./log-buckets.ts";

/** The most numbers that are kept: 64 MiB. */
const MOST_KEPT = 2 ** 23;

/**
 * Quantiles of non-negative numbers: exact for at most 2^23 numbers, which are all kept; otherwise within 0.2 %, from a histogram.
 * NaN counts as larger than any number.
 */
export class Quantiles {
  readonly #kept: Float64Array | undefined;
  readonly #buckets = new LogBuckets();
  #count = 0;
  #notNumbers = 0;

  /** `most`: an upper bound on how many numbers will be added. */
  constructor(most: number) {
    this.#kept = most <= MOST_KEPT ? new Float64Array(most) : undefined;
  }

  add(x: number): void {
    const numbers = this.#count - this.#notNumbers;
    this.#count++;
    if (Number.isNaN(x)) this.#notNumbers++;
    else if (this.#kept) this.#kept[numbers] = x;
    else this.#buckets.add(x);
  }

  get count(): number {
    return this.#count;
  }

  get isExact(): boolean {
    return this.#kept !== undefined;
  }

  /** The quantile of each probability p: the sorted number at index (n - 1) p, linearly interpolated, as in NumPy. */
  at(probabilities: readonly number[]): number[] {
    const ranked = this.#kept
      ? rankedNumbers(this.#kept.subarray(0, this.#count - this.#notNumbers).sort())
      : rankedBuckets(this.#buckets);
    return probabilities.map((p) => {
      const place = (this.#count - 1) * p;
      const [below, above] = [ranked(Math.floor(place)), ranked(Math.ceil(place))];
      return below === above ? below : below + (above - below) * (place - Math.floor(place));
    });
  }
}

function rankedNumbers(sorted: Float64Array): (rank: number) => number {
  return (rank) => sorted[rank] ?? NaN;
}

/** Maps a rank to the middle of its bucket. */
function rankedBuckets({ buckets }: LogBuckets): (rank: number) => number {
  let before = 0;
  const ends = buckets.map(({ count }) => {
    before += count;
    return before;
  });
  return (rank) => {
    const { from, to } = buckets[ends.findIndex((end) => end > rank)] ?? { from: NaN, to: NaN };
    return to === Infinity ? from : (from + to) / 2;
  };
}
