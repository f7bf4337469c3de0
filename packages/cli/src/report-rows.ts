import { LogBuckets } from "./log-buckets.ts";

/** The most points on a line by position. */
const MOST_POINTS = 400;

/** Means by a row's position in its sequence. In long sequences, a mean covers several positions. */
export class Positions {
  readonly #width: number;
  readonly #sums: Float64Array;
  readonly #counts: Float64Array;

  /** `longest`: rows of the longest sequence. */
  constructor(longest: number) {
    this.#width = Math.ceil(longest / MOST_POINTS);
    this.#sums = new Float64Array(Math.ceil(longest / this.#width));
    this.#counts = new Float64Array(this.#sums.length);
  }

  add(position: number, value: number): void {
    const at = Math.floor(position / this.#width);
    this.#sums[at] = (this.#sums[at] as number) + value;
    this.#counts[at] = (this.#counts[at] as number) + 1;
  }

  /** The number of positions that a point covers. */
  get width(): number {
    return this.#width;
  }

  get points(): { readonly position: number; readonly mean: number }[] {
    return Array.from(this.#sums, (sum, i) => ({
      position: i * this.#width + (this.#width - 1) / 2,
      mean: sum / (this.#counts[i] as number),
    })).filter(({ mean }) => Number.isFinite(mean));
  }
}

/** The rows with the largest values, in descending order. Of equal values, the earlier row comes first. */
export class Largest<T> {
  readonly #most: number;
  readonly #rows: { readonly value: number; readonly row: T }[] = [];

  constructor(most: number) {
    this.#most = most;
  }

  add(value: number, row: () => T): void {
    const key = Number.isNaN(value) ? Infinity : value;
    const last = this.#rows.at(-1);
    if (this.#rows.length === this.#most && last !== undefined && key <= last.value) return;
    const at = this.#rows.findIndex((other) => other.value < key);
    this.#rows.splice(at < 0 ? this.#rows.length : at, 0, { value: key, row: row() });
    this.#rows.length = Math.min(this.#rows.length, this.#most);
  }

  get rows(): readonly T[] {
    return this.#rows.map(({ row }) => row);
  }
}

/** Every n-th row, where n doubles whenever more than `most` rows are kept. */
export class EachNth<T> {
  readonly #most: number;
  #kept: T[] = [];
  #step = 1;
  #seen = 0;

  constructor(most: number) {
    this.#most = most;
  }

  add(row: () => T): void {
    if (this.#seen++ % this.#step !== 0) return;
    this.#kept.push(row());
    if (this.#kept.length <= this.#most) return;
    this.#kept = this.#kept.filter((_, i) => i % 2 === 0);
    this.#step *= 2;
  }

  get step(): number {
    return this.#step;
  }

  get rows(): readonly T[] {
    return this.#kept;
  }
}

/** A bar of a histogram. */
export interface Bar {
  readonly from: number;
  readonly to: number;
  readonly rows: number;
}

/** The distribution of non-negative numbers. */
export class Distribution {
  readonly #buckets = new LogBuckets();

  add(value: number): void {
    this.#buckets.add(value);
  }

  /** `bars` bars up to `most`, and how many numbers are larger. A bucket that overlaps two bars is divided between them. */
  histogram(most: number, bars: number): { readonly bars: readonly Bar[]; readonly more: number } {
    const width = most / bars;
    const rows = new Float64Array(bars);
    let more = 0;
    for (const { from, to, count } of this.#buckets.buckets) {
      if (!(to <= most)) {
        const inside = from < most && Number.isFinite(to) ? (most - from) / (to - from) : 0;
        more += count * (1 - inside);
        if (inside === 0) continue;
      }
      const end = Math.min(to, most);
      const first = Math.min(bars - 1, Math.floor(from / width));
      const last = Math.min(bars - 1, Math.floor(end / width));
      for (let bar = first; bar <= last; bar++) {
        const share =
          first === last ? (end - from) / (to - from) : overlap(from, end, bar * width, width) / (to - from);
        rows[bar] = (rows[bar] as number) + count * share;
      }
    }
    return { bars: Array.from(rows, (sum, i) => ({ from: i * width, to: (i + 1) * width, rows: sum })), more };
  }

  /** The p-quantile of the finite numbers, within 0.2 %. */
  quantile(p: number): number {
    const finite = this.#buckets.buckets.filter(({ to }) => Number.isFinite(to));
    const all = finite.reduce((sum, { count }) => sum + count, 0);
    let before = 0;
    const found = finite.find(({ count }) => {
      before += count;
      return before >= p * all;
    });
    return found?.to ?? 0;
  }
}

function overlap(from: number, to: number, start: number, width: number): number {
  return Math.max(0, Math.min(to, start + width) - Math.max(from, start));
}
