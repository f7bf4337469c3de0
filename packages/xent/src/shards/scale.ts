// The scale of the sums of shards: see crates/kernel/src/partial.rs.

/** ln 2 in three parts. The first two have 21 bits, so their products with a power are exact. */
const LN2_HIGH = 0.6931467056274414;
const LN2_MIDDLE = 4.7493244892393705e-7;
const LN2_LOW = 5.497923018708371e-14;

/** The scale of a sum. */
export interface Scale {
  readonly maximum: number;
  /** NaN: none, because the maximum is too large. */
  readonly power: number;
}

/** x minus the logarithm of the unit of sums at this scale. */
export function above(x: number, { maximum, power }: Scale): number {
  if (Number.isNaN(power)) return x - maximum;
  return x - power * LN2_HIGH - power * LN2_MIDDLE - power * LN2_LOW;
}

/** The logarithm of the unit of sums at this scale. */
export function logUnit({ maximum, power }: Scale): number {
  return Number.isNaN(power) ? maximum : power * Math.LN2;
}

/** The factor from one scale to another whose maximum is not smaller. Exact if both have a power. */
export function factorOf(from: Scale, to: Scale): number {
  // Its sums are 0, whatever the factor, but 0 times Infinity is NaN.
  if (from.maximum === -Infinity) return 0;
  const shift = from.power - to.power;
  if (!Number.isNaN(shift)) return powerOfTwo(shift);
  return Math.exp(Number.isNaN(from.power) ? above(from.maximum, to) : -above(to.maximum, from));
}

/** 2^n */
function powerOfTwo(n: number): number {
  if (n < -1100) return 0;
  if (n < -1022) return powerOfTwo(n + 100) * 2 ** -100;
  const view = new DataView(new ArrayBuffer(8));
  view.setInt32(0, (Math.min(n, 1023) + 1023) << 20);
  return view.getFloat64(0);
}
