import { type Compiled, compileEmbedded, compileEmbeddedAsync } from "./embedded.ts";
import type { Variant } from "./features.ts";
import { embedded } from "./generated/wasm.ts";

/** Whether there is a module of relaxed SIMD. */
export const hasRelaxedModule: boolean = true;

const compiled: Compiled = new Map();

/** The kernel's module, compiled on first use. */
export function compile(variant: Variant, shared: boolean): WebAssembly.Module {
  return compileEmbedded(embedded, compiled, variant, shared);
}

/** Like {@link compile}, without blocking. */
export function compileAsync(variant: Variant, shared: boolean): Promise<WebAssembly.Module> {
  return compileEmbeddedAsync(embedded, compiled, variant, shared);
}
