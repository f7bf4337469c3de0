import { type Job, Queue, QueueEvents } from "bullmq";
import type { Redis } from "ioredis";
import { assertName, assertReachable, Connections, LOST, QueueError, queueError, TASK, within } from "./connection.ts";

/** Something to compute. */
export interface Task<T> {
  /** Two tasks with the same one are the same task, now and in a later run. Without ":", and no number. */
  readonly id: string;
  /** What a worker needs to know, as JSON. */
  readonly data: T;
}

/** How tasks are collected. */
export interface CollectOptions<T, R = unknown> {
  /** redis://host:port */
  readonly url: string;
  /** The queue's, which the workers have, too. Without ":". */
  readonly name: string;
  readonly tasks: readonly Task<T>[];
  /**
   * What is to be made of the JSON that a worker has answered. Throws for what is no result: that is taken out of Redis, and the
   * task computed again. Default: it is taken as it is.
   */
  readonly read?: (value: unknown, id: string) => R;
  /** How often a task is tried. Default 3. A worker that dies does not count. */
  readonly attempts?: number;
  readonly signal?: AbortSignal;
  /** A task is done. */
  readonly onResult?: (id: string) => void;
  /** Is called once, some seconds after the beginning, if no worker has begun with any of the tasks. */
  readonly onWaiting?: () => void;
  /** What a worker says of a task in the middle of it. */
  readonly onProgress?: (id: string, progress: unknown) => void;
}

const AT_ONCE = 500;
/** Redis is asked for what is missing this often, and for no more than so many tasks a second. */
const SWEEP_MS = 500;
const ASKED_PER_SECOND = 4000;
/** How often it is asked whether it still takes what is written, and whether it has lost a task of which it has a part. */
const CHECK_MS = 3000;
/** So long Redis may take to forget tasks. */
const FORGET_MS = 20_000;

/**
 * Puts tasks onto the queue and waits for their results: one for each task, by its id. A run that was broken off is taken up by another one with the same
 * tasks: what is done is not done again, until {@link forget}. Tasks that Redis has lost, in a restart or for want of memory, are
 * put onto the queue once more.
 *
 * Rejects with {@link QueueError} where there is no Redis, where it refuses what is written, or where a task fails each time; with
 * the signal's reason where that aborts. The tasks stay on the queue then.
 */
export async function collect<T extends object, R>(options: CollectOptions<T, R>): Promise<ReadonlyMap<string, R>> {
  const { url, name, tasks, signal } = options;
  assertName(name);
  for (const { id } of tasks) assertId(id);
  await unlessAborted(signal, assertReachable(url));
  const connections = new Connections(url);
  try {
    // BullMQ's check of the version would give all up where a connection is cut as it begins.
    const redis = connections.open();
    const queue = connections.use((connection) => new Queue(name, { connection, skipVersionCheck: true }));
    const events = connections.use((connection) => new QueueEvents(name, { connection, skipVersionCheck: true }));
    return await new Collection(options, redis, queue, events).run();
  } catch (error) {
    throw signal?.aborted ? signal.reason : queueError(url, error);
  } finally {
    await connections.end();
  }
}

/** One call of {@link collect}. */
class Collection<T extends object, R> {
  readonly #options: CollectOptions<T, R>;
  readonly #redis: Redis;
  readonly #queue: Queue;
  readonly #events: QueueEvents;
  readonly #missing: Map<string, Task<T>>;
  readonly #results = new Map<string, R>();
  /** How often a task was answered by what is no result. */
  readonly #bad = new Map<string, number>();
  readonly #attempts: number;

  constructor(options: CollectOptions<T, R>, redis: Redis, queue: Queue, events: QueueEvents) {
    this.#options = options;
    this.#redis = redis;
    this.#queue = queue;
    this.#events = events;
    this.#attempts = options.attempts ?? 3;
    this.#missing = new Map(options.tasks.map((task) => [task.id, task]));
    // Redis is away: commands wait until it is back.
    queue.on("error", () => {});
    events.on("error", () => {});
    // What is no result here is looked after by the next sweep.
    events.on("completed", ({ jobId, returnvalue }) => void this.#take(jobId, returnvalue));
    events.on("progress", ({ jobId, data }) => {
      if (this.#missing.has(jobId)) options.onProgress?.(jobId, data);
    });
  }

  async run(): Promise<ReadonlyMap<string, R>> {
    const { signal, onWaiting } = this.#options;
    await unlessAborted(signal, this.#events.waitUntilReady());
    await unlessAborted(signal, this.#sweep(true));
    let checked = performance.now();
    let isWaiting = true;
    while (this.#missing.size > 0) {
      await unlessAborted(signal, pause(Math.max(SWEEP_MS, (1000 * this.#missing.size) / ASKED_PER_SECOND)));
      await unlessAborted(signal, this.#sweep(false));
      if (performance.now() - checked < CHECK_MS) continue;
      await unlessAborted(signal, this.#check());
      if (isWaiting && this.#results.size === 0 && !(await unlessAborted(signal, this.#hasBegun()))) onWaiting?.();
      isWaiting = false;
      checked = performance.now();
    }
    return this.#results;
  }

  /** Why it is no result, if it is none. */
  #take(id: string, value: unknown): Error | undefined {
    if (!this.#missing.has(id)) return undefined;
    const { read = (value) => value as R, onResult } = this.#options;
    try {
      this.#results.set(id, read(value, id));
    } catch (error) {
      return error as Error;
    }
    this.#missing.delete(id);
    onResult?.(id);
    return undefined;
  }

  /** Looks after the tasks that are missing. `again`: those that have failed before this run are tried again. */
  async #sweep(again: boolean): Promise<void> {
    const all = [...this.#missing.values()];
    for (let begin = 0; begin < all.length; begin += AT_ONCE) {
      this.#options.signal?.throwIfAborted();
      const some = all.slice(begin, begin + AT_ONCE);
      const isLost = await Promise.all(some.map((task) => this.#isLost(task, again)));
      await this.#add(some.filter((_, i) => isLost[i]));
    }
  }

  async #isLost({ id }: Task<T>, again: boolean): Promise<boolean> {
    const job = await this.#job(id);
    if (job === undefined) return true;
    if (job.name !== TASK) {
      await this.#queue.remove(id);
      return true;
    }
    if (job.finishedOn === undefined) return false;
    // One that has failed at first says so, though it is completed.
    const state = await job.getState();
    if (state === "completed") {
      const reason = this.#take(id, job.returnvalue);
      if (reason === undefined) return false;
      this.#countBad(id, reason);
    } else if (state === "failed") {
      if (!again && job.failedReason !== LOST)
        throw new QueueError(job.failedReason || `task ${id} has failed, and Redis no longer knows why`);
    } else if (state !== "unknown") return false;
    await this.#queue.remove(id);
    return true;
  }

  /** Undefined where there is none, or no whole one. */
  async #job(id: string): Promise<Job | undefined> {
    try {
      return await this.#queue.getJob(id);
    } catch (error) {
      if (!isDamage(error)) throw error;
      await this.#redis.del(this.#queue.toKey(id));
      return undefined;
    }
  }

  #countBad(id: string, reason: Error): void {
    const times = (this.#bad.get(id) ?? 0) + 1;
    this.#bad.set(id, times);
    if (times > this.#attempts) {
      throw new QueueError(`task ${id} was answered ${times} times by what is no result: ${reason.message}`);
    }
  }

  async #add(wanted: readonly Task<T>[]): Promise<void> {
    if (wanted.length === 0) return;
    const backoff = { type: "exponential", delay: 1000 };
    const opts = { attempts: this.#attempts, backoff, removeOnComplete: false, removeOnFail: false };
    await this.#queue.addBulk(wanted.map(({ id, data }) => ({ name: TASK, data, opts: { ...opts, jobId: id } })));
  }

  /** Whether a worker has one of the tasks. */
  async #hasBegun(): Promise<boolean> {
    const active = await this.#queue.getRanges(["active"]);
    return active.some((id) => this.#missing.has(id));
  }

  /** A Redis that is full or has become a replica says so; one that was full may have thrown away where a task stands. */
  async #check(): Promise<void> {
    await this.#redis.set(this.#queue.toKey("xent-queue:asked"), Date.now(), "PX", 60_000);
    const known = new Set(await this.#queue.getRanges(["waiting", "active", "delayed", "prioritized"]));
    for (const task of [...this.#missing.values()]) {
      if (known.has(task.id)) continue;
      // It may have gone from one list to another in between.
      if ((await this.#queue.getJobState(task.id)) !== "unknown") continue;
      await this.#queue.remove(task.id);
      await this.#add([task]);
    }
  }
}

/** Takes tasks and their results out of Redis: another run computes them again. */
export async function forget({
  url,
  name,
  tasks,
}: Pick<CollectOptions<object>, "url" | "name" | "tasks">): Promise<void> {
  assertName(name);
  await assertReachable(url);
  const connections = new Connections(url);
  const removeAll = async (): Promise<void> => {
    const queue = connections.use((connection) => new Queue(name, { connection, skipVersionCheck: true }));
    queue.on("error", () => {});
    for (let begin = 0; begin < tasks.length; begin += AT_ONCE) {
      await Promise.all(tasks.slice(begin, begin + AT_ONCE).map(({ id }) => queue.remove(id)));
    }
  };
  try {
    if (!(await within(FORGET_MS, removeAll()))) throw new Error(`no answer within ${FORGET_MS / 1000} s`);
  } catch (error) {
    throw queueError(url, error);
  } finally {
    await connections.end();
  }
}

/** Of what is in Redis, not of Redis. */
function isDamage(error: unknown): boolean {
  return error instanceof SyntaxError || (error instanceof Error && error.message.startsWith("WRONGTYPE"));
}

function assertId(id: unknown): void {
  if (typeof id !== "string" || id === "" || id.includes(":") || /^\d+$/.test(id)) {
    throw new QueueError(`the id of a task is some text without ":", and no number, got ${JSON.stringify(id)}`);
  }
}

function pause(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}

/** Redis may be away for long: an abort does not wait for it. */
function unlessAborted<T>(signal: AbortSignal | undefined, promise: Promise<T>): Promise<T> {
  if (signal === undefined) return promise;
  return new Promise((resolve, reject) => {
    const abort = (): void => reject(signal.reason);
    if (signal.aborted) abort();
    signal.addEventListener("abort", abort);
    promise.then(resolve, reject).finally(() => signal.removeEventListener("abort", abort));
  });
}
