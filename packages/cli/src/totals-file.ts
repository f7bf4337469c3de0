import { readFile, rename, writeFile } from "node:fs/promises";
import { decodePartials, decodeTotals, encodePartials, encodeTotals, type Partials, type Totals } from "xent";
import { badData, badFile } from "./failure.ts";

/** Writes totals: the file appears when it is whole, or not at all. */
export function writeTotals(path: string, totals: Totals): Promise<void> {
  return write(path, encodeTotals(totals));
}

/** Writes partials: the file appears when it is whole, or not at all. */
export function writePartials(path: string, partials: Partials): Promise<void> {
  return write(path, encodePartials(partials));
}

/** What a file has of one or the other. */
export async function readSums(path: string): Promise<Partials | Totals> {
  const bytes = await readFile(path).catch((cause: Error) => {
    throw badFile(path, cause);
  });
  const magic = bytes.subarray(0, 8).toString("latin1");
  if (magic !== "XENTPART" && magic !== "XENTTOTL") {
    throw badData(`${path}: neither partials nor totals of xent: it begins with ${JSON.stringify(magic)}`);
  }
  try {
    return magic === "XENTPART" ? decodePartials(bytes) : decodeTotals(bytes);
  } catch (error) {
    const { message } = error as Error;
    throw badData(`${path}: ${message.replace(/^"bytes" /, "")}`);
  }
}

async function write(path: string, bytes: Uint8Array): Promise<void> {
  const partial = `${path}.${process.pid}.partial`;
  try {
    await writeFile(partial, bytes, { flag: "wx" });
    await rename(partial, path);
  } catch (cause) {
    throw badFile(path, cause as Error);
  }
}
