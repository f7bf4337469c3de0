// The container of both file formats: a header with magic, version and length, little-endian arrays, and a checksum.
//
//     8 bytes  magic, in ASCII
//     u32      version
//     u32      0
//     u64      bytes of the file
//     ...      arrays, without gaps
//     u32      CRC-32 (zlib's) of all preceding bytes

import { wrongType } from "../errors.ts";
import { assertAttached, bufferOf, byteOffsetOf, lengthOf, typedArrayKind } from "../typed-array.ts";

const HEADER = 24;
const CHECKSUM = 4;

/** The arrays of a file. */
export type Numbers = Float64Array | Float32Array | Int32Array | Uint32Array;

/** Writes arrays into a file. */
export function pack(magic: string, version: number, arrays: readonly Numbers[]): Uint8Array<ArrayBuffer> {
  const length = arrays.reduce((sum, array) => sum + array.byteLength, HEADER + CHECKSUM);
  const bytes = new Uint8Array(length);
  const view = new DataView(bytes.buffer);
  bytes.set(new TextEncoder().encode(magic));
  view.setUint32(8, version, true);
  view.setBigUint64(16, BigInt(length), true);
  let at = HEADER;
  for (const array of arrays) {
    bytes.set(littleEndian(array), at);
    at += array.byteLength;
  }
  view.setUint32(at, crc32(bytes.subarray(0, at)), true);
  return bytes;
}

/** Reads arrays from a file. */
export class Unpacked {
  readonly #name: string;
  readonly #bytes: Uint8Array;
  #at = HEADER;
  readonly version: number;

  /** Throws RangeError if the bytes are a file of another kind or of a version after `newest`, or are incomplete or damaged. */
  constructor(bytes: Uint8Array, magic: string, newest: number) {
    if (typedArrayKind(bytes) !== "Uint8Array") throw wrongType("bytes", "a Uint8Array", bytes);
    assertAttached("bytes", bytes);
    this.#name = magic;
    this.#bytes = new Uint8Array(bufferOf(bytes), byteOffsetOf(bytes), lengthOf(bytes));
    this.version = this.#check(this.#bytes, magic, newest);
  }

  #check(bytes: Uint8Array, magic: string, newest: number): number {
    const { length } = bytes;
    const found = new TextDecoder("latin1").decode(bytes.subarray(0, 8));
    if (found !== magic) throw this.error(`a file that begins with ${JSON.stringify(found)}`);
    if (length < HEADER + CHECKSUM) throw this.error(`${length} bytes, which is too few`);
    const view = new DataView(bytes.buffer, bytes.byteOffset, length);
    const version = view.getUint32(8, true);
    if (!(version >= 1 && version <= newest)) {
      throw this.error(`version ${version}; this release of xent reads versions 1 to ${newest}`);
    }
    if (view.getUint32(12, true) !== 0) throw this.error(`${view.getUint32(12, true)} at byte 12, expected 0`);
    const expected = Number(view.getBigUint64(16, true));
    if (length < expected) throw this.error(`a truncated file: ${length} of ${expected} bytes`);
    if (length > expected) throw this.error(`${length - expected} bytes more than the ${expected} of the file`);
    if (crc32(bytes.subarray(0, -CHECKSUM)) !== view.getUint32(length - CHECKSUM, true)) {
      throw this.error("a damaged file: its checksum does not match");
    }
    return version;
  }

  /** The next array. */
  take<T extends Numbers>(type: { new (length: number): T; readonly BYTES_PER_ELEMENT: number }, length: number): T {
    const end = this.#at + length * type.BYTES_PER_ELEMENT;
    if (!(Number.isInteger(length) && length >= 0 && end <= this.#bytes.length - CHECKSUM))
      throw this.error("sizes that contradict one another");
    const array = new type(length);
    const bytes = new Uint8Array(array.buffer);
    bytes.set(this.#bytes.subarray(this.#at, end));
    bytes.set(littleEndian(array));
    this.#at = end;
    return array;
  }

  /** Throws RangeError if bytes are left. */
  end(): void {
    if (this.#at !== this.#bytes.length - CHECKSUM) throw this.error("sizes that contradict one another");
  }

  /** An error about the file. */
  error(got: string): RangeError {
    return new RangeError(`"bytes" expected ${this.#name}, got ${got}`);
  }
}

/** Converts between numbers and little-endian bytes, in a copy. */
function littleEndian(array: Numbers): Uint8Array {
  const bytes = new Uint8Array(array.buffer, array.byteOffset, array.byteLength).slice();
  if (new Uint8Array(Uint16Array.of(1).buffer)[0] === 1) return bytes;
  for (let at = 0; at < bytes.length; at += array.BYTES_PER_ELEMENT) {
    bytes.subarray(at, at + array.BYTES_PER_ELEMENT).reverse();
  }
  return bytes;
}

function crc32(bytes: Uint8Array): number {
  const table = Uint32Array.from({ length: 256 }, (_, byte) => {
    let value = byte;
    for (let bit = 0; bit < 8; bit++) value = (value >>> 1) ^ (value & 1 ? 0xedb88320 : 0);
    return value;
  });
  let crc = -1;
  for (const byte of bytes) crc = (crc >>> 8) ^ (table[(crc ^ byte) & 255] as number);
  return ~crc >>> 0;
}
