import { type FileHandle, open, rename, rm, stat } from "node:fs/promises";
import { badData, badFile, badUsage } from "./failure.ts";
import { IGNORED } from "./labels.ts";
import { npyHeader } from "./npy.ts";

/** Results of some rows, one after the other. */
export interface Rows {
  readonly first: number;
  readonly labels: Int32Array;
  readonly loss: Float32Array | Float64Array;
  readonly predictions: Int32Array;
}

/** A file with a loss for each row: it appears under its name when it is whole, or not at all. */
export class PerRow {
  readonly #path: string;
  readonly #partial: string;
  readonly #file: FileHandle;

  private constructor(path: string, partial: string, file: FileHandle) {
    this.#path = path;
    this.#partial = partial;
    this.#file = file;
  }

  /** `inputs`: files that are read, and must stay. */
  static async open(path: string, rows: number, inputs: readonly string[]): Promise<PerRow> {
    if (!/\.(npy|csv)$/.test(path)) throw badUsage(`--per-row: ${path}: expected a name that ends in .npy or .csv`);
    const [there, ...read] = await Promise.all([path, ...inputs].map((file) => stat(file).catch(() => undefined)));
    if (there?.isDirectory()) throw badData(`${path}: is a directory`);
    if (there && read.some((input) => input?.ino === there.ino && input.dev === there.dev)) {
      throw badUsage(`--per-row: ${path}: would take the place of a file that is read`);
    }
    const partial = `${path}.${process.pid}.partial`;
    const file = await open(partial, "wx").catch((cause: Error) => {
      throw badFile(path, cause);
    });
    const perRow = new PerRow(path, partial, file);
    await perRow.#write(perRow.#isNpy ? npyHeader(rows) : "row,label,loss,prediction\n");
    return perRow;
  }

  get #isNpy(): boolean {
    return this.#path.endsWith(".npy");
  }

  async write({ first, labels, loss, predictions }: Rows): Promise<void> {
    if (this.#isNpy) {
      await this.#write(new Uint8Array(Float32Array.from(loss).buffer));
      return;
    }
    // Some thousands at a time: the lines take more memory than the numbers.
    for (let begin = 0; begin < loss.length; begin += 2 ** 14) {
      const lines = Array.from(loss.subarray(begin, begin + 2 ** 14), (value, i) => {
        const row = begin + i;
        const result = labels[row] === IGNORED ? "," : `${labels[row]},${value}`;
        return `${first + row},${result},${predictions[row]}\n`;
      });
      await this.#write(lines.join(""));
    }
  }

  async #write(content: string | Uint8Array): Promise<void> {
    await this.#file.writeFile(content).catch((cause: Error) => {
      throw badFile(this.#path, cause);
    });
  }

  async finish(): Promise<void> {
    await this.#file.close();
    await rename(this.#partial, this.#path);
  }

  /** Leaves nothing behind. */
  async discard(): Promise<void> {
    await this.#file.close();
    await rm(this.#partial, { force: true });
  }
}
