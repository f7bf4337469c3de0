/** The two builds of the kernel: plain SIMD, with the same bits on every machine, or with fused multiply-add. */
export type Variant = "simd128" | "relaxed";

// (module (func (param v128) (result v128)
//   (f32x4.relaxed_madd (local.get 0) (local.get 0) (local.get 0))))
// prettier-ignore
const RELAXED_PROBE = [
  0, 97, 115, 109, 1, 0, 0, 0, 1, 6, 1, 96, 1, 123, 1, 123, 3, 2, 1, 0, 10, 13, 1, 11, 0, 32, 0, 32, 0, 32, 0, 253, 133,
  2, 11,
];

let relaxed: boolean | undefined;

/** Whether this engine takes relaxed SIMD. */
export function hasRelaxedSimd(): boolean {
  relaxed ??= WebAssembly.validate(new Uint8Array(RELAXED_PROBE));
  return relaxed;
}
