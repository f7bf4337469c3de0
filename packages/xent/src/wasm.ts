// The types of WebAssembly, if the project has them from the DOM or from Node.js.

type Of<Name extends string> = typeof globalThis extends { WebAssembly: Record<Name, { prototype: infer T }> }
  ? T
  : undefined;

/** WebAssembly.Memory. */
export type WasmMemory =
  Of<"Memory"> extends undefined ? { readonly buffer: ArrayBufferLike; grow(pages: number): number } : Of<"Memory">;

/** WebAssembly.Module. */
export type WasmModule = Of<"Module"> extends undefined ? object : Of<"Module">;
