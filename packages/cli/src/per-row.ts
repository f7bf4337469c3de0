import { badData, badUsage } from "./failure.ts";
import { IGNORED } from "./labels.ts";
import { isOwnNpy, npyHeader, type Written } from "./npy.ts";
import { type Kind, type Output, OutputFile } from "./output-file.ts";

/** The first column, if there are several files. */
const FILE_COLUMN = "file";
const headerOf = (columns: readonly string[]): string => `${columns.join(",")}\n`;

function npy(what: Written): Kind {
  return { name: `a file of ${what} of xent (.npy)`, isOne: (start) => isOwnNpy(start, what) };
}

function csv({ what, columns }: Content): Kind {
  const [own, one] = [headerOf(columns), headerOf(columns.filter((name) => name !== FILE_COLUMN))];
  const several = `${FILE_COLUMN},${one}`;
  return {
    name: `a file of ${what} of xent (.csv)`,
    isOne: (start) => [own, one, several].some((head) => start.startsWith(head)),
  };
}

/** What a file of rows has: the numbers of a .npy, and the columns of a .csv. */
export interface Content {
  readonly what: Written;
  readonly columns: readonly string[];
}

/** Results of consecutive rows. */
export interface Rows {
  readonly first: number;
  readonly labels: Int32Array;
  readonly loss: Float32Array | Float64Array;
  readonly predictions: Int32Array;
}

/** A file with results of each row: one column of numbers as .npy, or several columns as .csv. */
export class PerRow {
  readonly #file: OutputFile;
  readonly #rows: number;
  #written = 0;

  private constructor(file: OutputFile, rows: number) {
    this.#file = file;
    this.#rows = rows;
  }

  /** Describes the output. Throws if the extension is not .npy or .csv. */
  static output(path: string, content: Content = LOSSES): Output {
    const [, ending] = /\.(npy|csv)$/i.exec(path) ?? [];
    if (ending === undefined) throw badUsage(`--per-row: ${path}: expected a name that ends in .npy or .csv`);
    return { option: "--per-row", path, kinds: [/npy/i.test(ending) ? npy(content.what) : csv(content)] };
  }

  /** `inputs`: files that are read, and must not be replaced. */
  static async open(path: string, rows: number, inputs: readonly string[], content: Content = LOSSES): Promise<PerRow> {
    const perRow = new PerRow(await OutputFile.open(PerRow.output(path, content), inputs), rows);
    await perRow.#file.write(perRow.#isNpy ? npyHeader(rows, content.what) : headerOf(content.columns));
    return perRow;
  }

  get #isNpy(): boolean {
    return /\.npy$/i.test(this.#file.path);
  }

  /** `file`: the first column, if there are several files. */
  async write({ first, labels, loss, predictions }: Rows, file?: string): Promise<void> {
    await this.writeLines(loss, (row) => {
      const result = labels[row] === IGNORED ? "," : `${labels[row]},${loss[row]}`;
      return `${fieldOf(file)}${first + row},${result},${predictions[row]}`;
    });
  }

  /** `values` go into a .npy, the lines of `lineOf` into a .csv. */
  async writeLines(values: Float32Array | Float64Array, lineOf: (row: number) => string): Promise<void> {
    this.#written += values.length;
    if (this.#isNpy) {
      await this.#file.write(new Uint8Array(Float32Array.from(values).buffer));
      return;
    }
    // Some thousands of rows at a time: text takes more memory than the numbers.
    for (let begin = 0; begin < values.length; begin += 2 ** 14) {
      const length = Math.min(2 ** 14, values.length - begin);
      await this.#file.write(Array.from({ length }, (_, i) => `${lineOf(begin + i)}\n`).join(""));
    }
  }

  async finish(): Promise<void> {
    if (this.#written !== this.#rows) {
      throw badData(`${this.#file.path}: expected ${this.#rows} rows, found ${this.#written}: files have changed`);
    }
    await this.#file.finish();
  }

  /** Removes the file, unless it is finished. */
  discard(): Promise<void> {
    return this.#file.discard();
  }
}

/** Columns of a .csv of losses. */
export const ROW_COLUMNS: readonly string[] = ["row", "label", "loss", "prediction"];
const LOSSES: Content = { what: "losses", columns: ROW_COLUMNS };

/** The first field of a line, with the name of the file, quoted as in RFC 4180. */
export function fieldOf(file: string | undefined): string {
  if (file === undefined) return "";
  return /[",\r\n]/.test(file) ? `"${file.replaceAll('"', '""')}",` : `${file},`;
}
