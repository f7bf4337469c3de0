// Identifies a file's rows in totals, so that copies under another name are recognised.
import { createHash } from "node:crypto";
import { Totals } from "xent";
import type { Bytes } from "./bytes.ts";
import type { LogitsFile } from "./logits.ts";

/** The first block of logits and the beginning of each further block are hashed. All labels are hashed. */
const BLOCK_BYTES = 2 ** 20;
const SAMPLE_BYTES = 2 ** 12;

/** A checksum of logits and labels, computed while they are read. It depends on neither file format nor batch size. */
export class Source {
  readonly #what: string;
  readonly #logits = createHash("sha256");
  readonly #labels = createHash("sha256");
  #at = 0;

  constructor({ dtype, rows, classes, inner }: LogitsFile) {
    this.#what = `${dtype} ${rows} ${classes} ${inner === 1 ? "" : `${inner} `}`;
  }

  /** The same bytes, hashed as they are read. */
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

  /** The identity. Read it once all bytes are read. */
  get id(): string {
    return idOf(this.#what + this.#logits.digest("hex") + this.#labels.digest("hex"));
  }
}

/** Adds totals of files that are known to differ, though their rows may be equal. */
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
