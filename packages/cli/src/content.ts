// By what a file is known on several machines: its size, and a checksum of all of it, or of its ends and some blocks in between.
import { createHash } from "node:crypto";
import type { FileHandle } from "node:fs/promises";
import { FileBytes, openFile } from "./bytes.ts";

export interface Content {
  readonly size: number;
  /** SHA-256, in hexadecimal. */
  readonly sha256: string;
}

/** Up to so many bytes all of them count. */
const MOST_WHOLE = 2 ** 19;
/** Of larger ones: so many at each end, where headers are, and so many blocks in between. */
const END_BYTES = 2 ** 16;
const BLOCK_BYTES = 2 ** 14;
const BLOCKS = 16;
const READ_BYTES = 2 ** 20;

/** `whole`: all of it is read. */
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

/** Where the bytes that count lie, which depends on nothing but the size. */
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
