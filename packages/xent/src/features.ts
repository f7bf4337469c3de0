/** A build of the kernel: "simd128" has the same bits on every machine, "relaxed" uses fused multiply-add. */
export type Variant = "simd128" | "relaxed";

// (module (func (export "madd") (param f32 f32 f32) (result f32) (f32x4.extract_lane 0
//   (f32x4.relaxed_madd (f32x4.splat (local.get 0)) (f32x4.splat (local.get 1)) (f32x4.splat (local.get 2))))))
// prettier-ignore
const MADD = [
  0, 97, 115, 109, 1, 0, 0, 0, 1, 8, 1, 96, 3, 125, 125, 125, 1, 125, 3, 2, 1, 0, 7, 8, 1, 4, 109, 97, 100, 100, 0, 0,
  10, 22, 1, 20, 0, 32, 0, 253, 19, 32, 1, 253, 19, 32, 2, 253, 19, 253, 133, 2, 253, 31, 0, 11,
];

let relaxed: boolean | undefined;
let fused: boolean | undefined;

/** Whether this engine supports relaxed SIMD. */
export function hasRelaxedSimd(): boolean {
  relaxed ??= attempt(() => WebAssembly.validate(new Uint8Array(MADD))) ?? false;
  return relaxed;
}

/** Whether this engine has a multiply-add that rounds once. If not, relaxed gives the bits of simd128, and is slower. */
export function fuses(): boolean {
  fused ??=
    attempt(() => {
      const { madd } = new WebAssembly.Instance(new WebAssembly.Module(new Uint8Array(MADD))).exports;
      // The square is 1 + 2^-11 + 2^-24, whose last term does not fit a float.
      return (madd as (a: number, b: number, c: number) => number)(1 + 2 ** -12, 1 + 2 ** -12, -(1 + 2 ** -11)) !== 0;
      // If the environment does not allow compiling, this cannot be tested. Most engines fuse.
    }) ?? hasRelaxedSimd();
  return fused;
}

/** The variant for this engine, if there is a relaxed module. */
export function bestVariant(hasRelaxedModule: boolean): Variant {
  return hasRelaxedModule && fuses() ? "relaxed" : "simd128";
}

/** Whether this memory can be shared with workers. Its buffer may come from another realm, as in a test runner. */
export function isShared({ buffer }: WebAssembly.Memory): boolean {
  return Object.prototype.toString.call(buffer) === "[object SharedArrayBuffer]";
}

/** The result, or undefined if the environment throws on the attempt. */
export function attempt<T>(ask: () => T): T | undefined {
  try {
    return ask();
  } catch {
    return undefined;
  }
}
