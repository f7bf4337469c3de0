// The integer generator of test/golden/README.md. It is exact in float32, so that any language gives the same bits.

import { mulberry32 } from "../../test/support/random.mjs";

/** @param {{ rows: number, classes: number, seed: number, bits?: number, shift?: number, boost?: number, constant?: number }} problem */
export function generate({ rows, classes, seed, bits = 24, shift = 20, boost = 0, constant }) {
  const labels = new Int32Array(rows);
  const logits = new Float32Array(rows * classes);
  const l = mulberry32((seed ^ 0x9e3779b9) >>> 0);
  for (let i = 0; i < rows; i++) labels[i] = l() % classes;
  if (constant !== undefined) return { rows, classes, labels, logits: logits.fill(constant) };
  const u = mulberry32(seed);
  // Computing the powers in the loop would double its time.
  const [half, unit] = [2 ** (bits - 1), 2 ** -shift];
  for (let i = 0; i < logits.length; i++) logits[i] = ((u() >>> (32 - bits)) - half) * unit;
  for (let i = 0; i < rows; i++) logits[i * classes + labels[i]] += boost;
  return { rows, classes, labels, logits };
}

/** Normally distributed rows (Box-Muller). */
export function normal({ rows, classes, seed, deviation }) {
  const { labels, logits } = generate({ rows, classes, seed });
  const u = mulberry32(seed);
  const uniform = () => (u() + 0.5) * 2 ** -32;
  for (let i = 0; i < logits.length; i++) {
    logits[i] = deviation * Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform());
  }
  return { rows, classes, labels, logits };
}
