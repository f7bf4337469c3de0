// Turns the relaxed module into simd128. scripts/unfused.mjs, which makes both, checks its result with this.

const F32X4_RELAXED_MADD = 0x85;

/** local.set n, a product, local.get n, and a sum. n is at 1 and 6. */
function productAndSum(product: number, sum: number): Uint8Array {
  return Uint8Array.of(0x21, 0, 0xfd, product, 1, 0x20, 0, 0xfd, sum, 1);
}

/** Replaces each fused multiply-add in this relaxed module by a product and a sum. `steps`: the distances between them in bytes. */
export function unfuse(bytes: Uint8Array, steps: string): void {
  const f32x4 = productAndSum(0xe6, 0xe4);
  const f64x2 = productAndSum(0xf2, 0xf0);
  let at = 0;
  for (const step of steps.split(" ")) {
    at += Number(step);
    const operations = bytes[at + 1] === F32X4_RELAXED_MADD ? f32x4 : f64x2;
    // After the fused operation, i32.const n and drop keep the number of the local.
    const local = bytes[at + 4] as number;
    operations[1] = local;
    operations[6] = local;
    bytes.set(operations, at);
  }
  // A module ends with the name of its variant.
  const name = Array.from("simd128", (letter) => letter.charCodeAt(0));
  bytes.set(name, bytes.length - name.length);
}
