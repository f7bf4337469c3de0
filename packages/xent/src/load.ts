import type { Kernel } from "./abi.ts";
import { hasRelaxedSimd, type Variant } from "./features.ts";
import { wasm } from "./generated/wasm.ts";

/** The variant that "auto" stands for here. */
export function bestVariant(): Variant {
  return hasRelaxedSimd() ? "relaxed" : "simd128";
}

const modules = new Map<string, WebAssembly.Module>();

/** The kernel's module, compiled on first use. */
export function compile(variant: Variant, shared: boolean): WebAssembly.Module {
  const key = `${variant} ${shared}`;
  let module = modules.get(key);
  if (module === undefined) {
    module = new WebAssembly.Module(moduleBytes(variant, shared));
    modules.set(key, module);
  }
  return module;
}

/** As {@link compile}, without blocking. */
export async function compileAsync(variant: Variant, shared: boolean): Promise<WebAssembly.Module> {
  const key = `${variant} ${shared}`;
  let module = modules.get(key);
  if (module === undefined) {
    module = await WebAssembly.compile(moduleBytes(variant, shared));
    modules.set(key, module);
  }
  return module;
}

/** The kernel over a memory. */
export function instantiate(module: WebAssembly.Module, memory: WebAssembly.Memory): Kernel {
  // The names that wasm-bindgen gives them. The second one would fill a table of JS objects, which numbers do not need.
  const imports = { "./xent_wasm_bg.js": { memory, __wbindgen_init_externref_table: () => {} } };
  const { run, reduce } = new WebAssembly.Instance(module, imports).exports;
  if (typeof run !== "function" || typeof reduce !== "function") {
    throw new TypeError('"module" expected a module of this version of xent: it does not export run and reduce');
  }
  return { run: run as Kernel["run"], reduce: reduce as Kernel["reduce"] };
}

function moduleBytes(variant: Variant, shared: boolean): Uint8Array<ArrayBuffer> {
  const hex = wasm.map(([simd128, relaxed]) => (variant === "relaxed" ? relaxed : simd128)).join("");
  const bytes = new Uint8Array(hex.length / 2);
  for (let i = 0; i < bytes.length; i++) bytes[i] = (digit(hex, 2 * i) << 4) | digit(hex, 2 * i + 1);
  if (shared) importSharedMemory(bytes);
  return bytes;
}

function digit(hex: string, at: number): number {
  const code = hex.charCodeAt(at); // "0" is 48, "a" is 97
  return (code & 15) + (code >> 6) * 9;
}

/**
 * Sets the "shared" bit in the flags of the memory import. A module without atomics is the same for both kinds of
 * memory but for this bit, so one build serves both.
 */
function importSharedMemory(bytes: Uint8Array): void {
  let at = 8;
  const leb = (): number => {
    let value = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = bytes[at++] ?? 0;
      value |= (byte & 127) << shift;
      if (byte < 128) return value;
    }
  };
  const skipName = (): void => {
    const length = leb();
    at += length;
  };
  while (at < bytes.length) {
    const section = bytes[at++];
    const next = leb() + at;
    if (section === 2) {
      for (let count = leb(); count > 0; count--) {
        skipName();
        skipName();
        const kind = bytes[at++];
        if (kind === 2) {
          bytes[at] = (bytes[at] ?? 0) | 2;
          return;
        }
        leb(); // a function's type: no other kinds come before the memory
      }
    }
    at = next;
  }
}
