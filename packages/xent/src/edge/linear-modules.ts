// Takes the place of ../linear/modules.ts where nothing may be compiled at run time, and imports of .wasm files give modules.

import relaxed from "wasm:linear-relaxed";
import simd128 from "wasm:linear-simd128";
import type { Variant } from "../features.ts";

/** The module of the products. There are no threads for which its memory could be shared. */
export function compileProducts(variant: Variant, _shared: boolean): WebAssembly.Module {
  return variant === "relaxed" && relaxed ? relaxed : simd128;
}
