// The main job: train on real digits, evaluate a real language model, compare with plain JavaScript, report.
import { createXent } from "xent";
import { inOneStep, inTwoSteps, trainClassifier } from "./classifier.mjs";
import { compare } from "./comparison.mjs";
import { loadDigits } from "./digits.mjs";
import { EXPECTED_FILE, evaluate, loadTokens } from "./language-model.mjs";
import { report } from "./report.mjs";

const TOLERANCE = 1e-6;

const interrupt = new AbortController();
process.once("SIGINT", () => interrupt.abort());

/** @type {Record<string, number>} */
const seconds = {};

/**
 * @template T
 * @param {string} name
 * @param {() => T | Promise<T>} work
 */
async function timed(name, work) {
  const start = performance.now();
  const result = await work();
  seconds[name] = (performance.now() - start) / 1000;
  return result;
}

/** @param {AbortSignal} signal */
async function run(signal) {
  const xent = await createXent();
  const digits = await timed("reading digits", () => loadDigits(signal));
  /** @param {typeof inOneStep} trainee @param {string} title */
  const train = (trainee, title) => trainClassifier(digits, trainee(xent, digits), title, signal);
  const classifier = await timed("training and testing", () => train(inTwoSteps, "Training"));
  const head = await timed("the same with xent/linear", () => train(inOneStep, "Training with xent/linear"));
  const tokens = await timed("reading tokens", () => loadTokens(signal));
  const model = await timed("evaluating tokens", () => evaluate(xent, tokens));
  const comparison = await timed("comparing", () => compare(xent, tokens, signal));
  console.log(report(xent, { classifier, head }, model, comparison, seconds));
  if (!(model.relativeError <= TOLERANCE)) {
    throw new Error(
      `the mean loss is ${model.mean}, with a relative error of ${model.relativeError.toExponential(1)} to the ` +
        `${model.expected.mean} of ${EXPECTED_FILE}; at most ${TOLERANCE} is allowed`,
    );
  }
}

try {
  await run(interrupt.signal);
} catch (error) {
  const interrupted = interrupt.signal.aborted;
  console.error(interrupted ? "Interrupted." : `Failed: ${error instanceof Error ? error.message : error}`);
  process.exitCode = interrupted ? 130 : 1;
}
