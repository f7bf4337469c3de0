import { wrongType } from "./errors.ts";

/** Rows of logits, row-major. Nested arrays state their shape themselves. */
export type Logits = Float32Array | readonly number[] | readonly (readonly number[])[];

/** Whether the memory of an array has been given away (postMessage with transfer, or a grown WebAssembly.Memory). */
export function isDetached(array: ArrayBufferView): boolean {
  if (array.byteLength > 0) return false;
  try {
    new Uint8Array(array.buffer);
    return false;
  } catch {
    return true;
  }
}

/** Throws TypeError for an array whose memory has been given away. */
export function assertAttached(title: string, array: unknown): void {
  if (ArrayBuffer.isView(array) && isDetached(array)) {
    throw new TypeError(
      `"${title}" is detached: its memory was transferred, or belonged to a WebAssembly.Memory that has grown`,
    );
  }
}

/** Number of logits, and the row length where nested arrays state one. */
export function measure(logits: unknown): { elements: number; classes: number | undefined } {
  if (logits instanceof Float32Array) {
    assertAttached("logits", logits);
    return { elements: logits.length, classes: undefined };
  }
  if (!Array.isArray(logits)) throw wrongType("logits", "a Float32Array, or an array of numbers", logits);
  const rows: readonly unknown[] = logits;
  const first = rows[0];
  if (!Array.isArray(first)) {
    const wrong = rows.findIndex((x) => typeof x !== "number");
    if (wrong >= 0) throw wrongType("logits", `numbers, but entry ${wrong} is something else`, rows[wrong]);
    return { elements: rows.length, classes: undefined };
  }
  for (const [index, row] of rows.entries()) {
    if (!Array.isArray(row)) throw wrongType("logits", `rows of numbers, but row ${index} is something else`, row);
    if (row.length !== first.length) {
      throw new RangeError(`"logits" has ${first.length} classes in row 0, but ${row.length} in row ${index}`);
    }
    const wrong = row.findIndex((x) => typeof x !== "number");
    if (wrong >= 0) throw wrongType("logits", `numbers, but row ${index} has something else at ${wrong}`, row[wrong]);
  }
  return { elements: rows.length * first.length, classes: first.length };
}

/** Copies logits that {@link measure} has let pass. */
export function copyLogits(logits: Logits, target: Float32Array): void {
  if (logits instanceof Float32Array) {
    target.set(logits);
    return;
  }
  let at = 0;
  for (const entry of logits) {
    if (typeof entry === "number") target[at++] = entry;
    else for (const x of entry) target[at++] = x;
  }
}
