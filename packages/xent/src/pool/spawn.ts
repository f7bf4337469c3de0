import { workerSource } from "../generated/worker.ts";
import { nodeModule } from "../runtime.ts";

/** A web worker, or a worker of node:worker_threads. */
export interface PoolWorker {
  postMessage(message: unknown): void;
  terminate(): unknown;
}

/** The methods that some kinds of workers have. */
interface AnyWorker extends PoolWorker {
  on?(event: "message" | "error" | "messageerror" | "exit", listener: (value: unknown) => void): unknown;
  addEventListener?(event: string, listener: (event: { data?: unknown; message?: string }) => void): void;
  ref?(): void;
  unref?(): void;
}

/** Whether this thread may block. The main thread of a page may not. */
export function mayWait(words: Int32Array): boolean {
  try {
    Atomics.wait(words, 0, -1, 0);
    return true;
  } catch {
    return false;
  }
}

/** Starts a worker of the pool from the embedded source, so there is no file to find, serve or bundle. */
export function spawn(): PoolWorker {
  // Deno's web workers keep the process alive even when idle.
  const threads = nodeModule("node:worker_threads");
  // Flags and variables of the process are not meant for the worker.
  if (threads) return new threads.Worker(workerSource, { eval: true, execArgv: [], env: {}, name: "xent" });
  const url = URL.createObjectURL(new Blob([workerSource], { type: "text/javascript" }));
  const worker = new Worker(url, { name: "xent" });
  // When the first message arrives, the worker has fetched the URL.
  worker.addEventListener("message", () => URL.revokeObjectURL(url), { once: true });
  return worker;
}

/** Calls `message` with each message of the worker, and `end` once it has ended, if the runtime reports that. */
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

/** Sets whether the worker keeps the process alive. */
export function keepAlive(worker: AnyWorker, alive: boolean): void {
  if (alive) worker.ref?.();
  else worker.unref?.();
}
