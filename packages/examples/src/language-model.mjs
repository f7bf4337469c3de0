import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parse } from "npyjs";
import { readParsed } from "./files.mjs";

const FILES = join(fileURLToPath(new URL("../data", import.meta.url)), "smollm2-brown-16");

/** The file with the expected results. */
export const EXPECTED_FILE = `${FILES}.expected.json`;

/**
 * @typedef {object} Expected Results by 50-digit arithmetic.
 * @property {[rows: number, classes: number]} shape
 * @property {number[]} loss [rows]
 * @property {number} mean
 * @property {number} perplexity
 * @property {number} correct
 */

/** @typedef {{ logits: Float32Array, labels: Int32Array, rows: number, classes: number, expected: Expected }} Tokens */

/**
 * Next-token logits of a real language model, the tokens that came next, and the results to expect.
 *
 * @param {AbortSignal} [signal]
 * @returns {Promise<Tokens>}
 */
export async function loadTokens(signal) {
  const expected = await readParsed(EXPECTED_FILE, parseExpected, signal);
  const [rows, classes] = expected.shape;
  // Reading widens float16 to f32, which is exact.
  const logits = await readParsed(`${FILES}.logits.npy`, readArray("f2", rows * classes), signal);
  const labels = await readParsed(`${FILES}.labels.npy`, readArray("i8", rows), signal);
  return { logits, labels: Int32Array.from(labels, Number), rows, classes, expected };
}

/**
 * @param {Buffer} bytes
 * @returns {Expected}
 */
function parseExpected(bytes) {
  const expected = JSON.parse(bytes.toString());
  if (!(expected.shape?.length === 2 && expected.loss?.length === expected.shape[0])) {
    throw new Error('expected "shape" with two numbers, and "loss" with one number for each row');
  }
  return expected;
}

/**
 * @param {string} dtype
 * @param {number} length
 */
function readArray(dtype, length) {
  /** @param {Buffer} bytes */
  return (bytes) => {
    const array = parse(new Uint8Array(bytes).buffer);
    if (array.dtype !== dtype || array.fortranOrder || array.data.length !== length) {
      throw new Error(`expected ${length} x ${dtype} in C order, got ${array.data.length} x ${array.dtype}`);
    }
    return array.data;
  };
}

/**
 * Computes loss and perplexity of the language model, and compares them with the expected results.
 *
 * @param {import("xent").Xent} xent
 * @param {Tokens} tokens
 */
export function evaluate(xent, { logits, labels, rows, classes, expected }) {
  const batch = xent.createBatch({ rows, classes });
  batch.logits.set(logits);
  batch.labels.set(labels);
  const { loss, mean, correct = 0 } = batch.run({ predictions: true });
  const errors = Array.from(loss, (value, row) => Math.abs(value - expected.loss[row]));
  const ulps = errors.map((error, row) => error / ulp(expected.loss[row]));
  batch.dispose();
  return {
    rows,
    classes,
    mean,
    perplexity: Math.exp(mean),
    correct,
    expected,
    relativeError: Math.abs(mean / expected.mean - 1),
    rowError: Math.max(...errors),
    rowUlps: Math.max(...ulps),
  };
}

/**
 * The distance between neighbouring f32 values around x.
 *
 * @param {number} x
 */
function ulp(x) {
  return 2 ** (Math.floor(Math.log2(x)) - 23);
}
