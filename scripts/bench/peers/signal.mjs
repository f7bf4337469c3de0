// A fork-join of two threads through Atomics. Each looks for a moment before it sleeps: waking a thread takes as long
// as a small batch.
const LOOKS = 20_000;
const STARTED = 0;
const DONE = 1;

export class Signal {
  #cells;

  constructor(buffer = new SharedArrayBuffer(8)) {
    this.buffer = buffer;
    this.#cells = new Int32Array(buffer);
  }

  start() {
    this.#advance(STARTED);
  }

  done() {
    this.#advance(DONE);
  }

  /** Waits until another start than those that are done. */
  awaitStart() {
    this.#wait(STARTED, (started, done) => started !== done);
  }

  awaitDone() {
    this.#wait(DONE, (started, done) => started === done);
  }

  #advance(cell) {
    Atomics.add(this.#cells, cell, 1);
    Atomics.notify(this.#cells, cell);
  }

  #wait(cell, reached) {
    for (let look = 0; ; look++) {
      const started = Atomics.load(this.#cells, STARTED);
      const done = Atomics.load(this.#cells, DONE);
      if (reached(started, done)) return;
      if (look > LOOKS) Atomics.wait(this.#cells, cell, cell === STARTED ? started : done);
    }
  }
}
