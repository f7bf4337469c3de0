// The identity of a file's rows in totals, by which copies under another name are recognised.
import { createHash } from "node:crypto";
import { Totals } from "xent";
import type { Bytes } from "./bytes.ts";
import type { LogitsFile } from "./logits.ts";

/** Of each so many bytes of logits these at the beginning count, and all of the first. Labels count all. */
const BLOCK_BYTES = 2 ** 20;
const SAMPLE_BYTES = 2 ** 12;

/** A checksum of logits and labels while they are read, whatever file they are in and how many come at a time. */
export class Source {
  readonly #what: string;
  readonly #logits = createHash("sha256");
  readonly #labels = createHash("sha256");
  #at = 0;

  constructor({ dtype, rows, classes, inner }: LogitsFile) {
    this.#what = `${dtype} ${rows} ${classes} ${inner === 1 ? "" : `${inner} `}`;
  }

  /** The same bytes, which are looked at as they pass. */
  hashing(bytes: Bytes): Bytes {
    return {
      get left() {
        return bytes.left;
      },
      read: async (into) => {
        const count = await bytes.read(into);
        this.#addLogits(into.subarray(0, count));
        return count;
      },
      close: () => bytes.close(),
    };
  }

  #addLogits(bytes: Uint8Array): void {
    const first = this.#at;
    this.#at += bytes.length;
    for (let begin = first; begin < this.#at; ) {
      const block = begin - (begin % BLOCK_BYTES);
      const end = Math.min(this.#at, block + (block === 0 ? BLOCK_BYTES : SAMPLE_BYTES));
      if (begin < end) this.#logits.update(bytes.subarray(begin - first, end - first));
      begin = block + BLOCK_BYTES;
    }
  }

  addLabels(labels: Int32Array): void {
    this.#labels.update(new Uint8Array(labels.buffer, labels.byteOffset, labels.byteLength));
  }

  /** When all is read. */
  get id(): string {
    return idOf(this.#what + this.#logits.digest("hex") + this.#labels.digest("hex"));
  }
}

/** Totals of files that are known to be different ones, though they may have the same rows. */
export function addUp(all: readonly Totals[]): Totals {
  const seen = new Map<string, number>();
  const distinct = (source: string): string => {
    const times = seen.get(source) ?? 0;
    seen.set(source, times + 1);
    return times === 0 ? source : idOf(`${source} ${times}`);
  };
  const sum = new Totals();
  for (const { terms, count, correct, sources } of all) {
    sum.merge(Totals.of(terms, count, correct, sources.map(distinct)));
  }
  return sum;
}

function idOf(text: string): string {
  return createHash("sha256").update(text).digest("hex").slice(0, 32);
}
