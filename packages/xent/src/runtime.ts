// What xent needs from the runtime, beyond the language and WebAssembly.

import { attempt } from "./features.ts";

interface NodeModules {
  "node:os": { availableParallelism(): number };
  "node:worker_threads": {
    Worker: new (source: string, options: object) => { postMessage(message: unknown): void; terminate(): unknown };
  };
}

/** A module of Node.js, also in Deno and Bun, without an import that a bundler would resolve. */
export function nodeModule<K extends keyof NodeModules>(name: K): NodeModules[K] | undefined {
  return attempt(() => {
    const { process } = globalThis as { process?: { getBuiltinModule?(name: K): NodeModules[K] | undefined } };
    return process?.getBuiltinModule?.(name);
  });
}

/** Whether there can be threads that share a memory: a page needs cross-origin isolation for that. */
export function hasThreads(): boolean {
  const workers = nodeModule("node:worker_threads") ?? (globalThis as { Worker?: unknown }).Worker;
  return typeof SharedArrayBuffer === "function" && workers !== undefined;
}

/** The number of threads that run in parallel here. */
export function availableParallelism(): number {
  const { navigator } = globalThis as { navigator?: { hardwareConcurrency?: number } };
  return nodeModule("node:os")?.availableParallelism() ?? navigator?.hardwareConcurrency ?? 1;
}

/** Yields to other tasks of this thread. A timer would wait for 4 ms in a page. */
export function nextTask(): Promise<void> {
  return new Promise((resolve) => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => {
      port1.close();
      resolve();
    };
    port2.postMessage(undefined);
  });
}
