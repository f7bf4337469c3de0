import { plainLoss, plainLossAndGradient } from "./plain.mjs";
import { withProgress } from "./progress.mjs";

const WARM_UPS = 3;
const REPETITIONS = 15;
// Each measurement takes the same time: otherwise a busy machine would interrupt slow contenders more often than fast ones.
const MEASURE_MS = 25;

/**
 * Times xent and the plain loop on the same rows, in turns, so that a busy machine slows both, and compares the results.
 *
 * @param {import("xent").Xent} xent
 * @param {import("./language-model.mjs").Tokens} tokens
 * @param {AbortSignal} signal
 */
export async function compare(xent, { logits, labels, rows, classes }, signal) {
  const batch = xent.createBatch({ rows, classes, gradient: true });
  batch.logits.set(logits);
  batch.labels.set(labels);
  const loss = new Float64Array(rows);
  const gradient = new Float32Array(rows * classes);

  const contenders = Object.entries({
    xentLoss: () => batch.run(),
    plainLoss: () => plainLoss(logits, labels, classes, loss),
    xentGradient: () => batch.run({ gradient: true }),
    plainGradient: () => plainLossAndGradient(logits, labels, classes, loss, gradient),
  });
  const milliseconds = await withProgress("Comparing", WARM_UPS + REPETITIONS, signal, async (step) => {
    /** @type {number[][]} */
    const times = contenders.map(() => []);
    for (let repetition = 0; repetition < WARM_UPS + REPETITIONS; repetition++) {
      for (const [i, [, run]] of contenders.entries()) times[i].push(timeOf(run));
      await step(repetition + 1);
    }
    return Object.fromEntries(contenders.map(([name], i) => [name, median(times[i].slice(WARM_UPS))]));
  });

  const result = batch.run({ gradient: true });
  const comparison = {
    repetitions: REPETITIONS,
    milliseconds,
    lossDifference: largestDifference(result.loss, loss),
    gradientDifference: largestDifference(result.gradient, gradient),
  };
  batch.dispose();
  return comparison;
}

/**
 * Milliseconds of a run: the mean over as many runs as fit in MEASURE_MS.
 *
 * @param {() => void} run
 */
function timeOf(run) {
  const start = performance.now();
  let runs = 0;
  let elapsed = 0;
  do {
    run();
    runs++;
    elapsed = performance.now() - start;
  } while (elapsed < MEASURE_MS);
  return elapsed / runs;
}

/** @param {number[]} values An odd number of them. */
function median(values) {
  return values.toSorted((a, b) => a - b)[(values.length - 1) / 2];
}

/**
 * @param {Float32Array} a
 * @param {Float32Array | Float64Array} b
 */
function largestDifference(a, b) {
  return a.reduce((largest, value, i) => Math.max(largest, Math.abs(value - b[i])), 0);
}
