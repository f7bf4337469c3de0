// NumPy's .npz: a zip of .npy files, stored or deflated.
import { crc32 } from "node:zlib";
import { type Entry, openPromise, type ZipFile } from "yauzl";
import { type ArrayFile, choose } from "./array-file.ts";
import { type Bytes, FileBytes, openFile, StreamBytes, sizeOfFile } from "./bytes.ts";
import { badData, badFile, Failure } from "./failure.ts";
import { readNpy } from "./npy.ts";

export async function openNpz(path: string, wanted: string | undefined, usual: string): Promise<ArrayFile> {
  await sizeOfFile(path);
  const zip = await openPromise(path, { lazyEntries: true, autoClose: false }).catch((cause: Error) => {
    throw badFile(path, cause);
  });
  try {
    const entries = new Map<string, Entry>();
    for await (const entry of zip.eachEntry()) entries.set(entry.fileName.replace(/\.npy$/, ""), entry);
    const [name, entry] = choose(entries, wanted, usual, path);
    return await readNpy(
      `${path}:${name}`,
      new CheckedBytes(`${path}:${name}`, await bytesOf(path, zip, entry), entry.crc32),
    );
  } catch (error) {
    zip.close();
    throw error instanceof Failure ? error : badFile(path, error as Error);
  }
}

/** Compares, at their end, bytes with the sum that the zip has of them, as NumPy does. yauzl leaves that to its users. */
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
      throw badData(`${this.#name}: damaged: its bytes are not those that were saved (CRC-32)`);
    }
    return count;
  }

  close(): Promise<void> {
    return this.#bytes.close();
  }
}

async function bytesOf(path: string, zip: ZipFile, entry: Entry): Promise<Bytes> {
  if (entry.compressionMethod === 0) {
    const { fileDataStart } = await zip.readLocalFileHeaderPromise(entry, { minimal: true });
    zip.close();
    return new FileBytes((await openFile(path)).file, fileDataStart, entry.uncompressedSize);
  }
  const stream = await zip.openReadStreamPromise(entry);
  return new StreamBytes(path, stream, entry.uncompressedSize, () => zip.close());
}
