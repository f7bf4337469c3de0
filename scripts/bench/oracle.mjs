// The formula of test/golden/README.md in f64. The maximum, and for the gradient at the label the label's term, stays out of
// the sum, which avoids cancellation.

/**
 * The losses, and the gradient of their sum in the layout of the logits without padding. `values`: the logits as floats, if
 * `logits` has bits.
 */
export function oracle(data) {
  const { rows, classes, inner = 1, stride = classes, logits, values = logits } = data;
  const loss = new Float64Array(rows);
  const gradient = new Float64Array(rows * classes);
  const row = new Float64Array(classes);
  const result = new Float64Array(classes);
  const rowOf = data.teacher ? divergenceOracle(data) : rowOracle(data);
  for (let i = 0; i < rows; i++) {
    const outer = Math.floor(i / inner);
    const from = outer * stride * inner + (i % inner);
    const to = outer * classes * inner + (i % inner);
    for (let j = 0; j < classes; j++) row[j] = values[from + j * inner];
    loss[i] = rowOf(row, i, to, result);
    for (let j = 0; j < classes; j++) gradient[to + j * inner] = result[j];
  }
  return { loss, gradient };
}

/** A function that returns the loss of row i and writes its gradient to `g`. The row's targets begin at `at`. */
function rowOracle({ classes, inner = 1, labels, targets, classWeights, sampleWeights, options = {} }) {
  const { ignoreIndex, labelSmoothing = 0, zLoss = 0, softcap, temperature = 1 } = options;
  const weight = (j) => (classWeights ? classWeights[j] : 1);
  const dense = targets !== undefined || labelSmoothing > 0;
  /** The target of class j without the part of the label. */
  const share = (j, at) =>
    weight(j) * (labelSmoothing / classes + (targets ? (1 - labelSmoothing) * targets[at + j * inner] : 0));
  const transform = (x) => (softcap ? softcap * Math.tanh(x / softcap) : x) / temperature;

  return (logits, i, at, g) => {
    const label = targets ? 0 : Number(labels[i]);
    if (!targets && label === ignoreIndex) {
      g.fill(0);
      return 0;
    }
    const x = softcap || temperature !== 1 ? logits.map(transform) : logits;
    let top = 0;
    let valid = true;
    for (let j = 0; j < classes; j++) {
      if (x[j] > x[top]) top = j;
      if (Number.isNaN(x[j])) valid = false;
    }
    if (!valid || !Number.isFinite(x[top])) {
      g.fill(Number.NaN);
      return Number.NaN;
    }
    let others = 0;
    let rest = 0;
    for (let j = 0; j < classes; j++) {
      g[j] = Math.exp(x[j] - x[top]);
      if (j !== top) rest += g[j];
      if (j !== label) others += g[j];
    }
    const log = Math.log1p(rest);
    const logSumExp = x[top] + log;
    const own = targets ? 0 : (1 - labelSmoothing) * weight(label);
    let loss = own === 0 ? 0 : own * (log + (x[top] - x[label]));
    let shared = 0;
    for (let j = 0; dense && j < classes; j++) {
      const q = share(j, at);
      shared += q;
      if (q !== 0) loss += q * (logSumExp - x[j]);
    }
    const sample = sampleWeights ? sampleWeights[i] : 1;
    const alpha = shared + 2 * zLoss * logSumExp;
    for (let j = 0; j < classes; j++) {
      const p = g[j] / (1 + rest);
      const difference = j === label ? -others / (1 + rest) : p;
      const slope = softcap ? 1 - Math.tanh(logits[j] / softcap) ** 2 : 1;
      g[j] = ((sample * slope) / temperature) * (own * difference + alpha * p - (dense ? share(j, at) : 0));
    }
    return sample * (loss + zLoss * logSumExp ** 2);
  };
}

/** As {@link rowOracle}, of the divergence from the softmax of the teacher's logits. */
function divergenceOracle({ classes, teacher }) {
  const probabilities = (x) => {
    const most = Math.max(...x);
    const terms = Array.from(x, (xj) => Math.exp(xj - most));
    const sum = terms.reduce((a, b) => a + b, 0);
    return { of: terms.map((term) => term / sum), logSumExp: most + Math.log(sum) };
  };
  return (logits, _, at, g) => {
    const t = teacher.subarray(at, at + classes);
    const [p, q] = [probabilities(t), probabilities(logits)];
    let loss = 0;
    for (let j = 0; j < classes; j++) {
      loss += p.of[j] * (t[j] - p.logSumExp - (logits[j] - q.logSumExp));
      g[j] = q.of[j] - p.of[j];
    }
    return loss;
  };
}

const SMALLEST_NORMAL = 2 ** -126;
const LARGEST = (2 - 2 ** -23) * 2 ** 127;

export function isNormal(exact) {
  const size = Math.abs(exact);
  return size >= SMALLEST_NORMAL && size <= LARGEST;
}

const word = new DataView(new ArrayBuffer(8));

/** The distance of a float32 result from an exact value that is a normal float32, in ulps of that value. */
export function ulp(got, exact) {
  if (!Number.isFinite(got)) return Infinity;
  word.setFloat64(0, exact);
  const exponent = ((word.getUint16(0) >> 4) & 0x7ff) - 1023;
  return Math.abs(got - exact) / 2 ** (exponent - 23);
}

/** The tolerance of results that are rounded to a 16-bit type. */
const TOLERANCE = { float16: 2 ** -10, bfloat16: 2 ** -7 };

/** Describes the first error of a result, or returns undefined. Errors of a gradient are relative to 1/classes. */
export function mistake({ types = [], loss, gradient }, exact, classes) {
  const [ofLoss = 1e-4, ofGradient = 1e-4] = types.map((type) => TOLERANCE[type]);
  for (let i = 0; i < exact.loss.length; i++) {
    if (!(Math.abs(loss[i] - exact.loss[i]) <= ofLoss * Math.max(1, Math.abs(exact.loss[i])))) {
      return `loss of row ${i} is ${loss[i]}, expected ${exact.loss[i]}`;
    }
  }
  if (gradient === undefined) return undefined;
  for (let i = 0; i < exact.gradient.length; i++) {
    if (!(Math.abs(gradient[i] - exact.gradient[i]) <= ofGradient * (Math.abs(exact.gradient[i]) + 1 / classes))) {
      return `gradient entry ${i} is ${gradient[i]}, expected ${exact.gradient[i]}`;
    }
  }
  return undefined;
}
