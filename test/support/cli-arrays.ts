// Twelve rows of five classes, which suites write in every file format.
import { zipSync } from "fflate";
import { npy } from "../support/array-files.ts";
import { exampleRows } from "../support/example.ts";
import { bfloat16Bits, float16Bits } from "../support/half.ts";

export const ROWS = 12;
export const CLASSES = 5;
export const SHAPE = [ROWS, CLASSES];
export const { labels } = exampleRows(ROWS, CLASSES);
// Multiples of 1/4 are exact in all types.
export const values = exampleRows(ROWS, CLASSES).logits.map((x) => Math.round(4 * x) / 4);
export const LOGITS = {
  float32: values,
  float64: Float64Array.from(values),
  float16: Uint16Array.from(values, float16Bits),
  bfloat16: Uint16Array.from(values, bfloat16Bits),
};
export type Float = keyof typeof LOGITS;

export const file = (type: Float, shape: readonly number[] = SHAPE): Buffer => npy(type, shape, LOGITS[type]);
export const zip = (content: Record<string, Uint8Array>, level: 0 | 6): Uint8Array => zipSync(content, { level });
export const tensor = (type: Float) => ({ type, shape: SHAPE, data: LOGITS[type] });
