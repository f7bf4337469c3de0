// Takes the place of ../compile.ts where nothing may be compiled at run time, and imports of .wasm files give modules.

// scripts/bundle.mjs has their names, which differ between bundlers.
import relaxed from "wasm:relaxed";
import simd128 from "wasm:simd128";
import type { Variant } from "../features.ts";

/** Whether there is a module of relaxed SIMD. */
export const hasRelaxedModule: boolean = relaxed !== undefined;

/** The kernel's module. There are no threads for which its memory could be shared. */
export function compile(variant: Variant, shared: boolean): WebAssembly.Module {
  if (shared) throw new RangeError('"shared" expected false: this environment has no shared memory');
  return variant === "relaxed" && relaxed ? relaxed : simd128;
}

/** As {@link compile}. */
export async function compileAsync(variant: Variant, shared: boolean): Promise<WebAssembly.Module> {
  return compile(variant, shared);
}
