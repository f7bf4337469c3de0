// A worker of the pool: what `createXent` starts, and what a worker of your own becomes that imports `xent/worker`.

import { importsOf, type Kernel } from "../abi.ts";
import { fail, inside, SPIN_INSIDE_MS, SPIN_OUTSIDE_MS, spin, type Thread, WORD, work } from "./work.ts";

/** What the pool tells a worker to begin with. */
export interface Start {
  readonly memory: WebAssembly.Memory;
  readonly module: WebAssembly.Module;
  readonly index: number;
  /** The words that all threads share: their address, and how many there are. */
  readonly words: number;
  readonly count: number;
  /** Address of the worker's scratch memory. */
  readonly scratch: number;
}

/** What a worker tells the pool. */
export type Message = "ready" | "done";

interface Port {
  postMessage(message: Message): void;
  once?(event: "message", listener: (start: Start) => void): void;
  onmessage?: ((event: { data: Start }) => void) | null;
}

const port: Port =
  (globalThis as { process?: NodeProcess }).process?.getBuiltinModule?.("node:worker_threads")?.parentPort ??
  (globalThis as unknown as Port);

interface NodeProcess {
  getBuiltinModule?(name: "node:worker_threads"): { parentPort: Port | null } | undefined;
}

if (port.once) port.once("message", serve);
else port.onmessage = ({ data }) => serve(data);

function serve({ memory, module, index, words: address, count, scratch }: Start): void {
  const words = new Int32Array(memory.buffer, address, count);
  const thread: Thread = {
    kernel: new WebAssembly.Instance(module, importsOf(memory)).exports as unknown as Kernel,
    memory,
    index,
    words,
    scratch,
    wait: (word, value) => {
      if (!spin(words, word, value, SPIN_INSIDE_MS)) Atomics.wait(words, word, value, 100);
    },
  };
  let seen = Atomics.load(words, WORD.epoch);
  port.postMessage("ready");
  for (;;) {
    if (!spin(words, WORD.epoch, seen, SPIN_OUTSIDE_MS)) Atomics.wait(words, WORD.epoch, seen);
    seen = Atomics.load(words, WORD.epoch);
    // First in, then look: a caller that has closed the gate either sees this thread inside, or this thread sees the gate.
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
