// 16-bit floats, represented by their bits: not every runtime has a Float16Array.

/** Bits of the fraction, and the bias of the exponent. */
const FORMATS = { float16: [10, 15], bfloat16: [7, 127] } as const;

/** Rounds once: to nearest, ties to even. */
export function bitsOfNumbers(numbers: ArrayLike<number>, type: keyof typeof FORMATS): Uint16Array {
  const [fraction, bias] = FORMATS[type];
  const infinity = (2 * bias + 1) << fraction;
  const least = 1 - bias;
  const bits = new Uint16Array(numbers.length);
  const view = new DataView(new ArrayBuffer(8));
  for (let i = 0; i < bits.length; i++) {
    const x = numbers[i] as number;
    view.setFloat64(0, x);
    const high = view.getUint32(0);
    const sign = (high >>> 16) & 0x8000;
    // Subnormal numbers have the exponent of the smallest normal number.
    const exponent = Math.max(least, ((high >>> 20) & 0x7ff) - 1023);
    // Exponent and fraction are added, so a carry of the rounding increments the exponent.
    const rounded = (exponent - least) * 2 ** fraction + toEven(Math.abs(x) * 2 ** (fraction - exponent));
    bits[i] = Number.isNaN(x) ? infinity | (1 << (fraction - 1)) : sign | Math.min(infinity, rounded);
  }
  return bits;
}

/** Adding 2^52 to a smaller number rounds it to an integer. */
function toEven(x: number): number {
  return x + 2 ** 52 - 2 ** 52;
}
