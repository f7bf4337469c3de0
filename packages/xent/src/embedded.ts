// Compiles the modules that this package embeds as text: see scripts/build.mjs.

import type { Variant } from "./features.ts";
import { unfuse } from "./unfuse.ts";

/** A module in a generated file. */
export interface Embedded {
  /** The relaxed module, in hexadecimal between line breaks. */
  readonly wasm: string;
  /** The byte of the flags of the memory, and the bit that is set if the module takes a shared memory. */
  readonly memoryFlags: { readonly at: number; readonly shared: number };
}

/** Compiled modules, by variant and kind of memory. */
export type Compiled = Map<string, WebAssembly.Module>;

/** The module for this variant and kind of memory, compiled on first use. */
export function compileEmbedded(
  embedded: Embedded,
  modules: Compiled,
  variant: Variant,
  shared: boolean,
): WebAssembly.Module {
  const key = `${variant} ${shared}`;
  let module = modules.get(key);
  if (module === undefined) {
    try {
      module = new WebAssembly.Module(moduleBytes(embedded, variant, shared));
    } catch (cause) {
      throw notCompiled(cause);
    }
    modules.set(key, module);
  }
  return module;
}

/** Like {@link compileEmbedded}, without blocking. */
export async function compileEmbeddedAsync(
  embedded: Embedded,
  modules: Compiled,
  variant: Variant,
  shared: boolean,
): Promise<WebAssembly.Module> {
  const key = `${variant} ${shared}`;
  let module = modules.get(key);
  if (module === undefined) {
    try {
      module = await WebAssembly.compile(moduleBytes(embedded, variant, shared));
    } catch (cause) {
      throw notCompiled(cause);
    }
    modules.set(key, module);
  }
  return module;
}

function notCompiled(cause: unknown): Error {
  return new Error(
    "this environment does not allow compiling WebAssembly at run time: create an instance with \"module\", compiled from one of the .wasm files of xent; a Content-Security-Policy needs 'wasm-unsafe-eval'",
    { cause },
  );
}

function moduleBytes(embedded: Embedded, variant: Variant, shared: boolean): Uint8Array<ArrayBuffer> {
  const bytes = fromHex(embedded.wasm.trim());
  if (variant === "simd128") unfuse(bytes);
  const { at, shared: bit } = embedded.memoryFlags;
  // One build serves private and shared memories.
  if (shared) bytes[at] = (bytes[at] as number) | bit;
  return bytes;
}

interface Hexadecimal {
  readonly Uint8Array: { fromHex?(hex: string): Uint8Array<ArrayBuffer> };
  readonly Buffer?: { from(hex: string, encoding: "hex"): Uint8Array<ArrayBuffer> };
}

function fromHex(hex: string): Uint8Array<ArrayBuffer> {
  const { Uint8Array: Bytes, Buffer } = globalThis as unknown as Hexadecimal;
  // Node.js before 25 has only Buffer. A loop takes milliseconds before the engine has compiled it.
  if (Bytes.fromHex) return Bytes.fromHex(hex);
  if (Buffer) return Buffer.from(hex, "hex");
  const bytes = new Uint8Array(hex.length / 2);
  for (let i = 0; i < bytes.length; i++) bytes[i] = 16 * digit(hex, 2 * i) + digit(hex, 2 * i + 1);
  return bytes;
}

/** The value of a hexadecimal digit: "0" has code 48, "a" 97. */
function digit(hex: string, at: number): number {
  const code = hex.charCodeAt(at);
  return (code & 15) + 9 * (code >> 6);
}
