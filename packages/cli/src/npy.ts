// NumPy's .npy, version 1 to 3: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
// Own code, because packages that read the format load the whole file into memory.
import type { ArrayFile } from "./array-file.ts";
import { type Bytes, take } from "./bytes.ts";
import { BYTES, type DType } from "./dtypes.ts";
import { badData } from "./failure.ts";

const KINDS: Record<string, string> = { f: "float", i: "int", u: "uint" };
/** Type codes of one letter whose size is the same on all platforms. */
const LETTERS: Record<string, DType> = {
  ...{ e: "float16", f: "float32", d: "float64" },
  ...{ b: "int8", B: "uint8", h: "int16", H: "uint16", i: "int32", I: "uint32", q: "int64", Q: "uint64" },
};
/** NumPy's limit for a file that it does not trust. */
const MOST_HEADER_BYTES = 10_000;

/** Reads the header. The data of the array comes next. */
export async function readNpy(name: string, bytes: Bytes): Promise<ArrayFile> {
  const magic = await take(bytes, 8, name);
  if (magic.toString("latin1", 0, 6) !== "\x93NUMPY")
    throw badData(`${name}: not a .npy file: it does not begin with \\x93NUMPY`);
  if (!(magic[6] === 1 || magic[6] === 2 || magic[6] === 3))
    throw badData(`${name}: unsupported version ${magic[6]} of .npy`);
  const length =
    magic[6] === 1 ? (await take(bytes, 2, name)).readUInt16LE() : (await take(bytes, 4, name)).readUInt32LE();
  if (length > MOST_HEADER_BYTES) throw badData(`${name}: not a .npy file: a header of ${length} bytes`);
  const header = (await take(bytes, length, name)).toString("latin1");

  const entries = entriesOf(header);
  if (entries === undefined) {
    throw badData(`${name}: expected an array of plain numbers, found ${header.trim().slice(0, 60)}`);
  }
  const { descr, isFortran, shape } = entries;
  if (!shape.every(Number.isSafeInteger))
    throw badData(`${name}: an array of shape (${shape.join(", ").slice(0, 60)})`);
  // With one axis, or one that is not 1, both orders are the same.
  if (isFortran && shape.filter((size) => size !== 1).length > 1) {
    throw badData(
      `${name}: in Fortran order: save numpy.ascontiguousarray(a), or from Julia and MATLAB the array with its axes reversed`,
    );
  }
  const [dtype, isBig] = dtypeOf(name, descr);
  return { name, dtype, shape, bytes: isBig ? swapped(bytes, BYTES[dtype]) : bytes };
}

/** A Python string without escapes, in single or double quotes. */
const STRING = /'[^'\\\n]*'|"[^"\\\n]*"/.source;
/** An integer of a tuple. Python 2 wrote long integers with an L. */
const SIZE = /(?:0|[1-9]\d*)L?/.source;
const SIZES = `${SIZE}\\s*,\\s*(?:${SIZE}\\s*(?:,\\s*${SIZE}\\s*)*,?\\s*)?`;
const ENTRY = `(${STRING})\\s*:\\s*(${STRING}|True|False|\\(\\s*(?:${SIZES})?\\))\\s*`;
const HEADER = new RegExp(`^\\s*\\{\\s*${ENTRY},\\s*${ENTRY},\\s*${ENTRY}(?:,\\s*)?\\}\\s*$`);

/** Parses what NumPy accepts: exactly three entries, in any order. */
function entriesOf(header: string): { descr: string; isFortran: boolean; shape: number[] } | undefined {
  const [, ...parts] = HEADER.exec(header) ?? [];
  const entries = new Map([0, 2, 4].map((i) => [parts[i]?.slice(1, -1), parts[i + 1] ?? ""]));
  const [descr, order, sizes] = ["descr", "fortran_order", "shape"].map((key) => entries.get(key));
  if (descr === undefined || order === undefined || sizes === undefined) return undefined;
  if (!/^['"]/.test(descr) || !/^(True|False)$/.test(order) || !sizes.startsWith("(")) return undefined;
  return { descr: descr.slice(1, -1), isFortran: order === "True", shape: (sizes.match(/\d+/g) ?? []).map(Number) };
}

/** The type of the numbers, and whether they are big endian. */
function dtypeOf(name: string, descr: string): [DType, boolean] {
  const [, endian, letter = "", size] = /^([<>|=]?)([a-zA-Z])(\d*)$/.exec(descr) ?? [];
  // NumPy saves the bfloat16 of ml_dtypes as V2.
  if (letter === "V" && size === "2" && endian !== ">") return ["bfloat16", false];
  if (letter === "b" && size === "1") return ["bool", false];
  const dtype = letter === "" ? descr : size === "" ? LETTERS[letter] : `${KINDS[letter]}${8 * Number(size)}`;
  if (dtype === undefined || !Object.hasOwn(BYTES, dtype) || descr === "bfloat16")
    throw badData(`${name}: unsupported type ${descr}`);
  return [dtype as DType, endian === ">"];
}

/** Big-endian bytes as little endian. Callers read whole numbers only. */
function swapped(bytes: Bytes, size: number): Bytes {
  if (size === 1) return bytes;
  return {
    get left() {
      return bytes.left;
    },
    async read(into) {
      const count = await bytes.read(into);
      const read = Buffer.from(into.buffer, into.byteOffset, count);
      if (size === 2) read.swap16();
      else if (size === 4) read.swap32();
      else read.swap64();
      return count;
    },
    close: () => bytes.close(),
  };
}

/** What a .npy that this program writes has. */
export type Written = "losses" | "divergences";

/**
 * The header of a float32 array with one axis. Its padding differs from NumPy's, and says what the array has: {@link isOwnNpy} recognises
 * both.
 */
export function npyHeader(rows: number, what: Written): Buffer {
  const text = `{'descr': '<f4', 'fortran_order': False, 'shape': (${rows},),`;
  const end = what === "losses" ? "}\n" : "} \n";
  // The data begins at a multiple of 64 bytes.
  const padded = text.padEnd(OWN_HEADER_BYTES - 10 - end.length) + end;
  return Buffer.from(`\x93NUMPY\x01\x00${String.fromCharCode(padded.length)}\x00${padded}`, "latin1");
}

const OWN_HEADER_BYTES = 128;

/** Whether a file begins with a header of {@link npyHeader}. */
export function isOwnNpy(start: string, what: Written): boolean {
  const rows = /'shape': \((\d+),\)/.exec(start)?.[1];
  return rows !== undefined && start.startsWith(npyHeader(Number(rows), what).toString("latin1"));
}
