// Sums without rounding, which do not depend on the order of the summands.

/** The rounded sum of two numbers and its rounding error (Knuth). */
export function twoSum(a: number, b: number): readonly [sum: number, lost: number] {
  const sum = a + b;
  const back = sum - a;
  return [sum, a - (sum - back) + (b - back)];
}

/** The rounded product of two numbers and its rounding error (Dekker), or 0 if the error overflows. */
export function twoProduct(a: number, b: number): readonly [product: number, lost: number] {
  const product = a * b;
  const [aHigh, aLow] = halves(a);
  const [bHigh, bLow] = halves(b);
  const lost = aLow * bLow - (product - aHigh * bHigh - aLow * bHigh - aHigh * bLow);
  return [product, Number.isFinite(lost) ? lost : 0];
}

function halves(x: number): readonly [high: number, low: number] {
  const shifted = 134217729 * x; // 2^27 + 1
  const high = shifted - (shifted - x);
  return [high, x - high];
}

/**
 * The exact sum of any numbers, as a few numbers that do not overlap (Shewchuk). It does not depend on the order or the grouping of
 * the summands.
 */
export class ExactSum {
  /** From the smallest to the largest. */
  #parts: number[] = [];
  /** The part, in units of 2^-1074, that was set aside because the others would have overflowed. */
  #aside = 0n;
  /** Sum of the summands that are not finite. */
  #infinite = 0;

  /** Adds a number. */
  add(x: number): void {
    if (x === 0) return;
    if (!Number.isFinite(x)) {
      this.#infinite += x;
      return;
    }
    const parts = this.#parts;
    let kept = 0;
    let carry = x;
    for (let i = 0; i < parts.length; i++) {
      const part = parts[i] as number;
      const [sum, lost] = twoSum(carry, part);
      if (!Number.isFinite(sum) || !Number.isFinite(lost)) {
        this.#aside += unitsOf(carry) + unitsOf(part);
        carry = 0;
        continue;
      }
      if (lost !== 0) parts[kept++] = lost;
      carry = sum;
    }
    if (carry !== 0) parts[kept++] = carry;
    // An assignment of the same length would still cost time.
    if (parts.length !== kept) parts.length = kept;
  }

  /** Adds another sum. */
  merge(other: ExactSum): void {
    for (const part of other.terms) this.add(part);
  }

  /** The sum, rounded to nearest. */
  get value(): number {
    if (this.#infinite !== 0) return this.#infinite;
    const parts = this.#parts;
    if (this.#aside !== 0n) return rounded(parts.reduce((sum, part) => sum + unitsOf(part), this.#aside));
    let i = parts.length - 1;
    let sum = i < 0 ? 0 : (parts[i] as number);
    let lost = 0;
    while (i > 0 && lost === 0) [sum, lost] = twoSum(sum, parts[--i] as number);
    // A tie: the parts below decide.
    const below = parts[i - 1] ?? 0;
    // Their product could underflow.
    if ((lost > 0 && below > 0) || (lost < 0 && below < 0)) {
      const twice = 2 * lost;
      const next = sum + twice;
      if (next - sum === twice) return next;
    }
    return sum;
  }

  /** Numbers with this sum, the largest first. Equal sums give equal numbers. */
  get terms(): number[] {
    if (this.#infinite !== 0) return [this.#infinite];
    const rest = this.#copy();
    const terms: number[] = [];
    for (let { value } = rest; value !== 0; { value } = rest) {
      const term = Math.min(Math.max(value, -Number.MAX_VALUE), Number.MAX_VALUE);
      terms.push(term);
      rest.add(-term);
    }
    return terms;
  }

  /** The sum in two parts: rounded to nearest, and the rest, rounded to nearest. */
  get pair(): [high: number, low: number] {
    const high = this.value;
    if (!Number.isFinite(high)) return [high, 0];
    const rest = this.#copy();
    rest.add(-high);
    return [high, rest.value];
  }

  #copy(): ExactSum {
    const copy = new ExactSum();
    copy.#parts = [...this.#parts];
    copy.#aside = this.#aside;
    return copy;
  }
}

/** A number in units of 2^-1074, in which every number is an integer. */
function unitsOf(x: number): bigint {
  const bits = new BigUint64Array(Float64Array.of(Math.abs(x)).buffer)[0] as bigint;
  const [exponent, fraction] = [bits >> 52n, bits & 0xfffffffffffffn];
  const units = exponent === 0n ? fraction : (fraction + 0x10000000000000n) << (exponent - 1n);
  return x < 0 ? -units : units;
}

/** This many units, rounded to the nearest number. */
function rounded(units: bigint): number {
  if (units < 0n) return -rounded(-units);
  // Round the top 64 bits, the last of which is set if any bit below is: the result is that of rounding all bits.
  const below = BigInt(Math.max(0, 4 * units.toString(16).length - 64));
  const high = units >> below;
  return Number(high << below === units ? high : high | 1n) * 2 ** (Number(below) - 1074);
}
