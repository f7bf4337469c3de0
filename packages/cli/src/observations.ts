import { Moments } from "./moments.ts";

/** Moments over the rows of a file that count, and over its sequences if these are clusters. */
export class Observations {
  readonly rows: Moments;
  readonly clusters: Moments = new Moments(true);
  readonly #sequence: number | undefined;
  /** The sequence that rows are being added to. */
  #open = { id: -1, y: 0, w: 0 };

  /** `sequence`: rows of one sequence; undefined if rows are not clustered. */
  constructor(weighted: boolean, sequence: number | undefined) {
    this.rows = new Moments(weighted);
    this.#sequence = sequence;
  }

  /** Adds a row. Call it in the order of the rows. */
  add(row: number, y: number, w: number): void {
    this.rows.add(y, w);
    if (this.#sequence === undefined) return;
    const id = Math.floor(row / this.#sequence);
    if (id !== this.#open.id) {
      this.end();
      this.#open.id = id;
    }
    this.#open.y += y;
    this.#open.w += w;
  }

  /** Call it when all rows of a file are added. */
  end(): void {
    const { id, y, w } = this.#open;
    if (id >= 0) this.clusters.add(y, w);
    this.#open = { id: -1, y: 0, w: 0 };
  }

  /** Adds the observations of another file. */
  merge({ rows, clusters }: Pick<Observations, "rows" | "clusters">): this {
    this.rows.merge(rows.sums);
    this.clusters.merge(clusters.sums);
    return this;
  }
}
