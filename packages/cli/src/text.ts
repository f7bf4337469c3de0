import { type Bytes, FileBytes, openFile } from "./bytes.ts";
import { badData, badFile, Failure } from "./failure.ts";

/** The most characters of a word, more than any number has. */
const LONGEST = 1000;
const CHUNK_BYTES = 2 ** 16;

/** The words of a text file, separated by white space or commas, a few thousand at a time. Messages call it `name`. */
export async function* wordsOf(path: string, name: string = path): AsyncGenerator<string[]> {
  const { file, size, assertUnchanged } = await openFile(path, name);
  const words = new Words(name);
  try {
    let rest = "";
    for await (const text of textOf(new FileBytes(name, file, 0, size, assertUnchanged))) {
      // The last word may continue in the next chunk.
      const last = lastWord(text);
      if (last > 0) {
        yield* words.of(rest + text.slice(0, last));
        rest = text.slice(last);
      } else rest += text;
      // A file that is not text may have no white space at all. Its reader gets the word first, for a better message.
      if (rest.length > LONGEST) yield* words.of(rest);
    }
    yield* words.of(rest);
    words.end();
  } catch (error) {
    throw error instanceof Failure ? error : badFile(name, error as Error);
  } finally {
    await file.close();
  }
}

/** Where the word at the end begins. A regular expression would try to match it at each character. */
function lastWord(text: string): number {
  let begin = text.length;
  while (begin > 0 && !/[\s,]/.test(text[begin - 1] as string)) begin--;
  return begin;
}

/** Decodes UTF-8, or UTF-16 with a byte order mark, as Windows PowerShell writes it. */
async function* textOf(bytes: Bytes): AsyncGenerator<string> {
  const chunk = new Uint8Array(CHUNK_BYTES);
  let decoder: TextDecoder | undefined;
  while (bytes.left > 0) {
    const read = chunk.subarray(0, await bytes.read(chunk));
    decoder ??= new TextDecoder(encodingOf(read));
    yield decoder.decode(read, { stream: true });
  }
  yield decoder?.decode() ?? "";
}

/** By the byte order mark. */
export function encodingOf([first, second]: Uint8Array): "utf-8" | "utf-16le" | "utf-16be" {
  if (first === 0xff && second === 0xfe) return "utf-16le";
  return first === 0xfe && second === 0xff ? "utf-16be" : "utf-8";
}

/** Splits text into words. Throws if a comma lacks a word on one side. */
class Words {
  readonly #name: string;
  #count = 0;
  /** The last item in this line. */
  #last: "nothing" | "word" | "comma" = "nothing";

  constructor(name: string) {
    this.#name = name;
  }

  /** The words of the next text, which ends at the end of a word. */
  *of(text: string): Generator<string[]> {
    const words = text.includes(",") || this.#last === "comma" ? this.#betweenCommas(text) : this.#between(text);
    const long = words.findIndex((word) => word.length > LONGEST);
    yield long < 0 ? words : words.slice(0, long + 1);
    if (long >= 0)
      throw badData(`${this.#name}: not a text of numbers: it has a word of more than ${LONGEST} characters`);
    this.#count += words.length;
  }

  #between(text: string): string[] {
    const line = text.slice(Math.max(text.lastIndexOf("\n"), text.lastIndexOf("\r")) + 1);
    if (line.trim() !== "") this.#last = "word";
    else if (line !== text) this.#last = "nothing";
    return text.split(/\s+/).filter((word) => word !== "");
  }

  #betweenCommas(text: string): string[] {
    const words: string[] = [];
    for (const [token] of text.matchAll(/[^\s,]+|,|[\r\n]/g)) {
      if (token === ",") {
        if (this.#last !== "word") this.#missing(words.length);
        this.#last = "comma";
      } else if (token === "\r" || token === "\n") {
        if (this.#last === "comma") this.#missing(words.length);
        this.#last = "nothing";
      } else {
        words.push(token);
        this.#last = "word";
      }
    }
    return words;
  }

  end(): void {
    if (this.#last === "comma") this.#missing(0);
  }

  #missing(words: number): never {
    const count = this.#count + words;
    throw badData(
      `${this.#name}: a comma without a number on each side, after ${count} ${count === 1 ? "number" : "numbers"}`,
    );
  }
}
