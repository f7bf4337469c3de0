import { workerSource } from "../generated/worker.ts";
import { nodeModule } from "../runtime.ts";

/** A worker of the web, or of node:worker_threads. */
export interface PoolWorker {
  postMessage(message: unknown): void;
  terminate(): unknown;
}

/** What both kinds may have. */
interface AnyWorker extends PoolWorker {
  on?(event: "message" | "error" | "messageerror" | "exit", listener: (value: unknown) => void): unknown;
  addEventListener?(event: string, listener: (event: { data?: unknown; message?: string }) => void): void;
  ref?(): void;
  unref?(): void;
}

/** Whether this thread may wait: the main thread of a page may not. */
export function mayWait(words: Int32Array): boolean {
  try {
    Atomics.wait(words, 0, -1, 0);
    return true;
  } catch {
    return false;
  }
}

/** A worker of the pool, from the source that is embedded here: there is no file to be found, served or bundled. */
export function spawn(): PoolWorker {
  // Deno's own workers could not be left idle: they keep the process alive.
  const threads = nodeModule("node:worker_threads");
  // Nothing of the process's own flags and variables is meant for it.
  if (threads) return new threads.Worker(workerSource, { eval: true, execArgv: [], env: {}, name: "xent" });
  const url = URL.createObjectURL(new Blob([workerSource], { type: "text/javascript" }));
  const worker = new Worker(url, { name: "xent" });
  // It has been fetched by the time of its first message, and no later.
  worker.addEventListener("message", () => URL.revokeObjectURL(url), { once: true });
  return worker;
}

/** Calls `message` with what the worker says, and `end` once it is no more, as far as its runtime tells. */
export function listen(worker: AnyWorker, message: (data: unknown) => void, end: (why: string) => void): void {
  if (worker.on) {
    worker.on("message", message);
    worker.on("error", (error) => end(String(error)));
    worker.on("exit", (code) => end(`it ended with code ${code}`));
  } else {
    worker.addEventListener?.("message", ({ data }) => message(data));
    worker.addEventListener?.("error", (event) => end(event.message ?? "its script could not be loaded"));
  }
}

/** Whether the worker keeps the process alive. */
export function keepAlive(worker: AnyWorker, alive: boolean): void {
  if (alive) worker.ref?.();
  else worker.unref?.();
}
