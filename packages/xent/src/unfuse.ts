// Turns the relaxed module into simd128. scripts/unfused.mjs, which makes both, checks its result with this.

const F32X4_RELAXED_MADD = 0x85;
const DROP = 0x1a;
const NOP = 0x01;

/** local.set n, a product, local.get n, and a sum. n is at 1 and 6. */
function productAndSum(product: number, sum: number): Uint8Array {
  return Uint8Array.of(0x21, 0, 0xfd, product, 1, 0x20, 0, 0xfd, sum, 1);
}

/** Replaces each fused multiply-add in this relaxed module by a product and a sum. */
export function unfuse(bytes: Uint8Array): void {
  const f32x4 = productAndSum(0xe6, 0xe4);
  const f64x2 = productAndSum(0xf2, 0xf0);
  // After the fused operation, i32.const n and drop keep the number of the local, and four nops keep room.
  for (let drop = bytes.indexOf(DROP); drop >= 0; drop = bytes.indexOf(DROP, drop + 1)) {
    if (bytes[drop + 1] !== NOP || bytes[drop + 4] !== NOP) continue;
    const at = drop - 5;
    const operations = bytes[at + 1] === F32X4_RELAXED_MADD ? f32x4 : f64x2;
    const local = bytes[drop - 1] as number;
    operations[1] = local;
    operations[6] = local;
    bytes.set(operations, at);
  }
  // A module ends with the name of its variant.
  const name = Array.from("simd128", (letter) => letter.charCodeAt(0));
  bytes.set(name, bytes.length - name.length);
}
