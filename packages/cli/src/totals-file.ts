import { decodePartials, decodeTotals, type Partials, type Totals } from "xent";
import { FileBytes, openFile } from "./bytes.ts";
import { badData } from "./failure.ts";
import type { Kind } from "./output-file.ts";

export const TOTALS: Kind = { name: "a file of totals", isOne: (start) => start.startsWith("XENTTOTL") };
export const PARTIALS: Kind = { name: "a file of partials", isOne: (start) => start.startsWith("XENTPART") };

/** Both kinds of files begin with magic bytes, a version and the length. */
const HEADER_BYTES = 24;

/** Reads a file of partials or of totals. */
export async function readSums(path: string): Promise<Partials | Totals> {
  const bytes = await readBytes(path);
  const isPartials = bytes.toString("latin1", 0, 8) === "XENTPART";
  try {
    return isPartials ? decodePartials(bytes) : decodeTotals(bytes);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw badData(`${path}: ${error.message.replace(/^"bytes" /, "")}`);
  }
}

/** Reads a whole file, but only if it is of one of these kinds: other files may have any size. */
async function readBytes(path: string): Promise<Buffer> {
  const { file, size, assertUnchanged } = await openFile(path);
  try {
    const bytes = new FileBytes(path, file, 0, size, assertUnchanged);
    const header = Buffer.alloc(Math.min(HEADER_BYTES, size));
    await bytes.read(header);
    const magic = header.toString("latin1", 0, 8);
    if (magic !== "XENTPART" && magic !== "XENTTOTL") {
      throw badData(`${path}: neither partials nor totals of xent: it begins with ${JSON.stringify(magic)}`);
    }
    // Read one byte more than the file declares: if there is one, decoding reports it.
    const announced = header.length < HEADER_BYTES ? size : Number(header.readBigUInt64LE(16)) + 1;
    const rest = Buffer.alloc(Math.min(size, Math.max(announced, HEADER_BYTES)) - header.length);
    await bytes.read(rest);
    return Buffer.concat([header, rest]);
  } finally {
    await file.close();
  }
}
