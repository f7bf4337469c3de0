const SMALLEST_NORMAL = 2 ** -126;
const LARGEST = 2 ** 128;

/**
 * Distance of a float32 result from the exact value, in units of that value's last place. Where the exact value is not a
 * normal float32, in steps of 2^-149 (three are allowed, so they are scaled to count as one ulp).
 */
export function ulp(got: number, exact: number): number {
  if (Number.isNaN(exact)) return Number.isNaN(got) ? 0 : Infinity;
  if (!Number.isFinite(exact) || got === exact) return got === exact ? 0 : Infinity;
  if (Math.abs(exact) >= LARGEST - 2 ** 103) return Math.abs(got) === Infinity && got > 0 === exact > 0 ? 0 : Infinity;
  if (Math.abs(exact) < SMALLEST_NORMAL) return Math.abs(got - exact) / 2 ** -149 / 3;
  const exponent = Math.floor(Math.log2(Math.abs(exact)));
  return Math.abs(got - exact) / 2 ** (exponent - 23);
}
