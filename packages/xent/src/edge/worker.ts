// Takes the place of ../generated/worker.ts where there are no threads.

/** No script. */
export const workerSource: string = "";
