// Replaces ../runtime.ts: bundlers for edge runtimes warn even about checks for missing features.

/** Edge runtimes have no modules of Node.js that are needed. */
export function nodeModule(_name: string): undefined {}

/** Whether there can be threads that share a memory. */
export function hasThreads(): boolean {
  return false;
}

/** The number of threads that run in parallel here. */
export function availableParallelism(): number {
  return 1;
}

/** Yields to other tasks of this thread. */
export function nextTask(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve));
}
