import { createRequire } from "node:module";
import { arch, cpus, platform } from "node:os";
import colors from "picocolors";

const { version } = createRequire(import.meta.url)("xent/package.json");

/**
 * The results of the job, in 80 columns.
 *
 * @param {import("xent").Xent} xent
 * @param {Record<"classifier" | "head", Awaited<ReturnType<typeof import("./classifier.mjs").trainClassifier>>>} trained
 * @param {ReturnType<typeof import("./language-model.mjs").evaluate>} model
 * @param {Awaited<ReturnType<typeof import("./comparison.mjs").compare>>} comparison
 * @param {Record<string, number>} seconds
 */
export function report(xent, { classifier, head }, model, comparison, seconds) {
  const { expected } = model;
  const { xentLoss, plainLoss, xentGradient, plainGradient } = comparison.milliseconds;
  return [
    "",
    heading("Softmax classifier of handwritten digits, trained with xent"),
    row("digits", `${count(classifier.trainDigits)} to train, ${count(classifier.testDigits)} others to test`),
    row("descent", `${count(classifier.steps)} steps of ${classifier.batchDigits} digits, ${classifier.epochs} epochs`),
    row("training loss", `${classifier.trainLoss.toFixed(4)} nat, mean of the last epoch`),
    row("test loss", `${classifier.testLoss.toFixed(4)} nat`),
    row("test accuracy", `${percent(classifier.correct / classifier.testDigits)} (${count(classifier.correct)} right)`),
    row(
      "the same by xent/linear",
      `${percent(head.correct / head.testDigits)}, test loss ${head.testLoss.toFixed(4)}; ` +
        `${seconds["the same with xent/linear"]?.toFixed(2)} s, above ${seconds["training and testing"]?.toFixed(2)} s`,
    ),
    "",
    heading(`SmolLM2-135M on the Brown corpus: ${model.rows} tokens, ${count(model.classes)} classes`),
    dim(row("", "xent", "expected", "difference")),
    row("mean loss, nat", digits(model.mean), digits(expected.mean), signed(model.mean - expected.mean)),
    row(
      "perplexity",
      digits(model.perplexity),
      digits(expected.perplexity),
      signed(model.perplexity - expected.perplexity),
    ),
    row("right", `${model.correct}`, `${expected.correct}`, `${model.correct - expected.correct}`),
    row("largest error of a token", `${small(model.rowError)} nat`, `${model.rowUlps.toFixed(2)} ulp of f32`),
    "",
    heading(`Same tokens, xent and a plain JavaScript loop: median of ${comparison.repetitions}`),
    dim(row("", "xent", "JavaScript", "ratio")),
    row("loss", ms(xentLoss), ms(plainLoss), ratio(plainLoss, xentLoss)),
    row("loss and gradient", ms(xentGradient), ms(plainGradient), ratio(plainGradient, xentGradient)),
    row(
      "largest difference",
      `${small(comparison.lossDifference)} nat in loss, ${small(comparison.gradientDifference)} in gradient`,
    ),
    "",
    heading("Run"),
    row("xent", `${version}, variant ${xent.variant}`),
    row("runtime", `Node.js ${process.versions.node}, V8 ${process.versions.v8}, ${platform()} ${arch()}`),
    row("processor", cpus()[0]?.model.trim() ?? "unknown"),
    ...Object.entries(seconds).map(([name, value]) => row(name, `${value.toFixed(3)} s`)),
    row("in all", `${process.uptime().toFixed(3)} s`),
    "",
  ].join("\n");
}

const { bold: heading, dim } = colors;

/** @param {string} label @param {string[]} cells */
const row = (label, ...cells) => `  ${label.padEnd(26)}${cells.map((cell) => cell.padEnd(18)).join("")}`.trimEnd();

/** @param {number} value */
const count = (value) => value.toLocaleString("en");
/** @param {number} value */
const percent = (value) => `${(100 * value).toFixed(1)} %`;
/** @param {number} value */
const digits = (value) => value.toPrecision(10);
/** @param {number} value */
const small = (value) => value.toExponential(1);
/** @param {number} value */
const signed = (value) => (value < 0 ? small(value) : `+${small(value)}`);
/** @param {number} value */
const ms = (value) => `${value.toFixed(2)} ms`;
/** @param {number} slow @param {number} fast */
const ratio = (slow, fast) => `${(slow / fast).toFixed(1)} x`;
