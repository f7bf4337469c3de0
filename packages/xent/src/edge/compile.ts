// Replaces ../compile.ts in runtimes that do not allow compiling at run time, and where imports of .wasm files give modules.

// scripts/bundle.mjs resolves these names, which differ between bundlers.
import relaxed from "wasm:relaxed";
import simd128 from "wasm:simd128";
import type { Variant } from "../features.ts";

/** Whether the bundle has the relaxed module. */
export const hasRelaxedModule: boolean = relaxed !== undefined;

/** The kernel's module. Edge runtimes have no threads, hence no shared memory. */
export function compile(variant: Variant, shared: boolean): WebAssembly.Module {
  if (shared) throw new RangeError('"shared" expected false: this environment has no shared memory');
  return variant === "relaxed" && relaxed ? relaxed : simd128;
}

/** Like {@link compile}. */
export async function compileAsync(variant: Variant, shared: boolean): Promise<WebAssembly.Module> {
  return compile(variant, shared);
}
