// Identifies a file's content across machines: its size, and a checksum of all bytes, or of its ends and some blocks between.
import { createHash } from "node:crypto";
import type { FileHandle } from "node:fs/promises";
import { FileBytes, openFile } from "./bytes.ts";

export interface Content {
  readonly size: number;
  /** SHA-256, in hexadecimal. */
  readonly sha256: string;
}

/** A file of at most this many bytes is hashed as a whole. */
const MOST_WHOLE = 2 ** 19;
/** Of a larger file, these bytes at each end, where headers are, and blocks between are hashed. */
const END_BYTES = 2 ** 16;
const BLOCK_BYTES = 2 ** 14;
const BLOCKS = 16;
const READ_BYTES = 2 ** 20;

/** `whole`: hash all bytes, whatever the size. */
export async function contentOf(path: string, whole: boolean, signal: AbortSignal): Promise<Content> {
  const { file, size, assertUnchanged } = await openFile(path);
  try {
    const hash = createHash("sha256");
    for (const [begin, end] of whole || size <= MOST_WHOLE ? [[0, size] as const] : sampleOf(size)) {
      for await (const bytes of bytesBetween(path, file, begin, end)) {
        signal.throwIfAborted();
        hash.update(bytes);
      }
    }
    await assertUnchanged();
    return { size, sha256: hash.digest("hex") };
  } finally {
    await file.close();
  }
}

/** The ranges of bytes that are hashed. They depend on the size alone. */
function sampleOf(size: number): (readonly [begin: number, end: number])[] {
  const inner = size - 2 * END_BYTES - BLOCK_BYTES;
  const blocks = Array.from({ length: BLOCKS }, (_, i) => {
    const begin = END_BYTES + Math.floor((inner * (i + 0.5)) / BLOCKS);
    return [begin, begin + BLOCK_BYTES] as const;
  });
  return [[0, END_BYTES], ...blocks, [size - END_BYTES, size]];
}

async function* bytesBetween(path: string, file: FileHandle, begin: number, end: number): AsyncGenerator<Uint8Array> {
  const bytes = new FileBytes(path, file, begin, end - begin);
  const buffer = new Uint8Array(Math.min(READ_BYTES, end - begin));
  while (bytes.left > 0) yield buffer.subarray(0, await bytes.read(buffer));
}
