import { type Kernel, type Runs, SCRATCH_BYTES } from "../abi.ts";
import { WorkerError, wrongType } from "../errors.ts";
import { type Extent, type Schedule, schedule } from "./schedule.ts";
import { keepAlive, listen, mayWait, type PoolWorker, spawn } from "./spawn.ts";
import {
  begin,
  fail,
  failure,
  inside,
  isDone,
  SPIN_INSIDE_MS,
  spin,
  type Thread,
  WORD,
  wordsOf,
  work,
} from "./work.ts";
import type { Addition, Start } from "./worker.ts";

/** The parts of a pool. */
export interface PoolSpec {
  readonly memory: WebAssembly.Memory;
  readonly module: WebAssembly.Module;
  readonly kernel: Kernel;
  /** Address of the calling thread's scratch memory. */
  readonly scratch: number;
  /** Allocates zeroed memory that is never freed. */
  readonly allocate: (bytes: number) => number;
  readonly threads: number;
  readonly createWorker: (() => PoolWorker) | undefined;
}

interface Member {
  readonly index: number;
  readonly worker: PoolWorker;
  readonly ready: Promise<void>;
}

/** An asynchronous job. */
interface Pending {
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
  readonly watch: ReturnType<typeof setInterval>;
}

/** A worker that has not answered after this time has failed to start. */
const START_MS = 30_000;
/** A worker may end without notice. It counts as lost after this many waits without progress. */
const WAIT_MS = 100;
const PATIENCE = 50;
/** 100 ns: many times what a class of the plain loss takes. */
const WAITS_OF_A_CLASS = 1e-7 / (WAIT_MS / 1000);

/**
 * Workers over one shared memory. They sleep until there is a job, take its items until none is left, and sleep again. They enter
 * through a gate: once it is closed and those inside have left, no thread touches the job.
 */
export class Pool {
  /** The number of thread indices. */
  readonly slots: number;
  readonly #memory: WebAssembly.Memory;
  readonly #words: Int32Array;
  /** The calling thread; undefined if it may not block. */
  readonly #own: Thread | undefined;
  #members: Member[] = [];
  #pending: Pending | undefined;
  #lost: WorkerError | undefined;
  #closed = false;
  /** The items done at the last check, the number of waits since then, and its limit. */
  #progress = { done: 0, waits: 0, patience: PATIENCE };

  private constructor(slots: number, memory: WebAssembly.Memory, words: Int32Array, own: Thread | undefined) {
    this.slots = slots;
    this.#memory = memory;
    this.#words = words;
    this.#own = own;
  }

  /** Starts all workers. If one of them does not start, ends the others and throws Error. */
  static async start(spec: PoolSpec): Promise<Pool> {
    const { memory, module, kernel, scratch, threads, createWorker } = spec;
    const slots = threads + 1;
    const count = wordsOf(slots);
    const address = spec.allocate(4 * count);
    const places = Array.from({ length: threads }, () => ({ scratch: spec.allocate(SCRATCH_BYTES) }));
    const words = new Int32Array(memory.buffer, address, count);
    const own: Thread = {
      kernel,
      kernels: [kernel],
      memory,
      index: 0,
      words,
      scratch,
      wait: (word, value) => {
        if (spin(words, word, value, SPIN_INSIDE_MS)) return;
        if (Atomics.wait(words, word, value, WAIT_MS) === "timed-out") pool.#assertProgress();
      },
    };
    const pool = new Pool(slots, memory, words, mayWait(words) ? own : undefined);
    const workers: PoolWorker[] = [];
    try {
      for (const [i, place] of places.slice(pool.#own ? 1 : 0).entries()) {
        const worker = makeWorker(createWorker);
        workers.push(worker);
        pool.#members.push(
          pool.#member(worker, createWorker !== undefined, {
            memory,
            module,
            words: address,
            count,
            index: i + 1,
            ...place,
          }),
        );
      }
      await Promise.all(pool.#members.map(({ ready }) => ready));
    } catch (error) {
      for (const worker of workers) worker.terminate();
      throw error;
    }
    return pool;
  }

  #member(worker: PoolWorker, isOwn: boolean, start: Start): Member {
    let started = false;
    const ready = new Promise<void>((resolve, reject) => {
      const failed = (why: string): void => {
        clearTimeout(timer);
        reject(notStarted(why, isOwn));
      };
      const begun = (): void => {
        started = true;
        clearTimeout(timer);
        keepAlive(worker, false);
        resolve();
      };
      const timer = setTimeout(failed, START_MS, `no answer in ${START_MS / 1000} s`);
      listen(
        worker,
        () => (started ? this.#settle() : begun()),
        (why) => (started ? this.#remove(start.index, why) : failed(why)),
      );
      try {
        worker.postMessage(start);
      } catch (error) {
        failed(String(error));
      }
    });
    // Handle the rejection here, because nothing awaits this promise if another worker has failed before.
    ready.catch(() => {});
    return { index: start.index, worker, ready };
  }

  /** Threads that a run uses. */
  get threads(): number {
    return this.#members.length + (this.#own ? 1 : 0);
  }

  /** All present and later threads have indices below this. */
  get indices(): number {
    return 1 + Math.max(0, ...this.#members.map(({ index }) => index));
  }

  /** Sends every thread another kernel, and returns its number for jobs. A busy thread receives it later. */
  add(module: WebAssembly.Module, kernel: Runs): number {
    const words = this.#words;
    this.#own?.kernels.push(kernel);
    for (const { worker } of this.#members) worker.postMessage({ added: module } satisfies Addition);
    const number = Atomics.add(words, WORD.kernels, 1) + 1;
    Atomics.add(words, WORD.epoch, 1);
    Atomics.notify(words, WORD.epoch);
    return number;
  }

  /** The schedule of a job, if threads pay off: for {@link run} if this thread `waits`, else for {@link runAsync}. */
  schedule(extent: Extent, waits: boolean): Schedule | undefined {
    if (!waits) return schedule(extent, this.#members.length, 1);
    return this.#own && !this.#pending ? schedule(extent, this.threads, 2) : undefined;
  }

  /** Throws WorkerError if a lost worker may still be writing. */
  assertAlive(): void {
    if (this.#lost) throw this.#lost;
  }

  /** Computes the job with this record on this thread and the workers, and waits for them. Throws WorkerError if a worker fails. */
  run(schedule: Schedule, job: number): void {
    const own = this.#own;
    if (own === undefined) throw new Error("unreachable: there is no schedule for a thread that may not wait");
    const words = this.#words;
    this.#open(schedule, job, schedule.threads - 1, false);
    let mine: unknown;
    try {
      work(own);
    } catch (error) {
      fail(words, 0, error);
      mine = error;
    }
    Atomics.store(words, WORD.open, 0);
    if (!this.#lost) {
      for (const { index } of this.#members) {
        while (Atomics.load(words, inside(index)) === 1) own.wait(inside(index), 1);
      }
    }
    if (mine !== undefined) throw mine;
    if (words[WORD.failed] !== 0) throw this.#failure();
  }

  /** Like {@link run}, but on the workers only and without blocking. One job at a time. */
  runAsync(schedule: Schedule, job: number): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#pending = { resolve, reject, watch: setInterval(() => this.#watch(), WAIT_MS) };
      for (const { worker } of this.#members) keepAlive(worker, true);
      this.#open(schedule, job, schedule.threads, true);
    });
  }

  /** Ends the workers. A job in progress is abandoned: its promise rejects once no worker is inside. */
  dispose(): void {
    this.#closed = true;
    if (this.#pending) {
      fail(this.#words, 0, "disposed");
      this.#settle();
    } else {
      this.#terminate();
    }
  }

  #open(schedule: Schedule, job: number, workers: number, tell: boolean): void {
    const words = this.#words;
    begin(words, job, schedule, tell);
    this.#progress = { done: 0, waits: 0, patience: PATIENCE + schedule.longest * WAITS_OF_A_CLASS };
    Atomics.store(words, WORD.open, 1);
    Atomics.add(words, WORD.epoch, 1);
    Atomics.notify(words, WORD.epoch, workers);
  }

  /** Settles an asynchronous job once it is done and all workers have left it. */
  #settle(): void {
    const pending = this.#pending;
    const words = this.#words;
    const failed = Atomics.load(words, WORD.failed) !== 0;
    if (!pending || !(failed || isDone({ words, memory: this.#memory }))) return;
    Atomics.store(words, WORD.open, 0);
    if (this.#members.some(({ index }) => Atomics.load(words, inside(index)) === 1)) {
      setTimeout(() => this.#settle(), 1);
      return;
    }
    this.#finish(pending);
    if (this.#closed) {
      this.#terminate();
      pending.reject(new TypeError("this Xent was disposed in the middle of a job"));
    } else if (failed) pending.reject(this.#failure());
    else pending.resolve();
  }

  #finish({ watch }: Pending): void {
    this.#pending = undefined;
    clearInterval(watch);
    for (const { worker } of this.#members) keepAlive(worker, false);
  }

  #watch(): void {
    try {
      this.#assertProgress();
    } catch (error) {
      const pending = this.#pending;
      if (!pending) return;
      this.#finish(pending);
      pending.reject(error as Error);
    }
  }

  #assertProgress(): void {
    const done = Atomics.load(this.#words, WORD.done);
    const progress = this.#progress;
    if (done !== progress.done) {
      progress.done = done;
      progress.waits = 0;
    } else if (++progress.waits > progress.patience) {
      fail(this.#words, 0, "lost");
      this.#lost = new WorkerError(
        `a worker of the pool has not answered in the middle of a job for ${(progress.waits * WAIT_MS) / 1000} s: its results are undefined. Since it may still write, this instance can not go on: dispose it, and create another`,
        false,
      );
      this.#terminate();
      throw this.#lost;
    }
  }

  /** Handles the end of a worker. */
  #remove(index: number, why: string): void {
    const words = this.#words;
    const gone = this.#members.find((member) => member.index === index);
    if (!gone) return;
    gone.worker.terminate();
    this.#members = this.#members.filter((member) => member !== gone);
    const wasInside = Atomics.exchange(words, inside(index), 0) === 1;
    if (this.#pending && (wasInside || this.#members.length === 0)) fail(words, index, why);
    this.#settle();
  }

  #failure(): WorkerError {
    const threads = `${this.threads} thread${this.threads === 1 ? "" : "s"}`;
    return new WorkerError(
      `a worker of the pool failed in the middle of a job, whose results are undefined: ${failure(this.#words)}. This instance can go on, with ${threads}`,
      true,
    );
  }

  #terminate(): void {
    for (const { worker } of this.#members) worker.terminate();
    this.#members = [];
  }
}

/** {@link PoolSpec.createWorker} returned something that is not a worker. */
export class NoWorker extends TypeError {
  override readonly name = "TypeError";
}

function makeWorker(createWorker: (() => PoolWorker) | undefined): PoolWorker {
  let worker: PoolWorker;
  try {
    worker = (createWorker ?? spawn)();
  } catch (cause) {
    throw notStarted(String(cause), createWorker !== undefined, cause);
  }
  if (typeof worker?.postMessage !== "function" || typeof worker.terminate !== "function") {
    throw new NoWorker(wrongType("createWorker", "a function that makes a worker", worker).message);
  }
  return worker;
}

function notStarted(why: string, isOwn: boolean, cause?: unknown): Error {
  const hint = isOwn
    ? 'What createWorker makes must import "xent/worker"'
    : "Where a Content-Security-Policy forbids workers from blob:, give createWorker; Node.js with --permission needs --allow-worker";
  return new Error(`a worker of the pool did not start: ${why.replace(/\.$/, "")}. ${hint}`, { cause });
}
