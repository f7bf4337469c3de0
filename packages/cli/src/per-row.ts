import { badUsage } from "./failure.ts";
import { IGNORED } from "./labels.ts";
import { isOwnNpy, npyHeader } from "./npy.ts";
import { type Kind, type Output, OutputFile } from "./output-file.ts";

const CSV_HEADER = "row,label,loss,prediction\n";
const NPY: Kind = { name: "losses of xent (.npy)", isOne: isOwnNpy };
const CSV: Kind = { name: "losses of xent (.csv)", isOne: (start) => start.startsWith(CSV_HEADER) };

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

  /** What will be written. Throws for a name that does not say in which form. */
  static output(path: string): Output {
    const [, ending] = /\.(npy|csv)$/i.exec(path) ?? [];
    if (ending === undefined) throw badUsage(`--per-row: ${path}: expected a name that ends in .npy or .csv`);
    return { option: "--per-row", path, kinds: [/npy/i.test(ending) ? NPY : CSV] };
  }

  /** `inputs`: files that are read, and must stay. */
  static async open(path: string, rows: number, inputs: readonly string[]): Promise<PerRow> {
    const perRow = new PerRow(await OutputFile.open(PerRow.output(path), inputs));
    await perRow.#file.write(perRow.#isNpy ? npyHeader(rows) : CSV_HEADER);
    return perRow;
  }

  get #isNpy(): boolean {
    return /\.npy$/i.test(this.#file.path);
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
