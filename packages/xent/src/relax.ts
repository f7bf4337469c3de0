// Turns a simd128 module into the relaxed variant. scripts/unfused.mjs, which makes the simd128 module, checks its result with this.

const F32X4_MUL = 0xe6;

// A product and a sum take seven bytes more than a fused operation, for a local: seven nops replace them.
const fused = (operation: number) => [0xfd, operation, 2, 1, 1, 1, 1, 1, 1, 1];
const F32X4_RELAXED_MADD = fused(0x85);
const F64X2_RELAXED_MADD = fused(0x87);

/** Replaces each product with a sum in this simd128 module by a fused multiply-add. `steps`: the distances between them in bytes. */
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
