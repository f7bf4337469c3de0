import type { LogitsType } from "xent";

/** Bytes of each number type, by NumPy's names. */
export const BYTES = {
  bool: 1,
  float16: 2,
  bfloat16: 2,
  float32: 4,
  float64: 8,
  int8: 1,
  uint8: 1,
  int16: 2,
  uint16: 2,
  int32: 4,
  uint32: 4,
  int64: 8,
  uint64: 8,
} as const;

export type DType = keyof typeof BYTES;

export const FLOATS: readonly LogitsType[] = ["float16", "bfloat16", "float32", "float64"];

export const INTEGERS = ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"] as const;

export function isFloat(dtype: DType): dtype is LogitsType {
  return FLOATS.some((float) => float === dtype);
}
