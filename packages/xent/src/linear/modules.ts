import { type Compiled, compileEmbedded } from "../embedded.ts";
import type { Variant } from "../features.ts";
import { embedded } from "../generated/linear-wasm.ts";

const compiled: Compiled = new Map();

/** The module of the products, compiled on first use. */
export function compileProducts(variant: Variant, shared: boolean): WebAssembly.Module {
  return compileEmbedded(embedded, compiled, variant, shared);
}
