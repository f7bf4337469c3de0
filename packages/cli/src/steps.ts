/** The options that apply to a single row. */
export interface RowOptions {
  readonly labelSmoothing?: number;
  readonly zLoss?: number;
  readonly softcap?: number;
  readonly temperature?: number;
  readonly classWeights?: readonly number[];
  readonly ignoreIndex?: number;
}

/** Every intermediate value of a row's loss. */
export interface Steps {
  /** The logits after softcap and temperature, if any. */
  readonly transformed: readonly number[];
  readonly max: number;
  readonly shifted: readonly number[];
  readonly exp: readonly number[];
  readonly sum: number;
  readonly softmax: readonly number[];
  /** log(sum) */
  readonly log: number;
  readonly logSumExp: number;
  readonly loss: number;
  readonly gradient: readonly number[];
}

/** The steps in f64, with log1p for confident rows. Results in f32 are compared with these. */
export function stepsOf(logits: readonly number[], label: number, options: RowOptions): Steps {
  const { zLoss = 0, softcap, temperature = 1 } = options;
  const transformed = logits.map((x) => transform(x, options));
  const max = largest(transformed);
  const shifted = transformed.map((u) => u - max);
  const exp = shifted.map(Math.exp);
  const sum = exp.reduce((total, e) => total + e, 0);
  const softmax = exp.map((e) => e / sum);
  // The largest term, 1, stays out of the sum, so that small terms are not lost. An infinite logit makes it, and the loss, NaN.
  const top = transformed.indexOf(max);
  const log = Number.isNaN(sum) ? sum : Math.log1p(sumWithout(exp, top));
  const logSumExp = max + log;

  const targets = targetsOf(logits.length, label, options);
  const weight = targets.reduce((total, q) => total + q, 0);
  const nll = targets.reduce((total, q, j) => total + (q === 0 ? 0 : q * (log - (shifted[j] as number))), 0);
  const pull = zLoss === 0 || weight === 0 ? 0 : 2 * zLoss * logSumExp;
  const others = label in exp ? sumWithout(exp, label) / sum : 1;
  const gradient = softmax.map((p, j) => {
    // The label's p - 1 as minus the sum of the other probabilities, which avoids cancellation.
    const q = targets[j] as number;
    const error = j === label ? weight - q - weight * others : weight * p - q;
    const slope = softcap === undefined ? 1 : 1 / Math.cosh((logits[j] as number) / softcap) ** 2;
    return ((error + pull * p) * slope) / temperature;
  });
  return { transformed, max, shifted, exp, sum, softmax, log, logSumExp, loss: nll + (pull * logSumExp) / 2, gradient };
}

/** The loss as it is often written, with every step rounded to f32. `stable`: subtract the maximum first. */
export function lossInFloat32(logits: readonly number[], label: number, options: RowOptions, stable: boolean): number {
  const { fround } = Math;
  const transformed = logits.map((x) => fround(transform(x, options)));
  const max = stable ? largest(transformed) : 0;
  const exp = transformed.map((u) => fround(Math.exp(fround(u - max))));
  const sum = exp.reduce((total, e) => fround(total + e), 0);
  const log = fround(Math.log(sum));
  const nll = (j: number): number =>
    stable
      ? fround(log - fround((transformed[j] as number) - max))
      : -fround(Math.log(fround((exp[j] as number) / sum)));
  const targets = targetsOf(logits.length, label, options);
  const loss = targets.reduce((total, q, j) => (q === 0 ? total : fround(total + fround(fround(q) * nll(j)))), 0);
  const { zLoss = 0 } = options;
  if (zLoss === 0 || label === options.ignoreIndex) return loss;
  const logSumExp = fround(max + log);
  return fround(loss + fround(fround(zLoss) * fround(logSumExp * logSumExp)));
}

/** A logit after softcap and temperature. */
export function transform(x: number, { softcap, temperature = 1 }: RowOptions): number {
  return (softcap === undefined ? x : softcap * Math.tanh(x / softcap)) / temperature;
}

/** The weight of each class's -log(softmax) in the loss; 0 if the label is ignored. */
function targetsOf(classes: number, label: number, options: RowOptions): number[] {
  const { labelSmoothing = 0, classWeights, ignoreIndex } = options;
  return Array.from({ length: classes }, (_, j) => {
    if (label === ignoreIndex) return 0;
    return (classWeights?.[j] ?? 1) * ((j === label ? 1 - labelSmoothing : 0) + labelSmoothing / classes);
  });
}

function sumWithout(terms: readonly number[], skip: number): number {
  return terms.reduce((total, term, j) => (j === skip ? total : total + term), 0);
}

/** Not Math.max(...values): a vocabulary has more arguments than fit on the stack. */
function largest(values: readonly number[]): number {
  return values.reduce((a, b) => Math.max(a, b));
}
