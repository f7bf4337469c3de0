// Makes the relaxed variant of a module of simd128. scripts/unfused.mjs, which makes the latter, uses this too.

const F32X4_MUL = 0xe6;

// A product and a sum need a local, which takes seven bytes: nop, seven times.
const fused = (operation: number) => [0xfd, operation, 2, 1, 1, 1, 1, 1, 1, 1];
const F32X4_RELAXED_MADD = fused(0x85);
const F64X2_RELAXED_MADD = fused(0x87);

/** Makes a fused multiply-add of each product and sum of this module of simd128. `steps` are the bytes from one to the next. */
export function relax(bytes: Uint8Array, steps: string): void {
  let at = 0;
  for (const step of steps.split(" ")) {
    at += Number(step);
    // local.set n, f32x4.mul or f64x2.mul, local.get n, and the sum.
    bytes.set(bytes[at + 3] === F32X4_MUL ? F32X4_RELAXED_MADD : F64X2_RELAXED_MADD, at);
  }
  // A module ends with the name of its variant.
  const name = Array.from("relaxed", (letter) => letter.charCodeAt(0));
  bytes.set(name, bytes.length - name.length);
}
