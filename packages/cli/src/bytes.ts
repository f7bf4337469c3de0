import { constants, type Stats } from "node:fs";
import { type FileHandle, open, stat } from "node:fs/promises";
import type { Readable } from "node:stream";
import { badData, badFile } from "./failure.ts";

/** Bytes that are read from front to back, straight into where they are needed. */
export interface Bytes {
  /** How many have not been read. */
  readonly left: number;
  /** Fills `into`, unless there are fewer left. Returns how many came: never fewer, but an error. */
  read(into: Uint8Array): Promise<number>;
  close(): Promise<void>;
}

/** Opens a regular file to read. What has no end, or may have no beginning, is refused. */
export async function openFile(path: string): Promise<{ file: FileHandle; size: number }> {
  // To open a device may do something by itself.
  const size = sizeOf(path, await stat(path).catch(failing(path)));
  // If the file has become a pipe since, this does not wait for a writer.
  const file = await open(path, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0)).catch(failing(path));
  try {
    const opened = sizeOf(path, await file.stat());
    return { file, size: Math.min(size, opened) };
  } catch (error) {
    await file.close();
    throw error;
  }
}

function sizeOf(path: string, stats: Stats): number {
  if (!stats.isFile()) throw badData(`${path}: is ${stats.isDirectory() ? "a directory" : "no regular file"}`);
  return stats.size;
}

function failing(path: string): (cause: Error) => never {
  return (cause) => {
    throw badFile(path, cause);
  };
}

/** A part of a file. */
export class FileBytes implements Bytes {
  readonly #name: string;
  readonly #file: FileHandle;
  #position: number;
  left: number;

  constructor(name: string, file: FileHandle, position: number, length: number) {
    this.#name = name;
    this.#file = file;
    this.#position = position;
    this.left = length;
  }

  async read(into: Uint8Array): Promise<number> {
    const wanted = Math.min(into.length, this.left);
    let filled = 0;
    while (filled < wanted) {
      const { bytesRead } = await this.#file
        .read(into, filled, wanted - filled, this.#position)
        .catch(failing(this.#name));
      if (bytesRead === 0) throw badData(`${this.#name}: truncated: it was cut while it was read`);
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

/** What a stream gives: as many bytes as were announced, or an error. */
export class StreamBytes implements Bytes {
  readonly #name: string;
  readonly #stream: Readable;
  readonly #chunks: AsyncIterator<Uint8Array>;
  readonly #done: () => Promise<void>;
  #chunk: Uint8Array = new Uint8Array();
  left: number;

  constructor(name: string, stream: Readable, length: number, done: () => Promise<void>) {
    this.#name = name;
    this.#stream = stream;
    // Before the first read and after the last one, an error must not end the process. In between, the iterator handles it.
    stream.on("error", () => {});
    this.#chunks = stream[Symbol.asyncIterator]();
    this.#done = done;
    this.left = length;
  }

  async read(into: Uint8Array): Promise<number> {
    const wanted = Math.min(into.length, this.left);
    let filled = 0;
    while (filled < wanted) {
      if (this.#chunk.length === 0) this.#chunk = (await this.#next()) ?? this.#ended();
      const part = this.#chunk.subarray(0, wanted - filled);
      into.set(part, filled);
      filled += part.length;
      this.left -= part.length;
      this.#chunk = this.#chunk.subarray(part.length);
    }
    if (this.left === 0 && (this.#chunk.length > 0 || (await this.#next()))) {
      throw badData(`${this.#name}: too long: there are more bytes than it says`);
    }
    return filled;
  }

  async #next(): Promise<Uint8Array | undefined> {
    const { done, value } = await this.#chunks.next().catch((cause: Error) => {
      throw badData(`${this.#name}: damaged: ${cause.message}`);
    });
    return done ? undefined : value;
  }

  #ended(): never {
    throw badData(`${this.#name}: truncated: it ends ${this.left} bytes too early`);
  }

  async close(): Promise<void> {
    this.#stream.destroy();
    await this.#done();
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
