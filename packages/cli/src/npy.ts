// NumPy's .npy, version 1 to 3: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
// Own code, since the packages that read it take the whole file into memory.
import type { ArrayFile } from "./array-file.ts";
import { type Bytes, take } from "./bytes.ts";
import { BYTES, type DType } from "./dtypes.ts";
import { badData } from "./failure.ts";

const KINDS: Record<string, string> = { f: "float", i: "int", u: "uint" };
/** As in NumPy, which reads no longer one of a file that it does not trust. */
const MOST_HEADER_BYTES = 10_000;

/** What NumPy reads, too: three entries and nothing else. */
const ENTRY =
  /'(?:descr|fortran_order|shape)'\s*:\s*(?:'[^']*'|True|False|\((?:(?:0|[1-9]\d*), *)*(?:0|[1-9]\d*)?\))\s*/.source;
const HEADER = new RegExp(`^\\s*\\{\\s*${ENTRY},\\s*${ENTRY},\\s*${ENTRY}(?:,\\s*)?\\}\\s*$`);

/** Reads the header; the array's own bytes are then next. */
export async function readNpy(name: string, bytes: Bytes): Promise<ArrayFile> {
  const magic = await take(bytes, 8, name);
  if (magic.toString("latin1", 0, 6) !== "\x93NUMPY")
    throw badData(`${name}: no .npy: it does not begin with \\x93NUMPY`);
  if (!(magic[6] === 1 || magic[6] === 2 || magic[6] === 3))
    throw badData(`${name}: version ${magic[6]} of .npy, which is not known`);
  const length =
    magic[6] === 1 ? (await take(bytes, 2, name)).readUInt16LE() : (await take(bytes, 4, name)).readUInt32LE();
  if (length > MOST_HEADER_BYTES) throw badData(`${name}: no .npy: a header of ${length} bytes`);
  const header = (await take(bytes, length, name)).toString("latin1");

  const descr = /'descr': *'([^']*)'/.exec(header)?.[1];
  const order = /'fortran_order': *(True|False)/.exec(header)?.[1];
  const sizes = /'shape': *\(((?:\d+, *)*\d*)\)/.exec(header)?.[1];
  // A tuple of one has a comma.
  const isTuple = sizes !== undefined && !/^\d+$/.test(sizes);
  if (descr === undefined || order === undefined || !isTuple || !HEADER.test(header)) {
    throw badData(`${name}: expected an array of plain numbers, found ${header.trim().slice(0, 60)}`);
  }
  const shape = sizes
    .split(",")
    .filter((size) => size.trim() !== "")
    .map(Number);
  if (!shape.every(Number.isSafeInteger)) throw badData(`${name}: an array of shape (${sizes.slice(0, 60)})`);
  if (order === "True") throw badData(`${name}: in Fortran order: save numpy.ascontiguousarray(a)`);
  return { name, dtype: dtypeOf(name, descr), shape, bytes };
}

function dtypeOf(name: string, descr: string): DType {
  const [, endian, kind = "", size] = /^([<>|=]?)([a-zA-Z])(\d+)$/.exec(descr) ?? [];
  const dtype = `${KINDS[kind]}${8 * Number(size)}`;
  if (endian === ">" && dtype in BYTES)
    throw badData(`${name}: big endian (${descr}): save a.astype("<${kind}${size}")`);
  // What ml_dtypes' bfloat16 is saved as.
  if (kind === "V" && size === "2") return "bfloat16";
  if (!(dtype in BYTES)) throw badData(`${name}: numbers of type ${descr}, which are not supported`);
  return dtype as DType;
}

/** The header of an array of float32 with one axis. */
export function npyHeader(rows: number): Buffer {
  const text = `{'descr': '<f4', 'fortran_order': False, 'shape': (${rows},), }`;
  // The data begins at a multiple of 64 bytes.
  const padded = `${text.padEnd(Math.ceil((text.length + 11) / 64) * 64 - 11)}\n`;
  return Buffer.from(`\x93NUMPY\x01\x00${String.fromCharCode(padded.length)}\x00${padded}`, "latin1");
}
