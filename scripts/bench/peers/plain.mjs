// Plain JavaScript as one writes it with care: three passes over typed arrays, nothing allocated in a call.

export async function open() {
  return { version: undefined, prepare };
}

function prepare({ rows, classes, logits, labels, gradient }) {
  const loss = new Float32Array(rows);
  const g = gradient ? new Float32Array(rows * classes) : undefined;
  return {
    run: g
      ? () => lossAndGradient(logits, labels, rows, classes, loss, g)
      : () => forward(logits, labels, rows, classes, loss),
    results: () => ({ loss, gradient: g }),
    dispose() {},
  };
}

function forward(logits, labels, rows, classes, loss) {
  for (let i = 0, begin = 0; i < rows; i++, begin += classes) {
    const end = begin + classes;
    let max = logits[begin];
    for (let k = begin + 1; k < end; k++) if (logits[k] > max) max = logits[k];
    let sum = 0;
    for (let k = begin; k < end; k++) sum += Math.exp(logits[k] - max);
    loss[i] = Math.log(sum) - (logits[begin + labels[i]] - max);
  }
}

function lossAndGradient(logits, labels, rows, classes, loss, gradient) {
  for (let i = 0, begin = 0; i < rows; i++, begin += classes) {
    const end = begin + classes;
    let max = logits[begin];
    for (let k = begin + 1; k < end; k++) if (logits[k] > max) max = logits[k];
    let sum = 0;
    for (let k = begin; k < end; k++) {
      const e = Math.exp(logits[k] - max);
      gradient[k] = e;
      sum += e;
    }
    const scale = 1 / sum;
    for (let k = begin; k < end; k++) gradient[k] *= scale;
    gradient[begin + labels[i]] -= 1;
    loss[i] = Math.log(sum) - (logits[begin + labels[i]] - max);
  }
}
