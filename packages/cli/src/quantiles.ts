import { LogBuckets } from "./log-buckets.ts";

/** Up to so many numbers are kept: 64 MiB. */
const MOST_KEPT = 2 ** 23;

/**
 * Quantiles of numbers that are not negative: exact up to 2^23 of them, of which each one is kept; of more, within 0.2 %, by counting
 * them in buckets. NaN counts as larger than all.
 */
export class Quantiles {
  readonly #kept: Float64Array | undefined;
  readonly #buckets = new LogBuckets();
  #count = 0;

  /** `most`: how many numbers there may be. */
  constructor(most: number) {
    this.#kept = most <= MOST_KEPT ? new Float64Array(most) : undefined;
  }

  add(x: number): void {
    if (this.#kept) this.#kept[this.#count] = Number.isNaN(x) ? Infinity : x;
    else this.#buckets.add(x);
    this.#count++;
  }

  get count(): number {
    return this.#count;
  }

  get isExact(): boolean {
    return this.#kept !== undefined;
  }

  /** For each probability the number at (n - 1) p of the sorted ones, between two of them by linear interpolation, as in NumPy. */
  at(probabilities: readonly number[]): number[] {
    const ranked = this.#kept
      ? rankedNumbers(this.#kept.subarray(0, this.#count).sort())
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

/** The middle of the bucket that a rank lies in. */
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
