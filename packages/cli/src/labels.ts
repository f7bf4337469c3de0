import { badData } from "./failure.ts";
import type { LabelChunk, LabelFile } from "./label-file.ts";

/** The label of a row that does not count. */
export const IGNORED = -1;

/** How labels are assigned to rows, and which labels are valid. */
export interface LabelRules {
  readonly rows: number;
  readonly classes: number;
  /** The file of logits, for messages. */
  readonly logits: string;
  /** The shape of the logits, and that shape without the class axis. */
  readonly logitsShape: readonly number[];
  readonly rowsShape: readonly number[];
  readonly ignoreIndex: readonly number[] | undefined;
  /** Row i has label i + shift of its sequence; the last `shift` rows of each sequence are ignored. */
  readonly shift: number;
  readonly sequence: number;
  /** Called with the labels of rows, once for each row. */
  readonly onLabels?: (labels: Int32Array) => void;
  /** What messages call a value of the file. */
  readonly noun: "label" | "mask value";
  /** One value for each label, in the same order: 0 if it does not count. */
  readonly mask?: Labels | undefined;
}

/** Reads the labels of a file row by row. */
export class Labels {
  readonly #file: LabelFile;
  readonly #rules: LabelRules;
  #row = 0;
  #chunk: LabelChunk = { numbers: [], textOf: String };
  /** Index of the next label in the chunk. */
  #next: number;

  constructor(file: LabelFile, rules: LabelRules) {
    this.#file = file;
    this.#rules = rules;
    if (file.shape !== undefined) this.#assertShape(file.shape);
    this.#next = Math.min(rules.shift, rules.rows);
  }

  /** The shape must be flat or that of the rows: with any other shape, labels would go to the wrong rows. */
  #assertShape(shape: readonly number[]): void {
    const { rows, logits, logitsShape, rowsShape: ofRows, noun } = this.#rules;
    const count = shape.reduce((product, length) => product * length, 1);
    if (count !== rows) throw this.#doNotFit(`${count}`);
    const fitting = [[rows], ofRows, [...ofRows, 1]].map(String);
    if (fitting.includes(String(shape))) return;
    const expected = [...new Set([ofRows, [rows]].map((sizes) => `[${sizes.join(", ")}]`))].join(" or ");
    const [found, of] = [shape, logitsShape].map((sizes) => `[${sizes.join(", ")}]`);
    throw badData(
      `${this.#file.name}: ${noun}s of shape ${found} do not fit the logits of shape ${of} of ${logits}: expected ${expected}`,
    );
  }

  /** The labels of the next rows, as classes or {@link IGNORED}. */
  async read(into: Int32Array): Promise<void> {
    await this.#read(into);
    this.#rules.onLabels?.(into);
  }

  async #read(into: Int32Array): Promise<void> {
    const { rows, shift, mask } = this.#rules;
    const counts = mask && new Int32Array(into.length);
    if (counts) await mask.read(counts);
    for (let at = 0; at < into.length; ) {
      // The last `shift` rows have no label to read.
      const withLabel = Math.min(into.length - at, rows - shift - this.#row);
      if (withLabel <= 0) {
        this.#row += into.length - at;
        into.fill(IGNORED, at);
        return;
      }
      if (!(await this.#hasNext())) throw this.#doNotFit(`${this.#row + Math.min(shift, rows)}`);
      const length = Math.min(withLabel, this.#chunk.numbers.length - this.#next);
      this.#convert(into.subarray(at, at + length), counts?.subarray(at, at + length));
      at += length;
    }
  }

  /** Throws if there are more labels than rows. */
  async end(): Promise<void> {
    if (await this.#hasNext()) throw this.#doNotFit(`more than ${this.#rules.rows}`);
    await this.#rules.mask?.end();
  }

  #convert(into: Int32Array, counts: Int32Array | undefined): void {
    const { classes, ignoreIndex = [], shift, sequence, noun } = this.#rules;
    const { numbers, textOf } = this.#chunk;
    for (let i = 0; i < into.length; i++) {
      const row = this.#row++;
      const at = this.#next++;
      const label = numbers[at] as number;
      const isIgnored = (row % sequence) + shift >= sequence || counts?.[i] === 0 || ignoreIndex.includes(label);
      if (isIgnored) into[i] = IGNORED;
      else if (noun === "mask value") into[i] = label === 0 ? 0 : 1;
      else if (label >= 0 && label < classes) into[i] = label;
      else {
        const which = shift === 0 ? `row ${row} has ${noun}` : `row ${row} has, shifted by ${shift}, ${noun}`;
        throw badData(`${this.#file.name}: ${which} ${textOf(at)}, which is outside of the range [0, ${classes})`);
      }
    }
  }

  /** Reads on to the chunk with the next label; a shift may skip chunks. */
  async #hasNext(): Promise<boolean> {
    while (this.#next >= this.#chunk.numbers.length) {
      const { done, value } = await this.#file.chunks.next();
      if (done) return false;
      this.#next -= this.#chunk.numbers.length;
      this.#chunk = value;
    }
    return true;
  }

  #doNotFit(count: string): Error {
    const { rows, logits, noun } = this.#rules;
    const labels = count === "1" ? `1 ${noun} does` : `${count} ${noun}s do`;
    return badData(`${this.#file.name}: ${labels} not fit the ${rows === 1 ? "one row" : `${rows} rows`} of ${logits}`);
  }
}
