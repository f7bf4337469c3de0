import { importsOf, type Kernel } from "./abi.ts";
import { wrongType } from "./errors.ts";
import { attempt, isShared, type Variant } from "./features.ts";

/** The variant of a module that the caller compiled. */
export function variantOf(module: unknown): Variant {
  // customSections also accepts a module of another realm, which edge runtimes may give.
  const sections = attempt(() => WebAssembly.Module.customSections(module as WebAssembly.Module, "xent"));
  if (sections === undefined) throw wrongType("module", "a WebAssembly.Module", module);
  const [section] = sections;
  const name = section && String.fromCharCode(...new Uint8Array(section));
  if (name === "simd128" || name === "relaxed") return name;
  throw new TypeError('"module" expected one of the .wasm files of this version of xent');
}

const EXPORTS: readonly (keyof Kernel)[] = [
  "run",
  "find_segment",
  "sum_segment",
  "finish_row",
  "write_segment",
  "reduce",
];

/** Instantiates the kernel over a memory. Throws TypeError for a module of another version, or for the other kind of memory. */
export function instantiate(module: WebAssembly.Module, memory: WebAssembly.Memory): Kernel {
  let exports: WebAssembly.Exports;
  try {
    ({ exports } = new WebAssembly.Instance(module, importsOf(memory)));
  } catch (cause) {
    const kind = isShared(memory) ? "shared memory: with" : "private memory: without";
    throw new TypeError(`"module" expected one for a ${kind} -shared in its file's name`, { cause });
  }
  const missing = EXPORTS.find((name) => typeof exports[name] !== "function");
  if (missing) throw new TypeError(`"module" expected one of this version of xent: it does not export ${missing}`);
  return exports as unknown as Kernel;
}
