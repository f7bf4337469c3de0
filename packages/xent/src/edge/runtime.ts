// Takes the place of ../runtime.ts: bundlers for edge runtimes complain of what is only asked for.

/** There are no modules of Node.js, or none that are needed. */
export function nodeModule(_name: string): undefined {}

/** Whether there can be threads that share a memory. */
export function hasThreads(): boolean {
  return false;
}

/** The number of threads that run in parallel here. */
export function availableParallelism(): number {
  return 1;
}

/** Lets this thread do what else it has to do. */
export function nextTask(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve));
}
