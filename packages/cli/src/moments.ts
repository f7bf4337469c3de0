import { type Long, LongSum, minus, over, plus, times } from "./long-sum.ts";

/** The sums of {@link Moments}, as sent to other processes. */
export interface MomentSums {
  readonly count: number;
  readonly y: Long;
  readonly yy: Long;
  readonly w: Long;
  readonly yw: Long;
  readonly ww: Long;
}

const NAMES = ["y", "yy", "w", "yw", "ww"] as const;

/**
 * The sums for the standard error of a mean. The mean is a ratio, m = sum y / sum w, with w = 1 without weights. Linearization gives
 * its variance, n / (n - 1) sum (y - m w)^2 / (sum w)^2 (W. G. Cochran, Sampling Techniques, 3rd ed., 2.11 and 6.3), which is s^2 / n
 * without weights. With clusters, y and w are sums over one cluster, and n is the number of clusters.
 */
export class Moments {
  readonly #weighted: boolean;
  #count = 0;
  readonly #sums = { y: new LongSum(), yy: new LongSum(), w: new LongSum(), yw: new LongSum(), ww: new LongSum() };

  /** `weighted`: whether a weight may differ from 1. */
  constructor(weighted: boolean) {
    this.#weighted = weighted;
  }

  add(y: number, w: number): void {
    const sums = this.#sums;
    this.#count++;
    sums.y.add(y);
    sums.yy.add(y * y);
    if (!this.#weighted) return;
    sums.w.add(w);
    sums.yw.add(y * w);
    sums.ww.add(w * w);
  }

  merge(other: MomentSums): this {
    this.#count += other.count;
    for (const name of NAMES) this.#sums[name].addLong(other[name]);
    return this;
  }

  get count(): number {
    return this.#count;
  }

  get sums(): MomentSums {
    const { y, yy, w, yw, ww } = this.#sums;
    const count = this.#count;
    if (!this.#weighted) return { count, y: y.value, yy: yy.value, w: [count, 0], yw: y.value, ww: [count, 0] };
    return { count, y: y.value, yy: yy.value, w: w.value, yw: yw.value, ww: ww.value };
  }

  get mean(): number {
    const { y, w } = this.sums;
    return over(y, w)[0];
  }

  /** The standard error of the mean; NaN if there are fewer than two summands. */
  get standardError(): number {
    const { count, y, yy, w, yw, ww } = this.sums;
    if (count < 2) return NaN;
    const mean = over(y, w);
    const twice: Long = [2 * mean[0], 2 * mean[1]];
    const [squares] = plus(minus(yy, times(twice, yw)), times(times(mean, mean), ww));
    return Math.sqrt((count / (count - 1)) * Math.max(0, squares)) / Math.abs(w[0]);
  }
}
