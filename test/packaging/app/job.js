import { createXent, sparseSoftmaxCrossEntropyWithLogits } from "xent";

const [rows, classes] = [64, 20_000];
// Eighths from -16 to 16, from integers only: the same numbers in every engine.
const logits = Float32Array.from({ length: rows * classes }, (_, i) => (Math.imul(i + 1, 0x9e3779b1) >> 24) / 8);
const labels = Int32Array.from({ length: rows }, (_, row) => (row * 7919) % classes);
const options = { gradient: true, reduction: "mean" };
// The main thread of a page may not wait for others.
const mayBlock = typeof document === "undefined";

/** Loss and gradient of one batch, in both variants where the engine has both, and in every form of call. */
export async function job(threads) {
  const outcomes = [];
  for (const variant of ["simd128", "auto"]) {
    const xent = await createXent({ threads, variant });
    if (xent.threads !== threads) throw new Error(`asked for ${threads} threads, got ${xent.threads}`);
    const batch = xent.createBatch({ rows, classes, gradient: true });
    batch.logits.set(logits);
    batch.labels.set(labels);
    if (mayBlock) outcomes.push(await outcome("run", xent.variant, batch.run(options)));
    batch.gradient.fill(0);
    outcomes.push(await outcome("runAsync", xent.variant, await batch.runAsync(options)));
    xent.dispose();
  }
  const result = sparseSoftmaxCrossEntropyWithLogits(logits, labels, { ...options, shape: [rows, classes] });
  return [...outcomes, await outcome("one call", outcomes.at(-1).variant, result)];
}

/** A result in short: `bits` stands for those of every loss and gradient. */
async function outcome(form, variant, { sum, loss, gradient }) {
  const numbers = new Float32Array(loss.length + gradient.length);
  numbers.set(loss);
  numbers.set(gradient, loss.length);
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", numbers));
  return { form, variant, sum, bits: Array.from(digest, (byte) => byte.toString(16)).join(" ") };
}
