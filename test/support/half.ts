/** Bits of a number that is exactly an IEEE 754 binary16. */
export function float16Bits(x: number): number {
  const sign = x < 0 || Object.is(x, -0) ? 0x8000 : 0;
  const size = Math.abs(x);
  if (Number.isNaN(x)) return 0x7e00;
  if (size === Infinity) return sign | 0x7c00;
  if (size < 2 ** -14) return sign | (size * 2 ** 24);
  const exponent = Math.floor(Math.log2(size));
  return sign | (((exponent + 15) << 10) + (size / 2 ** exponent - 1) * 1024);
}

/** The nearest normal binary16 of a number in its range, ties to even. */
export function nearestFloat16(x: number): number {
  const step = 2 ** (Math.floor(Math.log2(Math.abs(x))) - 10);
  const below = Math.floor(x / step);
  const rest = x / step - below;
  return x === 0 ? 0 : (rest > 0.5 || (rest === 0.5 && below % 2 !== 0) ? below + 1 : below) * step;
}

const float32 = new Float32Array(1);
const word = new Uint32Array(float32.buffer);

/** Bits of a number that is exactly a bfloat16. */
export function bfloat16Bits(x: number): number {
  float32[0] = x;
  return (word[0] as number) >>> 16;
}
