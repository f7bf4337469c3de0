// The formula of test/golden/README.md in f64: the maximum, and for its gradient the label, is left out of the sum, so
// that nothing cancels.

export function oracle({ rows, classes, logits, labels }) {
  const loss = new Float64Array(rows);
  const gradient = new Float64Array(rows * classes);
  for (let i = 0; i < rows; i++) {
    const x = logits.subarray(i * classes, (i + 1) * classes);
    const g = gradient.subarray(i * classes, (i + 1) * classes);
    const label = labels[i];
    let top = 0;
    let valid = true;
    for (let j = 0; j < classes; j++) {
      if (x[j] > x[top]) top = j;
      if (Number.isNaN(x[j])) valid = false;
    }
    if (!valid || !Number.isFinite(x[top])) {
      loss[i] = Number.NaN;
      g.fill(Number.NaN);
      continue;
    }
    let others = 0;
    let rest = 0;
    for (let j = 0; j < classes; j++) {
      g[j] = Math.exp(x[j] - x[top]);
      if (j !== top) rest += g[j];
      if (j !== label) others += g[j];
    }
    for (let j = 0; j < classes; j++) g[j] /= 1 + rest;
    g[label] = -others / (1 + rest);
    loss[i] = Math.log1p(rest) + (x[top] - x[label]);
  }
  return { loss, gradient };
}

const SMALLEST_NORMAL = 2 ** -126;
const LARGEST = (2 - 2 ** -23) * 2 ** 127;

export function isNormal(exact) {
  const size = Math.abs(exact);
  return size >= SMALLEST_NORMAL && size <= LARGEST;
}

const word = new DataView(new ArrayBuffer(8));

/** Distance of a float32 result from an exact value that is a normal float32, in units of that value's last place. */
export function ulp(got, exact) {
  if (!Number.isFinite(got)) return Infinity;
  word.setFloat64(0, exact);
  const exponent = ((word.getUint16(0) >> 4) & 0x7ff) - 1023;
  return Math.abs(got - exact) / 2 ** (exponent - 23);
}

/** What is wrong with a result by more than 1e-4, or undefined. Entries of a gradient are measured against 1/classes. */
export function mistake({ loss, gradient }, exact, classes) {
  for (let i = 0; i < exact.loss.length; i++) {
    if (!(Math.abs(loss[i] - exact.loss[i]) <= 1e-4 * Math.max(1, Math.abs(exact.loss[i])))) {
      return `loss of row ${i} is ${loss[i]}, expected ${exact.loss[i]}`;
    }
  }
  if (gradient === undefined) return undefined;
  for (let i = 0; i < exact.gradient.length; i++) {
    if (!(Math.abs(gradient[i] - exact.gradient[i]) <= 1e-4 * (Math.abs(exact.gradient[i]) + 1 / classes))) {
      return `gradient entry ${i} is ${gradient[i]}, expected ${exact.gradient[i]}`;
    }
  }
  return undefined;
}
