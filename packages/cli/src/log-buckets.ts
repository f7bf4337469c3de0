/** The exponent of an f64 and this many bits of its fraction choose a bucket, whose middle is within 0.2 % of its ends. */
const FRACTION_BITS = 8;
const SHIFT = 20 - FRACTION_BITS;

const float = new Float64Array(1);
const words = new Uint32Array(float.buffer);
/** The bucket after those of finite numbers. */
const INFINITE = 0x7ff00000 >>> SHIFT;

/** A histogram of non-negative numbers with 256 buckets for each power of two. */
export class LogBuckets {
  readonly #counts = new Map<number, number>();

  /** NaN counts as infinite, a negative number as 0. */
  add(x: number): void {
    float[0] = Math.max(x, 0);
    const bucket = Number.isNaN(x) ? INFINITE : (words[1] as number) >>> SHIFT;
    this.#counts.set(bucket, (this.#counts.get(bucket) ?? 0) + 1);
  }

  /** The buckets in ascending order. `from` and `to` are infinite for infinite numbers. */
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
