// Sums and products with about twice the digits of f64: neither the order nor the grouping of the rows shows in a result.
// T. J. Dekker, A floating-point technique for extending the available precision, Numerische Mathematik 18 (1971).

/** A number as the unevaluated sum of two f64. */
export type Long = readonly [high: number, low: number];

/** A sum of many numbers. */
export class LongSum {
  #high = 0;
  #low = 0;

  add(x: number): void {
    const high = this.#high;
    const sum = high + x;
    const back = sum - high;
    this.#low += high - (sum - back) + (x - back);
    this.#high = sum;
  }

  addLong([high, low]: Long): void {
    this.add(high);
    this.add(low);
  }

  get value(): Long {
    // An infinite sum has no low part.
    return Number.isFinite(this.#high) ? twoSum(this.#high, this.#low) : [this.#high, 0];
  }
}

export function plus([a, aLow]: Long, [b, bLow]: Long): Long {
  const [sum, lost] = twoSum(a, b);
  return twoSum(sum, lost + aLow + bLow);
}

export function times([a, aLow]: Long, [b, bLow]: Long): Long {
  const [product, lost] = twoProduct(a, b);
  return twoSum(product, lost + (a * bLow + aLow * b));
}

export function minus(a: Long, b: Long): Long {
  return plus(a, [-b[0], -b[1]]);
}

export function over(a: Long, b: Long): Long {
  const quotient = a[0] / b[0];
  if (!Number.isFinite(quotient)) return [quotient, 0];
  const [rest] = minus(a, times(b, [quotient, 0]));
  return twoSum(quotient, rest / b[0]);
}

function twoSum(a: number, b: number): Long {
  const sum = a + b;
  const back = sum - a;
  return [sum, a - (sum - back) + (b - back)];
}

function twoProduct(a: number, b: number): Long {
  const product = a * b;
  const [aHigh, aLow] = halves(a);
  const [bHigh, bLow] = halves(b);
  return [product, aLow * bLow - (product - aHigh * bHigh - aLow * bHigh - aHigh * bLow)];
}

function halves(x: number): Long {
  const shifted = 134217729 * x; // 2^27 + 1
  const high = shifted - (shifted - x);
  return [high, x - high];
}
