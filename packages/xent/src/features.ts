/** The two builds of the kernel: plain SIMD, with the same bits on every machine, or with fused multiply-add. */
export type Variant = "simd128" | "relaxed";

// (module (func (param v128) (result v128)
//   (f32x4.relaxed_madd (local.get 0) (local.get 0) (local.get 0))))
// prettier-ignore
const RELAXED_PROBE = [
  0, 97, 115, 109, 1, 0, 0, 0, 1, 6, 1, 96, 1, 123, 1, 123, 3, 2, 1, 0, 10, 13, 1, 11, 0, 32, 0, 32, 0, 32, 0, 253, 133,
  2, 11,
];

let relaxed: boolean | undefined;

/** Whether this engine takes relaxed SIMD. */
export function hasRelaxedSimd(): boolean {
  relaxed ??= WebAssembly.validate(new Uint8Array(RELAXED_PROBE));
  return relaxed;
}

interface NodeModules {
  "node:os": { availableParallelism(): number };
  "node:worker_threads": {
    Worker: new (source: string, options: object) => { postMessage(message: unknown): void; terminate(): unknown };
  };
}

/** A module of Node.js, where there is one (Deno and Bun have them, too): no import that a bundler would look for. */
export function nodeModule<K extends keyof NodeModules>(name: K): NodeModules[K] | undefined {
  const { process } = globalThis as { process?: { getBuiltinModule?(name: K): NodeModules[K] | undefined } };
  return process?.getBuiltinModule?.(name);
}

/** Whether there can be threads that share a memory: a page needs cross-origin isolation for that. */
export function hasThreads(): boolean {
  const workers = nodeModule("node:worker_threads") ?? (globalThis as { Worker?: unknown }).Worker;
  return typeof SharedArrayBuffer === "function" && workers !== undefined;
}

/** How many threads run at once here. */
export function availableParallelism(): number {
  const { navigator } = globalThis as { navigator?: { hardwareConcurrency?: number } };
  return nodeModule("node:os")?.availableParallelism() ?? navigator?.hardwareConcurrency ?? 1;
}
