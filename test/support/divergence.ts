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
  /** A fourth of the distance from the largest, which does not overflow. */
  fourths: number[];
  terms: number[];
  sum: number;
  logSumExp: number;
}

function softmax(x: readonly number[], temperature: number): Softmax | undefined {
  const largest = x.reduce((a, b) => Math.max(a, b));
  if (!Number.isFinite(largest)) return undefined;
  const fourths = x.map((v) => v / 4 - largest / 4);
  const terms = fourths.map((v) => Math.exp((v / temperature) * 4));
  const sum = terms.reduce((a, b) => a + b);
  return { fourths, terms, sum, logSumExp: largest / temperature + Math.log(sum) };
}

/** e^r - 1 - r */
function excess(r: number): number {
  if (Math.abs(r) > 0.5) return Math.expm1(r) - r;
  let sum = 0;
  for (let k = 19; k > 1; k--) sum = ((1 + sum) * r) / k;
  return sum * r;
}

/** Where p is 0 in f64, p d may count from this d on. */
const FAR = 1e9;

/** By the formula in f64, which is summed twice: the second time around what the first has found. */
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
      const [t, x] = [p.fourths[j] as number, q.fourths[j] as number];
      const distance = t - x - (centre / 4) * temperature;
      const r = -(distance / temperature) * 4;
      if (t === -Infinity) loss += other;
      else if (Math.abs(r) < 0.5) {
        loss += share * excess(r);
        error += share * Math.expm1(r);
      } else if (r > -FAR) {
        loss += (share === 0 ? 0 : share * (-r - 1)) + other;
        error += other - share;
      } else {
        // Where the share is 0, the logarithm of what it stands for is not.
        const log = Math.log(distance) - Math.log(temperature) + Math.log(4);
        loss += x === -Infinity ? Infinity : Math.exp((t / temperature) * 4 - Math.log(p.sum) + log);
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
    if (loss instanceof Float32Array && exact.loss >= 2 ** 128) expect(got, `row ${row}`).toBe(Infinity);
    else if (Number.isFinite(exact.loss)) {
      const bound = LOSS * exact.loss + rounding * (Math.SQRT2 * Math.sqrt(exact.loss) + rounding) + 2 ** -149;
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

/** Rows whose differences of logits are near the end of the range of numbers, or beyond it. */
export const FAR_ROWS: readonly {
  name: string;
  type: "float32" | "float64";
  t: readonly number[];
  x: readonly number[];
  temperature?: number;
}[] = [
  { name: "a difference of logits beyond f32", type: "float32", t: [3e38, 0, 3], x: [3e38, 0, -3e38] },
  { name: "the same of f64", type: "float64", t: [1.7e308, 0, 3], x: [1.7e308, 0, -1.7e308] },
  { name: "f64 logits of 1e300", type: "float64", t: [1e300, 0, 3], x: [1e300, 0, -1e300] },
  { name: "far below in both", type: "float32", t: [3e38, 0, -1e38], x: [3e38, 1, -3e38] },
  { name: "far below beside others that differ", type: "float32", t: [3e38, 0, 3], x: [2, 1, -3e38] },
  { name: "a weight of 1e-57 at a large distance", type: "float32", t: [0, -130, 0], x: [0, -3e38, 0] },
  { name: "a weight below any of f64 at a large distance", type: "float64", t: [0, -900], x: [0, -1.7e308] },
  {
    name: "a large distance divided by a small temperature",
    type: "float32",
    t: [0, -2.3],
    x: [0, -1e38],
    temperature: 0.1,
  },
  { name: "one that f32 does not hold", type: "float32", t: [0, 0], x: [0, -1e38], temperature: 0.1 },
  { name: "one without weight", type: "float32", t: [0, -60], x: [0, -1e38], temperature: 0.1 },
  { name: "a distance that f64 does not hold", type: "float64", t: [0, -90], x: [0, -1e308], temperature: 0.125 },
  { name: "a divergence near the end of f64", type: "float64", t: [0, 0, 0, 0], x: [0, -1.7e308, -1.7e308, -1.7e308] },
  { name: "a divergence beyond f64", type: "float64", t: [-5, 0], x: [1.7e308, -1.7e308] },
  { name: "a large temperature", type: "float64", t: [1e308, -1e308], x: [-1e308, 1e308], temperature: 1e303 },
  { name: "a first logit far below the largest", type: "float32", t: [-30, 0], x: [-30, -3e37] },
  { name: "a divergence of 1e297", type: "float64", t: [-300, 0, -9], x: [-300, 0, -1e301] },
  { name: "no weight where the logits forbid", type: "float32", t: [3e38, 0], x: [3e38, -Infinity] },
  { name: "-Infinity in the targets alone", type: "float32", t: [3e38, -Infinity], x: [3e38, -3e38] },
];
