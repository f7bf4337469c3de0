/** Of the bits of a positive f64, the exponent and so many of the fraction choose a bucket: at most 0.2 % from its middle to its end. */
const FRACTION_BITS = 8;
const SHIFT = 20 - FRACTION_BITS;

const float = new Float64Array(1);
const words = new Uint32Array(float.buffer);
/** Behind all that are finite. */
const INFINITE = 0x7ff00000 >>> SHIFT;

/** How many of any numbers of numbers, none of them negative, lie in each of 256 buckets for each power of two. */
export class LogBuckets {
  readonly #counts = new Map<number, number>();

  /** NaN counts as infinite, and what is negative as 0. */
  add(x: number): void {
    float[0] = Math.max(x, 0);
    const bucket = Number.isNaN(x) ? INFINITE : (words[1] as number) >>> SHIFT;
    this.#counts.set(bucket, (this.#counts.get(bucket) ?? 0) + 1);
  }

  /** From the smallest numbers to the largest; `from` and `to` are infinite for those that are. */
  get buckets(): { readonly from: number; readonly to: number; readonly count: number }[] {
    const sorted = [...this.#counts].sort(([a], [b]) => a - b);
    return sorted.map(([bucket, count]) => ({ from: startOf(bucket), to: startOf(bucket + 1), count }));
  }
}

function startOf(bucket: number): number {
  if (bucket >= INFINITE) return Infinity;
  words[0] = 0;
  words[1] = bucket << SHIFT;
  return float[0] as number;
}
