// Twelve rows of five classes, which suites write in every file format.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { zipSync } from "fflate";
import { afterAll } from "vitest";
import { npy } from "./array-files.ts";
import { type Ended, overriding, xentCommand } from "./cli.ts";
import { exampleRows } from "./example.ts";
import { bfloat16Bits, float16Bits } from "./half.ts";
import { writeNew } from "./write.ts";

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

/** A folder for a suite, with the rows in logits.npy and their labels in labels.npy, and functions to use it. */
export function arrayFolder() {
  const folder = mkdtempSync(join(tmpdir(), "xent-arrays-"));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  const write = (name: string, content: string | Uint8Array): void => writeNew(join(folder, name), content);
  /** Writes the file of a name that may have an array in it, as x.npz:name. */
  const writeSpec = (spec: string, content: string | Uint8Array): void => write(spec.replace(/:.*$/, ""), content);
  const evaluate = (...args: string[]): Ended =>
    xentCommand(overriding(["evaluate", "--threads", "1", ...args]), { cwd: folder });
  write("logits.npy", npy("float32", SHAPE, values));
  write("labels.npy", npy("int32", [ROWS], labels));
  return { folder, write, writeSpec, evaluate };
}
