import type { Variant } from "./features.ts";
import { memoryFlags, wasm } from "./generated/wasm.ts";

/** Whether there is a module of relaxed SIMD. */
export const hasRelaxedModule: boolean = true;

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

/** The letter that begins lines which are one variant's; "=" begins those of both. */
const LETTERS: Record<Variant, string> = { simd128: "s", relaxed: "r" };

function moduleBytes(variant: Variant, shared: boolean): Uint8Array<ArrayBuffer> {
  const lines = wasm.split("\n").filter(([letter]) => letter === "=" || letter === LETTERS[variant]);
  const bytes = fromHex(lines.map((line) => line.slice(1)));
  // One build serves both kinds of memory.
  if (shared) bytes[memoryFlags[variant]] = (bytes[memoryFlags[variant]] as number) | memoryFlags.shared;
  return bytes;
}

interface HexReader {
  readonly name: string;
  fromHex?(hex: string): Uint8Array<ArrayBuffer>;
}

function fromHex(lines: readonly string[]): Uint8Array<ArrayBuffer> {
  const reader: HexReader = Uint8Array;
  if (reader.fromHex) return reader.fromHex(lines.join(""));
  const values = new Uint8Array(128);
  for (let i = 0; i < 16; i++) values[i.toString(16).charCodeAt(0)] = i;
  const bytes = new Uint8Array(lines.reduce((sum, line) => sum + line.length, 0) / 2);
  let at = 0;
  // Line by line, since engines compile a function that is called often sooner than a loop that is long.
  for (const line of lines) at = writeHex(line, values, bytes, at);
  return bytes;
}

function writeHex(line: string, values: Uint8Array, bytes: Uint8Array, begin: number): number {
  let at = begin;
  for (let i = 0; i < line.length; i += 2) {
    const high = values[line.charCodeAt(i)] as number;
    bytes[at++] = (high << 4) | (values[line.charCodeAt(i + 1)] as number);
  }
  return at;
}
