import { createLinear } from "xent/linear";
import { CLASSES, PIXELS } from "./digits.mjs";
import { withProgress } from "./progress.mjs";

const SEED = 1;
const TEST_DIGITS = 1500;
const BATCH_DIGITS = 50;
const EPOCHS = 10;
const LEARNING_RATE = 0.2;

/**
 * Trains a softmax classifier, logits = pixels * weights + bias, by stochastic gradient descent, and tests it on digits
 * that it was not trained on.
 *
 * @param {import("./digits.mjs").Digits} digits
 * @param {Trainee} trainee
 * @param {string} title
 * @param {AbortSignal} signal
 */
export async function trainClassifier(digits, trainee, title, signal) {
  const random = mulberry32(SEED);
  const order = shuffle(Uint32Array.from(digits.labels.keys()), random);
  const testOrder = order.subarray(0, TEST_DIGITS);
  const trainOrder = order.subarray(TEST_DIGITS);

  const steps = Math.floor(trainOrder.length / BATCH_DIGITS);
  const trainLoss = await withProgress(title, EPOCHS * steps, signal, async (progress) => {
    let sum = 0;
    for (let epoch = 0; epoch < EPOCHS; epoch++) {
      shuffle(trainOrder, random);
      sum = 0;
      for (let step = 0; step < steps; step++) {
        sum += trainee.learn(trainOrder.subarray(step * BATCH_DIGITS, (step + 1) * BATCH_DIGITS));
        const loss = (sum / (step + 1)).toFixed(4);
        await progress(epoch * steps + step + 1, `epoch ${epoch + 1}/${EPOCHS}  loss ${loss}`);
      }
    }
    return sum / steps;
  });

  const { mean: testLoss, correct } = trainee.test(testOrder);
  trainee.dispose();
  return {
    trainDigits: trainOrder.length,
    testDigits: TEST_DIGITS,
    batchDigits: BATCH_DIGITS,
    epochs: EPOCHS,
    steps: EPOCHS * steps,
    trainLoss,
    testLoss,
    correct,
  };
}

/**
 * @typedef {{
 *   learn(chosen: Uint32Array): number,
 *   test(chosen: Uint32Array): { mean: number, correct: number },
 *   dispose(): void,
 * }} Trainee `learn` takes one step of descent and returns the mean loss before it. `test` evaluates other digits.
 */

/**
 * A plain loop, which skips blank pixels, computes the logits; a batch computes their loss.
 *
 * @param {import("xent").Xent} xent
 * @param {import("./digits.mjs").Digits} digits
 * @returns {Trainee}
 */
export function inTwoSteps(xent, digits) {
  const model = { weights: new Float32Array(PIXELS * CLASSES), bias: new Float32Array(CLASSES) };
  // Create both batches before taking their arrays: a new batch may grow the memory, which detaches its views.
  const batch = xent.createBatch({ rows: BATCH_DIGITS, classes: CLASSES, gradient: true });
  const tested = xent.createBatch({ rows: TEST_DIGITS, classes: CLASSES });
  return {
    learn(chosen) {
      forward(model, digits, chosen, batch);
      const { mean } = batch.run({ gradient: true, reduction: "mean" });
      descend(model, digits, chosen, batch);
      return mean;
    },
    test(chosen) {
      forward(model, digits, chosen, tested);
      return tested.run({ predictions: true });
    },
    dispose() {
      batch.dispose();
      tested.dispose();
    },
  };
}

/**
 * xent/linear computes logits, loss and gradients.
 *
 * @param {import("xent").Xent} xent
 * @param {import("./digits.mjs").Digits} digits
 * @returns {Trainee}
 */
export function inOneStep(xent, { pixels, labels }) {
  const size = { features: PIXELS, classes: CLASSES, bias: true };
  const trained = createLinear(xent, { ...size, rows: BATCH_DIGITS, gradient: ["weight", "bias"] });
  const tested = createLinear(xent, { ...size, rows: TEST_DIGITS });
  /** @param {import("xent/linear").Linear} layer @param {Uint32Array} chosen */
  const choose = ({ features, labels: own }, chosen) => {
    chosen.forEach((digit, row) => {
      features.set(pixels.subarray(digit * PIXELS, (digit + 1) * PIXELS), row * PIXELS);
      own[row] = labels[digit];
    });
  };
  return {
    learn(chosen) {
      choose(trained, chosen);
      const { mean } = trained.run({ gradient: true, reduction: "mean" });
      const { weight, weightGradient, bias, biasGradient } = trained;
      for (let i = 0; i < weight.length; i++) weight[i] -= LEARNING_RATE * weightGradient[i];
      for (let i = 0; i < bias.length; i++) bias[i] -= LEARNING_RATE * biasGradient[i];
      return mean;
    },
    test(chosen) {
      tested.setWeight(trained.weight);
      tested.setBias(trained.bias);
      choose(tested, chosen);
      return tested.run({ predictions: true });
    },
    dispose() {
      trained.dispose();
      tested.dispose();
    },
  };
}

/** @typedef {{ weights: Float32Array, bias: Float32Array }} Model [PIXELS, CLASSES] and [CLASSES]. */

/**
 * Writes labels and logits of the chosen digits straight into the batch.
 *
 * @param {Model} model
 * @param {import("./digits.mjs").Digits} digits
 * @param {Uint32Array} chosen
 * @param {import("xent").Batch} batch
 */
function forward({ weights, bias }, { pixels, labels }, chosen, batch) {
  const { logits, labels: batchLabels } = batch;
  chosen.forEach((digit, row) => {
    batchLabels[row] = labels[digit];
    const out = row * CLASSES;
    logits.set(bias, out);
    for (let i = 0; i < PIXELS; i++) {
      const pixel = pixels[digit * PIXELS + i];
      if (pixel === 0) continue; // Most pixels of a digit are blank.
      for (let c = 0; c < CLASSES; c++) logits[out + c] += pixel * weights[i * CLASSES + c];
    }
  });
}

/**
 * One step against the gradient of the batch's mean loss, which is read where the kernel wrote it.
 *
 * @param {Model} model
 * @param {import("./digits.mjs").Digits} digits
 * @param {Uint32Array} chosen
 * @param {import("xent").Batch} batch
 */
function descend({ weights, bias }, { pixels }, chosen, { gradient }) {
  chosen.forEach((digit, row) => {
    const from = row * CLASSES;
    for (let c = 0; c < CLASSES; c++) bias[c] -= LEARNING_RATE * gradient[from + c];
    for (let i = 0; i < PIXELS; i++) {
      const scale = LEARNING_RATE * pixels[digit * PIXELS + i];
      if (scale === 0) continue;
      for (let c = 0; c < CLASSES; c++) weights[i * CLASSES + c] -= scale * gradient[from + c];
    }
  });
}

/**
 * Shuffles in place (Fisher-Yates).
 *
 * @param {Uint32Array} array
 * @param {() => number} random
 */
function shuffle(array, random) {
  for (let i = array.length - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1));
    [array[i], array[j]] = [array[j], array[i]];
  }
  return array;
}

/**
 * Tommy Ettinger's mulberry32, numbers in [0, 1). The seed makes runs repeatable.
 *
 * @param {number} seed
 */
function mulberry32(seed) {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}
