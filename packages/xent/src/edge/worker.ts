// Replaces ../generated/worker.ts in runtimes without threads.

/** No script. */
export const workerSource: string = "";
