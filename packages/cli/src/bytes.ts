import { type BigIntStats, constants } from "node:fs";
import { type FileHandle, open, stat } from "node:fs/promises";
import type { Readable } from "node:stream";
import { badData, badFile, badUsage } from "./failure.ts";
import { identityOf, writerOf } from "./file-identity.ts";

/** Bytes that are read in order, straight into the caller's buffer. */
export interface Bytes {
  /** Bytes that are not read yet. */
  readonly left: number;
  /** Fills `into`, or as much of it as there are bytes left. Returns how many bytes it read; throws if it cannot read them all. */
  read(into: Uint8Array): Promise<number>;
  close(): Promise<void>;
}

/** A file that is open. */
export interface Opened {
  readonly file: FileHandle;
  readonly size: number;
  /** Throws if the file was written to after it was opened: the bytes read may mix two versions. */
  assertUnchanged(): Promise<void>;
}

/**
 * Opens a regular file to read, which messages call `name`. Refuses devices and pipes, files that this run writes, and Git LFS
 * pointers.
 */
export async function openFile(path: string, name: string = path): Promise<Opened> {
  // Opening a device may already have an effect.
  assertRegular(name, await stat(path, { bigint: true }).catch(failing(name)));
  // O_NONBLOCK: if a pipe has replaced the file since, open does not wait for a writer.
  const file = await open(path, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0)).catch(failing(name));
  try {
    const opened = await file.stat({ bigint: true });
    assertRegular(name, opened);
    const writer = writerOf(identityOf(opened));
    if (writer !== undefined) throw badUsage(`${name}: is both input and output (by ${writer})`);
    const size = Number(opened.size);
    await assertNoPointer(name, file, size);
    const assertUnchanged = async (): Promise<void> => {
      const now = await file.stat({ bigint: true });
      if (now.mtimeNs !== opened.mtimeNs || now.size !== opened.size) {
        throw badData(`${name}: changed while it was being read`);
      }
    };
    return { file, size, assertUnchanged };
  } catch (error) {
    await file.close();
    throw error;
  }
}

function assertRegular(name: string, stats: BigIntStats): void {
  if (!stats.isFile()) throw badData(`${name}: is ${stats.isDirectory() ? "a directory" : "not a regular file"}`);
}

const LFS_POINTER = "version https://git-lfs.github.com/spec/";
/** From the specification of Git LFS. */
const MOST_POINTER_BYTES = 1024;

async function assertNoPointer(name: string, file: FileHandle, size: number): Promise<void> {
  if (size < LFS_POINTER.length || size >= MOST_POINTER_BYTES) return;
  const { buffer } = await file.read(Buffer.alloc(LFS_POINTER.length), 0, LFS_POINTER.length, 0);
  if (buffer.toString("latin1") === LFS_POINTER) {
    throw badData(`${name}: is a Git LFS pointer, not the file itself: fetch that with git lfs pull`);
  }
}

function failing(name: string): (cause: Error) => never {
  return (cause) => {
    throw badFile(name, cause);
  };
}

/** A part of a file. */
export class FileBytes implements Bytes {
  readonly #name: string;
  readonly #file: FileHandle;
  readonly #atEnd: () => Promise<void>;
  #position: number;
  left: number;

  /** `atEnd` is called when all bytes are read. */
  constructor(name: string, file: FileHandle, position: number, length: number, atEnd = async (): Promise<void> => {}) {
    this.#name = name;
    this.#file = file;
    this.#atEnd = atEnd;
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
      if (bytesRead === 0) throw badData(`${this.#name}: truncated while being read`);
      filled += bytesRead;
      this.#position += bytesRead;
      this.left -= bytesRead;
    }
    if (filled > 0 && this.left === 0) await this.#atEnd();
    return filled;
  }

  close(): Promise<void> {
    return this.#file.close();
  }
}

/** The bytes of a stream. Throws if there are fewer or more than announced. */
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
      throw badData(`${this.#name}: too long: it has more bytes than it declares`);
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

/** Reads the next `length` bytes, of a header. */
export async function take(bytes: Bytes, length: number, name: string): Promise<Buffer> {
  if (length > bytes.left)
    throw badData(`${name}: truncated: its header needs ${length} bytes, but ${bytes.left} are left`);
  const header = Buffer.alloc(length);
  await bytes.read(header);
  return header;
}
