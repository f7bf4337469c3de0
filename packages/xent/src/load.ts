import { importsOf, type Kernel } from "./abi.ts";
import { wrongType } from "./errors.ts";
import { fuses, hasRelaxedSimd, type Variant } from "./features.ts";
import { memoryFlags, wasm } from "./generated/wasm.ts";

/** The variant that "auto" stands for here. */
export function bestVariant(): Variant {
  return hasRelaxedSimd() && fuses() ? "relaxed" : "simd128";
}

/** The variant of a module that somebody else has compiled. */
export function variantOf(module: unknown): Variant {
  if (!(module instanceof WebAssembly.Module)) throw wrongType("module", "a WebAssembly.Module", module);
  const [section] = WebAssembly.Module.customSections(module, "xent");
  const name = section && String.fromCharCode(...new Uint8Array(section));
  if (name === "simd128" || name === "relaxed") return name;
  throw new TypeError('"module" expected one of the .wasm files of this version of xent');
}

const modules = new Map<string, WebAssembly.Module>();

/** The kernel's module, compiled on first use. */
export function compile(variant: Variant, shared: boolean): WebAssembly.Module {
  const key = `${variant} ${shared}`;
  let module = modules.get(key);
  if (module === undefined) {
    try {
      module = new WebAssembly.Module(moduleBytes(variant, shared));
    } catch (cause) {
      throw notCompiled(cause);
    }
    modules.set(key, module);
  }
  return module;
}

/** As {@link compile}, without blocking. */
export async function compileAsync(variant: Variant, shared: boolean): Promise<WebAssembly.Module> {
  const key = `${variant} ${shared}`;
  let module = modules.get(key);
  if (module === undefined) {
    try {
      module = await WebAssembly.compile(moduleBytes(variant, shared));
    } catch (cause) {
      throw notCompiled(cause);
    }
    modules.set(key, module);
  }
  return module;
}

function notCompiled(cause: unknown): Error {
  return new Error(
    "this environment compiles no WebAssembly at run time: create an instance with \"module\", compiled from one of the .wasm files of xent; a Content-Security-Policy needs 'wasm-unsafe-eval'",
    { cause },
  );
}

const EXPORTS: readonly (keyof Kernel)[] = ["run", "sum_segment", "finish_row", "scale_segment", "reduce"];

/** The kernel over a memory. Throws TypeError for a module of another version, or of the other kind of memory. */
export function instantiate(module: WebAssembly.Module, memory: WebAssembly.Memory): Kernel {
  let exports: WebAssembly.Exports;
  try {
    ({ exports } = new WebAssembly.Instance(module, importsOf(memory)));
  } catch (cause) {
    const kind = memory.buffer instanceof ArrayBuffer ? "private memory: without" : "shared memory: with";
    throw new TypeError(`"module" expected one for a ${kind} -shared in its file's name`, { cause });
  }
  const missing = EXPORTS.find((name) => typeof exports[name] !== "function");
  if (missing) throw new TypeError(`"module" expected one of this version of xent: it does not export ${missing}`);
  return exports as unknown as Kernel;
}

function moduleBytes(variant: Variant, shared: boolean): Uint8Array<ArrayBuffer> {
  const hex = wasm.map(([simd128, relaxed = simd128]) => (variant === "relaxed" ? relaxed : simd128)).join("");
  const bytes = new Uint8Array(hex.length / 2);
  for (let i = 0; i < bytes.length; i++) bytes[i] = (digit(hex, 2 * i) << 4) | digit(hex, 2 * i + 1);
  // One build serves both kinds of memory.
  if (shared) bytes[memoryFlags[variant]] = (bytes[memoryFlags[variant]] as number) | memoryFlags.shared;
  return bytes;
}

function digit(hex: string, at: number): number {
  const code = hex.charCodeAt(at); // "0" is 48, "a" is 97
  return (code & 15) + (code >> 6) * 9;
}
