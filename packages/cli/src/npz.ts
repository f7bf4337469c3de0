// NumPy's .npz: a zip of .npy files, stored or deflated.
import { open } from "node:fs/promises";
import { type Entry, openPromise, type ZipFile } from "yauzl";
import { type ArrayFile, choose } from "./array-file.ts";
import { type Bytes, FileBytes, StreamBytes } from "./bytes.ts";
import { badData } from "./failure.ts";
import { readNpy } from "./npy.ts";

export async function openNpz(path: string, wanted: string | undefined, usual: string): Promise<ArrayFile> {
  const zip = await openPromise(path, { lazyEntries: true, autoClose: false }).catch((cause: Error) => {
    throw badData(`${path}: ${cause.message}`);
  });
  try {
    const entries = new Map<string, Entry>();
    for await (const entry of zip.eachEntry()) entries.set(entry.fileName.replace(/\.npy$/, ""), entry);
    const [name, entry] = choose(entries, wanted, usual, path);
    return await readNpy(`${path}:${name}`, await bytesOf(path, zip, entry));
  } catch (error) {
    zip.close();
    throw error;
  }
}

async function bytesOf(path: string, zip: ZipFile, entry: Entry): Promise<Bytes> {
  if (entry.compressionMethod === 0) {
    const { fileDataStart } = await zip.readLocalFileHeaderPromise(entry, { minimal: true });
    zip.close();
    return new FileBytes(await open(path), fileDataStart, entry.uncompressedSize);
  }
  const stream = await zip.openReadStreamPromise(entry);
  return new StreamBytes(path, stream, entry.uncompressedSize, () => zip.close());
}
