import { type FileHandle, open, stat } from "node:fs/promises";
import type { Readable } from "node:stream";
import { badData, badFile } from "./failure.ts";

/** Bytes that are read from front to back, straight into where they are needed. */
export interface Bytes {
  /** How many have not been read. */
  readonly left: number;
  /** Fills `into`, unless there are fewer left. Returns how many came. */
  read(into: Uint8Array): Promise<number>;
  close(): Promise<void>;
}

/** Its size in bytes, if it is a file that can be read from any place. To open a pipe might take for ever. */
export async function sizeOfFile(path: string): Promise<number> {
  const stats = await stat(path).catch((cause: Error) => {
    throw badFile(path, cause);
  });
  if (!stats.isFile()) throw badData(`${path}: is ${stats.isDirectory() ? "a directory" : "no regular file"}`);
  return stats.size;
}

/** Opens a file to read. */
export async function openFile(path: string): Promise<{ file: FileHandle; size: number }> {
  const size = await sizeOfFile(path);
  const file = await open(path).catch((cause: Error) => {
    throw badFile(path, cause);
  });
  return { file, size };
}

/** A part of a file. */
export class FileBytes implements Bytes {
  readonly #file: FileHandle;
  #position: number;
  left: number;

  constructor(file: FileHandle, position: number, length: number) {
    this.#file = file;
    this.#position = position;
    this.left = length;
  }

  async read(into: Uint8Array): Promise<number> {
    const wanted = Math.min(into.length, this.left);
    let filled = 0;
    while (filled < wanted) {
      const { bytesRead } = await this.#file.read(into, filled, wanted - filled, this.#position);
      if (bytesRead === 0) break; // It has been cut off since it was opened.
      filled += bytesRead;
      this.#position += bytesRead;
      this.left -= bytesRead;
    }
    return filled;
  }

  close(): Promise<void> {
    return this.#file.close();
  }
}

/** What a stream gives. */
export class StreamBytes implements Bytes {
  readonly #name: string;
  readonly #stream: Readable;
  readonly #chunks: AsyncIterator<Uint8Array>;
  readonly #done: () => void;
  #chunk: Uint8Array = new Uint8Array();
  left: number;

  constructor(name: string, stream: Readable, length: number, done: () => void) {
    this.#name = name;
    this.#stream = stream;
    this.#chunks = stream[Symbol.asyncIterator]();
    this.#done = done;
    this.left = length;
  }

  async read(into: Uint8Array): Promise<number> {
    let filled = 0;
    while (filled < into.length) {
      if (this.#chunk.length === 0) {
        const { done, value } = await this.#chunks.next().catch((cause: Error) => {
          throw badData(`${this.#name}: ${cause.message}`);
        });
        if (done) break;
        this.#chunk = value;
      }
      const part = this.#chunk.subarray(0, into.length - filled);
      into.set(part, filled);
      filled += part.length;
      this.#chunk = this.#chunk.subarray(part.length);
    }
    this.left -= filled;
    return filled;
  }

  async close(): Promise<void> {
    this.#stream.destroy();
    this.#done();
  }
}

/** The next `length` bytes, as a header has them. */
export async function take(bytes: Bytes, length: number, name: string): Promise<Buffer> {
  if (length > bytes.left)
    throw badData(`${name}: truncated: its header has ${length} bytes, and ${bytes.left} are left`);
  const header = Buffer.alloc(length);
  await bytes.read(header);
  return header;
}
