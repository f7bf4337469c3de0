// Sums without rounding, so that the order of the summands does not show.

/** The rounded sum of two numbers, and what that rounds away (Knuth). */
function twoSum(a: number, b: number): readonly [sum: number, lost: number] {
  const sum = a + b;
  const back = sum - a;
  return [sum, a - (sum - back) + (b - back)];
}

/** The rounded product of two numbers, and what that rounds away (Dekker); 0 where this is too large to tell. */
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
 * The exact sum of any numbers: a few of them that do not overlap (Shewchuk). Whatever the order of the summands, and however
 * they were grouped, it is the same. Overflow apart: sums stay below 2^1024 on the way.
 */
export class ExactSum {
  /** From the smallest to the largest. */
  #parts: number[] = [];
  /** Sum of the summands that are not finite. */
  #infinite = 0;

  /** Adds a number. */
  add(x: number): void {
    if (!Number.isFinite(x)) {
      this.#infinite += x;
      return;
    }
    const parts = this.#parts;
    let kept = 0;
    let carry = x;
    for (let i = 0; i < parts.length; i++) {
      const [sum, lost] = twoSum(carry, parts[i] as number);
      if (lost !== 0) parts[kept++] = lost;
      carry = sum;
    }
    parts.length = kept;
    if (carry !== 0) parts.push(carry);
  }

  /** Adds another sum. */
  merge(other: ExactSum): void {
    for (const part of other.terms) this.add(part);
  }

  /** The number that is next to the sum. */
  get value(): number {
    if (this.#infinite !== 0) return this.#infinite;
    const parts = this.#parts;
    let i = parts.length - 1;
    let sum = i < 0 ? 0 : (parts[i] as number);
    let lost = 0;
    while (i > 0 && lost === 0) [sum, lost] = twoSum(sum, parts[--i] as number);
    // Half way between two numbers, what is below decides.
    const below = parts[i - 1] ?? 0;
    if (lost * below > 0) {
      const twice = 2 * lost;
      const next = sum + twice;
      if (next - sum === twice) return next;
    }
    return sum;
  }

  /** Numbers whose sum it is, the largest first: the same ones for the same sum. */
  get terms(): number[] {
    if (this.#infinite !== 0) return [this.#infinite];
    const rest = new ExactSum();
    rest.#parts = [...this.#parts];
    const terms: number[] = [];
    while (rest.#parts.length > 0) {
      const { value } = rest;
      terms.push(value);
      rest.add(-value);
    }
    return terms;
  }
}
