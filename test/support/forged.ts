import { crc32 } from "node:zlib";

/** A file of partials or totals with changed contents, and a right length and checksum. */
export function forged(file: Uint8Array, change: (view: DataView) => void, length: number = file.length): Uint8Array {
  const bytes = new Uint8Array(length);
  bytes.set(file.subarray(0, length));
  const view = new DataView(bytes.buffer);
  view.setBigUint64(16, BigInt(length), true);
  change(view);
  view.setUint32(length - 4, crc32(bytes.subarray(0, -4)), true);
  return bytes;
}

/** Changes a u32. */
export const words =
  (offset: number, ...values: number[]) =>
  (view: DataView): void => {
    for (const [i, value] of values.entries()) view.setUint32(offset + 4 * i, value, true);
  };

/** Changes an f64. */
export const doubles =
  (offset: number, ...values: number[]) =>
  (view: DataView): void => {
    for (const [i, value] of values.entries()) view.setFloat64(offset + 8 * i, value, true);
  };
