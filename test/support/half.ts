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

/** Bits of a number that is exactly a bfloat16. */
export function bfloat16Bits(x: number): number {
  return (new Uint32Array(Float32Array.of(x).buffer)[0] as number) >>> 16;
}
