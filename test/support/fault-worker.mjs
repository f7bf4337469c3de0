// A worker of the pool that fails in the first item of a job.
import { workerData } from "node:worker_threads";

const { add, wait } = Atomics;
const faults = {
  throw() {
    throw new RangeError("this is a test");
  },
  exit() {
    process.exit(7);
  },
  memory() {
    for (const all = []; ; ) all.push(new Array(1e5).fill(all.length));
  },
  // Like a thread that was killed, it ends without an event.
  silence() {
    wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
  },
};

Atomics.add = (words, word, value) => {
  // The word of the next item, as in packages/xent/src/pool/work.ts.
  if (word === 2 && Atomics.exchange(workerData.armed, 0, 0) === 1) faults[workerData.fault]();
  return add(words, word, value);
};

await import("xent/worker");
