// Turns the relaxed module into simd128. scripts/unfused.mjs, which makes both, checks its result with this.

const NOP = 0x01;

/** The last byte of each fused operation, and of the product and the sum that replace it. */
const OPERATIONS = [
  { fused: 0x85, product: 0xe6, sum: 0xe4 },
  { fused: 0x87, product: 0xf2, sum: 0xf0 },
];

/** Replaces each fused multiply-add in this relaxed module by a product and a sum. */
export function unfuse(bytes: Uint8Array): void {
  for (const { fused, product, sum } of OPERATIONS) {
    for (let at = bytes.indexOf(fused); at >= 0; at = bytes.indexOf(fused, at + 1)) {
      if (bytes[at + 1] !== 2 || bytes[at + 2] !== NOP || bytes[at + 4] !== NOP) continue;
      // local.get n, the fused operation and three nops: 20 n fd 85 02 01 01 01.
      const local = bytes[at - 2] as number;
      bytes.set([0xfd, product, 1, 0x20, local, 0xfd, sum, 1], at - 3);
    }
  }
  // A module ends with the name of its variant.
  const name = Array.from("simd128", (letter) => letter.charCodeAt(0));
  bytes.set(name, bytes.length - name.length);
}
