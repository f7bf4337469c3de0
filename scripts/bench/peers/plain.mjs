// Carefully written plain JavaScript: typed arrays, sums in double precision, one pass for the maximum and one for the
// exponentials, no allocation in a call. Each batch has its own copy of this module, because loops in V8 get slower once
// they have seen arrays of several types.

let copies = 0;

export async function open() {
  return {
    async prepare(data) {
      copies += 1;
      const copy = await import(`./plain.mjs?${copies}`);
      return copy.prepare(data);
    },
  };
}

export function prepare(data) {
  const loss = new Float32Array(data.rows);
  const Gradient = data.type === "float64" ? Float64Array : Float32Array;
  const gradient = data.gradient ? new Gradient(data.logits.length) : undefined;
  const chosen = data.shape ? columns : data.teacher ? divergences : rows;
  const run = chosen(data, loss, gradient);
  return { run, results: () => ({ loss, gradient }), dispose() {} };
}

function rows(data, loss, gradient) {
  const { rows, classes, stride, logits, targets, classWeights, sampleWeights, options } = data;
  const { labelSmoothing = 0, zLoss = 0, ignoreIndex, softcap, temperature = 1 } = options;
  const labels = wordsOf(data.labels);
  const value = reader(data);
  const scratch = value ? new Float64Array(classes) : undefined;
  const weightOfAll = classWeights?.reduce((a, b) => a + b, 0) ?? classes;
  const evenly = labelSmoothing / classes;

  return () => {
    for (let i = 0, begin = 0; i < rows; i++, begin += stride) {
      const label = labels[i];
      if (label === ignoreIndex) {
        loss[i] = 0;
        gradient?.fill(0, begin, begin + classes);
        continue;
      }
      let x = logits;
      let from = begin;
      if (scratch) {
        for (let j = 0; j < classes; j++) scratch[j] = value(begin + j);
        x = scratch;
        from = 0;
      }
      const max = maximum(x, from, classes);
      const sum = gradient
        ? keepExponentials(x, from, classes, max, gradient, begin)
        : addExponentials(x, from, classes, max);
      // The sum of the targets other than the label's, and their products with the logits.
      let share = 0;
      let taken = 0;
      if (targets) {
        for (let j = 0, k = i * classes; j < classes; j++, k++) {
          share += targets[k];
          taken += targets[k] * (x[from + j] - max);
        }
      } else if (evenly) {
        share = evenly * weightOfAll;
        for (let j = 0; j < classes; j++) taken += (classWeights ? classWeights[j] : 1) * (x[from + j] - max);
        taken *= evenly;
      }
      const own = targets ? 0 : (1 - labelSmoothing) * (classWeights ? classWeights[label] : 1);
      const log = Math.log(sum);
      const logSumExp = log + max;
      const sample = sampleWeights ? sampleWeights[i] : 1;
      const ofLabel = own === 0 ? 0 : own * (log - (x[from + label] - max));
      loss[i] = sample * (ofLabel + share * log - taken + zLoss * logSumExp * logSumExp);
      if (!gradient) continue;

      const outer = sample / temperature;
      const scale = (outer * (own + share + 2 * zLoss * logSumExp)) / sum;
      if (targets) {
        for (let j = 0; j < classes; j++) {
          gradient[begin + j] = scale * gradient[begin + j] - outer * targets[i * classes + j];
        }
      } else if (evenly) {
        const part = outer * evenly;
        for (let j = 0; j < classes; j++) {
          gradient[begin + j] = scale * gradient[begin + j] - (classWeights ? part * classWeights[j] : part);
        }
      } else {
        for (let k = begin; k < begin + classes; k++) gradient[k] *= scale;
      }
      if (!targets) gradient[begin + label] -= outer * own;
      if (softcap) {
        for (let j = 0; j < classes; j++) {
          const y = (x[from + j] * temperature) / softcap;
          gradient[begin + j] *= 1 - y * y;
        }
      }
    }
  };
}

/** Rows of a divergence: the exponentials of the teacher's logits stay in an array, those of the logits in the gradient. */
function divergences({ rows, classes, logits, teacher }, loss, gradient) {
  const terms = new Float64Array(classes);
  return () => {
    for (let i = 0, begin = 0; i < rows; i++, begin += classes) {
      const most = maximum(logits, begin, classes);
      const mostOfTeacher = maximum(teacher, begin, classes);
      const sum = gradient
        ? keepExponentials(logits, begin, classes, most, gradient, begin)
        : addExponentials(logits, begin, classes, most);
      const sumOfTeacher = keepExponentials(teacher, begin, classes, mostOfTeacher, terms, 0);
      let distance = 0;
      for (let j = 0; j < classes; j++) distance += terms[j] * (teacher[begin + j] - logits[begin + j]);
      loss[i] = distance / sumOfTeacher - (Math.log(sumOfTeacher / sum) + mostOfTeacher - most);
      if (!gradient) continue;
      for (let j = 0; j < classes; j++) {
        gradient[begin + j] = gradient[begin + j] / sum - terms[j] / sumOfTeacher;
      }
    }
  };
}

function maximum(x, from, count) {
  let max = x[from];
  for (let k = from + 1; k < from + count; k++) if (x[k] > max) max = x[k];
  return max;
}

function addExponentials(x, from, count, max) {
  let sum = 0;
  for (let k = from; k < from + count; k++) sum += Math.exp(x[k] - max);
  return sum;
}

function keepExponentials(x, from, count, max, to, begin) {
  let sum = 0;
  for (let j = 0; j < count; j++) {
    const e = Math.exp(x[from + j] - max);
    to[begin + j] = e;
    sum += e;
  }
  return sum;
}

/** Class axis not last: computes rows that are neighbours along the last axis together, in the order of the memory. */
function columns({ rows, classes, shape, logits, labels }, loss, gradient) {
  const inner = shape.slice(2).reduce((a, b) => a * b);
  const TILE = 512;
  const max = new Float64Array(TILE);
  const sum = new Float64Array(TILE);

  return () => {
    for (let first = 0; first < rows; ) {
      const at = first % inner;
      const count = Math.min(TILE, inner - at);
      const begin = (first - at) * classes + at;
      const end = begin + classes * inner;
      max.fill(-Infinity);
      for (let k = begin; k < end; k += inner) {
        for (let p = 0; p < count; p++) if (logits[k + p] > max[p]) max[p] = logits[k + p];
      }
      sum.fill(0);
      for (let k = begin; k < end; k += inner) {
        for (let p = 0; p < count; p++) {
          const e = Math.exp(logits[k + p] - max[p]);
          if (gradient) gradient[k + p] = e;
          sum[p] += e;
        }
      }
      for (let p = 0; p < count; p++) {
        loss[first + p] = Math.log(sum[p]) - (logits[begin + labels[first + p] * inner + p] - max[p]);
      }
      if (gradient) {
        for (let p = 0; p < count; p++) sum[p] = 1 / sum[p];
        for (let k = begin; k < end; k += inner) {
          for (let p = 0; p < count; p++) gradient[k + p] *= sum[p];
        }
        for (let p = 0; p < count; p++) gradient[begin + labels[first + p] * inner + p] -= 1;
      }
      first += count;
    }
  };
}

/** 64-bit labels as 32-bit words: a BigInt for each would be slow. */
function wordsOf(labels) {
  return labels instanceof BigInt64Array ? new Int32Array(labels.buffer).filter((_, i) => i % 2 === 0) : labels;
}

/** A function that reads a logit and applies type and options, or undefined if the array has the values as they are. */
function reader({ logits, type, options: { softcap, temperature = 1 } }) {
  const narrow = type === "float16" || type === "bfloat16";
  if (narrow) {
    const values = type === "float16" ? float16Values() : bfloat16Values();
    return (k) => values[logits[k]];
  }
  // By exp: Math.tanh takes twice as long.
  if (softcap) return (k) => (softcap - (2 * softcap) / (Math.exp(logits[k] * (2 / softcap)) + 1)) / temperature;
  if (temperature !== 1) return (k) => logits[k] / temperature;
  return undefined;
}

function bfloat16Values() {
  const words = Uint32Array.from({ length: 2 ** 16 }, (_, bits) => bits << 16);
  return new Float32Array(words.buffer);
}

function float16Values() {
  return Float32Array.from({ length: 2 ** 16 }, (_, bits) => {
    const sign = bits >>> 15 ? -1 : 1;
    const exponent = (bits >>> 10) & 31;
    const fraction = bits & 1023;
    if (exponent === 31) return fraction ? Number.NaN : sign * Infinity;
    return sign * (exponent ? (1 + fraction / 1024) * 2 ** (exponent - 15) : fraction * 2 ** -24);
  });
}
