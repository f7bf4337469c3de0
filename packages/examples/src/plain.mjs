// The loop that one would write without a package: subtract the max, sum in f64, one exponential for each logit, no allocation.

/**
 * @param {Float32Array} logits [rows, classes]
 * @param {Int32Array} labels [rows]
 * @param {number} classes
 * @param {Float64Array} loss [rows], written
 */
export function plainLoss(logits, labels, classes, loss) {
  for (let row = 0; row < labels.length; row++) {
    const begin = row * classes;
    const end = begin + classes;
    let max = Number.NEGATIVE_INFINITY;
    for (let i = begin; i < end; i++) if (logits[i] > max) max = logits[i];
    let sum = 0;
    for (let i = begin; i < end; i++) sum += Math.exp(logits[i] - max);
    loss[row] = Math.log(sum) - (logits[begin + labels[row]] - max);
  }
}

/**
 * @param {Float32Array} logits [rows, classes]
 * @param {Int32Array} labels [rows]
 * @param {number} classes
 * @param {Float64Array} loss [rows], written
 * @param {Float32Array} gradient [rows, classes], written
 */
export function plainLossAndGradient(logits, labels, classes, loss, gradient) {
  for (let row = 0; row < labels.length; row++) {
    const begin = row * classes;
    const end = begin + classes;
    let max = Number.NEGATIVE_INFINITY;
    for (let i = begin; i < end; i++) if (logits[i] > max) max = logits[i];
    let sum = 0;
    for (let i = begin; i < end; i++) {
      const exponential = Math.exp(logits[i] - max);
      gradient[i] = exponential;
      sum += exponential;
    }
    const scale = 1 / sum;
    for (let i = begin; i < end; i++) gradient[i] *= scale;
    const label = begin + labels[row];
    gradient[label] -= 1;
    loss[row] = Math.log(sum) - (logits[label] - max);
  }
}
