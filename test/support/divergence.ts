import { expect } from "vitest";

/** The exact divergence of one row. */
export interface Divergence {
  loss: number;
  gradient: readonly number[];
  /** The larger of p and q, over the temperature. */
  larger: readonly number[];
  logSumExp: number;
}

interface Softmax {
  y: number[];
  terms: number[];
  sum: number;
  logSumExp: number;
}

function softmax(x: readonly number[], temperature: number): Softmax | undefined {
  const largest = x.reduce((a, b) => Math.max(a, b));
  if (!Number.isFinite(largest)) return undefined;
  const y = x.map((v) => (v - largest) / temperature);
  const terms = y.map(Math.exp);
  const sum = terms.reduce((a, b) => a + b);
  return { y, terms, sum, logSumExp: largest / temperature + Math.log(sum) };
}

/** e^r - 1 - r */
function excess(r: number): number {
  if (Math.abs(r) > 0.5) return Math.expm1(r) - r;
  let sum = 0;
  for (let k = 19; k > 1; k--) sum = ((1 + sum) * r) / k;
  return sum * r;
}

/** By the formula in f64, which is summed twice: the second time around the first result. */
export function exactDivergence(
  logits: readonly number[],
  targets: readonly number[],
  temperature: number,
): Divergence {
  const [p, q] = [softmax(targets, temperature), softmax(logits, temperature)];
  if (p === undefined || q === undefined) {
    const nothing = logits.map(() => Number.NaN);
    return { loss: Number.NaN, gradient: nothing, larger: nothing, logSumExp: Number.NaN };
  }
  let [centre, loss] = [Math.log(p.sum / q.sum), 0];
  for (let round = 0; round < 2; round++) {
    let error = 0;
    loss = 0;
    for (let j = 0; j < logits.length; j++) {
      const [share, other] = [(p.terms[j] as number) / p.sum, (q.terms[j] as number) / q.sum];
      const r = centre - ((p.y[j] as number) - (q.y[j] as number));
      if (p.y[j] === -Infinity) loss += other;
      else if (Math.abs(r) < 0.5) {
        loss += share * excess(r);
        error += share * Math.expm1(r);
      } else {
        loss += r === -Infinity ? Infinity : share * (-r - 1) + other;
        error += other - share;
      }
    }
    if (Math.abs(error) < 1e-9) centre -= error;
  }
  const shares = (of: Softmax): number[] => of.terms.map((term) => term / of.sum / temperature);
  const [ofP, ofQ] = [shares(p), shares(q)];
  return {
    loss,
    gradient: ofQ.map((value, j) => value - (ofP[j] as number)),
    larger: ofQ.map((value, j) => Math.max(value, ofP[j] as number)),
    logSumExp: q.logSumExp,
  };
}

/** Relative; the bound of the contract is 4e-6. */
const LOSS = 4e-6;
/** In units of 2^-24 of the larger of p and q. */
const GRADIENT = 9 * 2 ** -24;

/** Fails unless each row is within the contract of its exact one. */
export function expectDivergence(
  { loss, gradient }: { loss: ArrayLike<number>; gradient?: ArrayLike<number> },
  rows: readonly Divergence[],
  scale = 1,
  // The rounding error of a difference of logits.
  rounding = 0,
): void {
  for (const [row, exact] of rows.entries()) {
    const got = loss[row] as number;
    if (Number.isFinite(exact.loss)) {
      const bound = LOSS * exact.loss + rounding * (Math.sqrt(2 * exact.loss) + rounding) + 2 ** -149;
      expect(Math.abs(got - exact.loss), `row ${row}: ${got}, exact ${exact.loss}`).toBeLessThanOrEqual(bound);
    } else expect(got, `row ${row}`).toBe(exact.loss);
    for (const [class_, entry] of exact.gradient.entries()) {
      const g = gradient?.[row * exact.gradient.length + class_];
      if (g === undefined) continue;
      const bound = GRADIENT * (exact.larger[class_] as number) * Math.abs(scale) + 2 ** -146;
      const right = Number.isNaN(entry) ? Number.isNaN(g) : Math.abs(g - entry * scale) <= bound;
      if (!right) expect.fail(`row ${row}, class ${class_}: ${g}, exact ${entry * scale}`);
    }
  }
}
