// NumPy's .npz: a zip of .npy files, stored or deflated.
import type { FileHandle } from "node:fs/promises";
import { pipeline, Readable } from "node:stream";
import { crc32, createInflateRaw } from "node:zlib";
import { type Entry, fromRandomAccessReaderPromise, RandomAccessReader, type ZipFile } from "yauzl";
import { type ArrayFile, choose, type NamedFile } from "./array-file.ts";
import { type Bytes, FileBytes, type Opened, openFile, StreamBytes } from "./bytes.ts";
import { badData, badFile, Failure } from "./failure.ts";
import { readNpy } from "./npy.ts";

const MOST_ENTRIES = 2 ** 16;
const STORED = 0;
const DEFLATED = 8;
/** Slightly more than the largest ratio by which deflate can expand a byte. */
const MOST_OF_A_BYTE = 1040;

export async function openNpz(named: NamedFile, usual: string): Promise<ArrayFile> {
  const opened = await openFile(named.path, named.name);
  const { file, size } = opened;
  const reader = new FileReader(file, size);
  try {
    return await Promise.race([readZip(named, opened, reader, usual), reader.broken]);
  } catch (error) {
    await file.close();
    throw error instanceof Failure ? error : badFile(named.name, error as Error);
  }
}

async function readZip(named: NamedFile, opened: Opened, reader: FileReader, usual: string): Promise<ArrayFile> {
  const zip = await fromRandomAccessReaderPromise(reader, opened.size, { lazyEntries: true, autoClose: false });
  // The iterator throws the first error; later ones must not end the process.
  zip.on("error", () => {});
  const entries = new Map<string, Entry>();
  for await (const entry of zip.eachEntry()) {
    if (entries.size === MOST_ENTRIES) throw badData(`${named.name}: has more than ${MOST_ENTRIES} arrays`);
    entries.set(entry.fileName.replace(/\.npy$/, ""), entry);
  }
  const [array, entry] = choose(entries, named, usual);
  const name = `${named.name}:${array}`;
  const bytes = await bytesOf(name, opened, zip, entry);
  return readNpy(name, new CheckedBytes(name, bytes, entry.crc32));
}

/** The file as yauzl reads it. A damaged directory may make yauzl ask for any position. */
class FileReader extends RandomAccessReader {
  readonly #file: FileHandle;
  readonly #size: number;
  /** Rejects if yauzl throws in a callback of `read`. */
  readonly broken: Promise<never>;
  #break: (error: unknown) => void = () => {};

  constructor(file: FileHandle, size: number) {
    super();
    this.#file = file;
    this.#size = size;
    this.broken = new Promise((_, reject) => {
      this.#break = reject;
    });
    this.broken.catch(() => {});
  }

  override read(
    buffer: Buffer,
    offset: number,
    length: number,
    position: number,
    callback: (error: Error | null) => void,
  ): void {
    this.#fill(buffer.subarray(offset, offset + length), position)
      .then(() => callback(null), callback)
      .catch(this.#break);
  }

  async #fill(into: Buffer, position: number): Promise<void> {
    if (!(position >= 0 && position + into.length <= this.#size)) throw new Error("its directory leads out of it");
    await new FileBytes("zip", this.#file, position, into.length).read(into);
  }
}

/** Checks the CRC-32 of the zip once all bytes are read, as NumPy does. yauzl leaves the check to its users. */
class CheckedBytes implements Bytes {
  readonly #name: string;
  readonly #bytes: Bytes;
  readonly #expected: number;
  #sum = 0;

  constructor(name: string, bytes: Bytes, expected: number) {
    this.#name = name;
    this.#bytes = bytes;
    this.#expected = expected;
  }

  get left(): number {
    return this.#bytes.left;
  }

  async read(into: Uint8Array): Promise<number> {
    const count = await this.#bytes.read(into);
    this.#sum = crc32(into.subarray(0, count), this.#sum);
    if (this.left === 0 && this.#sum !== this.#expected) {
      throw badData(`${this.#name}: damaged: CRC-32 mismatch`);
    }
    return count;
  }

  close(): Promise<void> {
    return this.#bytes.close();
  }
}

/** The bytes of an entry. The sizes come from the directory, and a size that deflate cannot reach is refused. */
async function bytesOf(name: string, opened: Opened, zip: ZipFile, entry: Entry): Promise<Bytes> {
  const { file, assertUnchanged } = opened;
  const { compressionMethod, compressedSize, uncompressedSize } = entry;
  if (entry.isEncrypted()) throw badData(`${name}: is encrypted`);
  if (compressionMethod !== STORED && compressionMethod !== DEFLATED) {
    throw new Error(`unsupported compression method: ${compressionMethod}`);
  }
  if (uncompressedSize > MOST_OF_A_BYTE * (compressedSize + 1)) {
    throw badData(
      `${name}: damaged: ${compressedSize} bytes cannot expand to the ${uncompressedSize} that it declares`,
    );
  }
  const { fileDataStart } = await zip.readLocalFileHeaderPromise(entry, { minimal: true });
  const packed = new FileBytes(name, file, fileDataStart, compressedSize, assertUnchanged);
  if (compressionMethod === STORED) return packed;
  const inflating = pipeline(Readable.from(chunksOf(packed)), createInflateRaw({ chunkSize: CHUNK_BYTES }), () => {});
  return new StreamBytes(name, inflating, uncompressedSize, () => file.close());
}

const CHUNK_BYTES = 2 ** 16;

async function* chunksOf(bytes: Bytes): AsyncGenerator<Uint8Array> {
  while (bytes.left > 0) {
    const chunk = new Uint8Array(Math.min(CHUNK_BYTES, bytes.left));
    await bytes.read(chunk);
    yield chunk;
  }
}
