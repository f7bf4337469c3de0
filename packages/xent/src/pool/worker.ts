// A worker of the pool: started by `createXent`, or a worker of your own that imports `xent/worker`.

import { importsOf, type Kernel } from "../abi.ts";
import { fail, inside, SPIN_INSIDE_MS, SPIN_OUTSIDE_MS, spin, type Thread, WORD, work } from "./work.ts";

/** The first message of the pool to a worker. */
export interface Start {
  readonly memory: WebAssembly.Memory;
  readonly module: WebAssembly.Module;
  readonly index: number;
  /** The words that all threads share: their address and number. */
  readonly words: number;
  readonly count: number;
  /** Address of the worker's scratch memory. */
  readonly scratch: number;
}

/** The messages of a worker to the pool. */
export type Message = "ready" | "done";

/** A later message of the pool to a worker: another kernel. */
export interface Addition {
  readonly added: WebAssembly.Module;
}

interface Port {
  postMessage(message: Message): void;
  on?(event: "message", listener: (message: Start | Addition) => void): void;
  onmessage?: ((event: { data: Start | Addition }) => void) | null;
}

const port: Port =
  (globalThis as { process?: NodeProcess }).process?.getBuiltinModule?.("node:worker_threads")?.parentPort ??
  (globalThis as unknown as Port);

interface NodeProcess {
  getBuiltinModule?(name: "node:worker_threads"): { parentPort: Port | null } | undefined;
}

if (port.on) port.on("message", receive);
else port.onmessage = ({ data }) => receive(data);

let served: Served | undefined;

function receive(message: Start | Addition): void {
  if ("added" in message) {
    if (served === undefined) return;
    const { kernels, memory } = served.thread;
    kernels.push(instance(message.added, memory));
  } else {
    served = begin(message);
    port.postMessage("ready");
  }
  serve(served);
}

/** The state of a worker. */
interface Served {
  readonly thread: Thread;
  /** The last job that it has looked at. */
  seen: number;
}

function instance(module: WebAssembly.Module, memory: WebAssembly.Memory): Kernel {
  return new WebAssembly.Instance(module, importsOf(memory)).exports as unknown as Kernel;
}

function begin({ memory, module, index, words: address, count, scratch }: Start): Served {
  const words = new Int32Array(memory.buffer, address, count);
  const kernel = instance(module, memory);
  const thread: Thread = {
    kernel,
    kernels: [kernel],
    memory,
    index,
    words,
    scratch,
    wait: (word, value) => {
      if (!spin(words, word, value, SPIN_INSIDE_MS)) Atomics.wait(words, word, value, 100);
    },
  };
  return { thread, seen: Atomics.load(words, WORD.epoch) };
}

function serve(served: Served): void {
  const { thread } = served;
  const { index, words } = thread;
  for (;;) {
    if (!spin(words, WORD.epoch, served.seen, SPIN_OUTSIDE_MS)) Atomics.wait(words, WORD.epoch, served.seen);
    // Another kernel comes as a message, which only the event loop receives. It then calls this again, which sees this epoch.
    if (Atomics.load(words, WORD.kernels) >= thread.kernels.length) return;
    served.seen = Atomics.load(words, WORD.epoch);
    // Enter first, then check the gate: either the caller that closes it sees this thread inside, or this thread sees it closed.
    Atomics.store(words, inside(index), 1);
    let last = false;
    const tell = words[WORD.tell] === 1;
    if (Atomics.load(words, WORD.open) === 1) {
      try {
        last = work(thread);
      } catch (error) {
        fail(words, index, error);
        last = true;
      }
    }
    Atomics.store(words, inside(index), 0);
    Atomics.notify(words, inside(index));
    if (last && tell) port.postMessage("done");
  }
}
