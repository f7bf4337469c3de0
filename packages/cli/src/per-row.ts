import { badUsage } from "./failure.ts";
import { IGNORED } from "./labels.ts";
import { npyHeader } from "./npy.ts";
import { OutputFile } from "./output-file.ts";

/** Results of some rows, one after the other. */
export interface Rows {
  readonly first: number;
  readonly labels: Int32Array;
  readonly loss: Float32Array | Float64Array;
  readonly predictions: Int32Array;
}

/** A file with a loss for each row. */
export class PerRow {
  readonly #file: OutputFile;

  private constructor(file: OutputFile) {
    this.#file = file;
  }

  /** `inputs`: files that are read, and must stay. */
  static async open(path: string, rows: number, inputs: readonly string[]): Promise<PerRow> {
    if (!/\.(npy|csv)$/.test(path)) throw badUsage(`--per-row: ${path}: expected a name that ends in .npy or .csv`);
    const perRow = new PerRow(await OutputFile.open("--per-row", path, inputs));
    await perRow.#file.write(perRow.#isNpy ? npyHeader(rows) : "row,label,loss,prediction\n");
    return perRow;
  }

  get #isNpy(): boolean {
    return this.#file.path.endsWith(".npy");
  }

  async write({ first, labels, loss, predictions }: Rows): Promise<void> {
    if (this.#isNpy) {
      await this.#file.write(new Uint8Array(Float32Array.from(loss).buffer));
      return;
    }
    // Some thousands at a time: the lines take more memory than the numbers.
    for (let begin = 0; begin < loss.length; begin += 2 ** 14) {
      const lines = Array.from(loss.subarray(begin, begin + 2 ** 14), (value, i) => {
        const row = begin + i;
        const result = labels[row] === IGNORED ? "," : `${labels[row]},${value}`;
        return `${first + row},${result},${predictions[row]}\n`;
      });
      await this.#file.write(lines.join(""));
    }
  }

  finish(): Promise<void> {
    return this.#file.finish();
  }

  /** Leaves nothing behind, unless it is finished. */
  discard(): Promise<void> {
    return this.#file.discard();
  }
}
