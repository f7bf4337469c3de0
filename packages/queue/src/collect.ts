import { type Job, Queue, QueueEvents } from "bullmq";
import type { Redis } from "ioredis";
import { assertName, assertReachable, Connections, LOST, QueueError, queueError, TASK, within } from "./connection.ts";

/** A task to compute. */
export interface Task<T> {
  /** Identifies the task, now and in later runs. It must not contain ":" or be a number. */
  readonly id: string;
  /** The input of the task, as JSON. */
  readonly data: T;
}

/** Options of {@link collect}. */
export interface CollectOptions<T, R = unknown> {
  /** redis://host:port */
  readonly url: string;
  /** The name of the queue, the same for all workers. No ":". */
  readonly name: string;
  readonly tasks: readonly Task<T>[];
  /**
   * Validates and converts the JSON that a worker answers. If it throws, the answer is deleted from Redis and the task is computed
   * again. Default: any JSON is a result.
   */
  readonly read?: (value: unknown, id: string) => R;
  /** The number of attempts for a task. Default 3. An attempt whose worker dies does not count. */
  readonly attempts?: number;
  readonly signal?: AbortSignal;
  /** Called when a task is done. */
  readonly onResult?: (id: string) => void;
  /** Called once, some seconds after the start, if no worker has begun any of the tasks. */
  readonly onWaiting?: () => void;
  /** Called with the progress that a worker reports of a task. */
  readonly onProgress?: (id: string, progress: unknown) => void;
}

const AT_ONCE = 500;
/** The interval at which Redis is asked for missing results, and the most tasks to ask for in a second. */
const SWEEP_MS = 500;
const ASKED_PER_SECOND = 4000;
/** The interval at which Redis is checked for accepting writes, and for tasks that it has lost in part. */
const CHECK_MS = 3000;
/** The longest time for Redis to forget tasks. */
const FORGET_MS = 20_000;

/**
 * Puts tasks onto the queue and waits for their results: one for each task, by its id. A run with the same tasks continues an
 * interrupted one: finished tasks are not computed again until {@link forget}. Tasks that Redis has lost, in a restart or for lack of
 * memory, are put onto the queue again.
 *
 * Rejects with {@link QueueError} if Redis cannot be reached or refuses writes, or if a task fails in every attempt; rejects with the
 * signal's reason if it aborts. The tasks then stay on the queue.
 */
export async function collect<T extends object, R>(options: CollectOptions<T, R>): Promise<ReadonlyMap<string, R>> {
  const { url, name, tasks, signal } = options;
  assertName(name);
  for (const { id } of tasks) assertId(id);
  await unlessAborted(signal, assertReachable(url));
  const connections = new Connections(url);
  try {
    // BullMQ's version check would make the run fail if a connection is cut as it starts.
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
  /** The number of invalid answers of each task. */
  readonly #bad = new Map<string, number>();
  readonly #attempts: number;

  constructor(options: CollectOptions<T, R>, redis: Redis, queue: Queue, events: QueueEvents) {
    this.#options = options;
    this.#redis = redis;
    this.#queue = queue;
    this.#events = events;
    this.#attempts = options.attempts ?? 3;
    this.#missing = new Map(options.tasks.map((task) => [task.id, task]));
    // If Redis goes away, commands wait until it is back.
    queue.on("error", () => {});
    events.on("error", () => {});
    // The next sweep handles an invalid answer.
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

  /** Takes an answer as a result. Returns the error if it is invalid. */
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

  /** Takes results of missing tasks, and puts lost tasks back. `again`: also tasks that failed before this run. */
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
    // A completed job may still have the reason of an earlier failure, so ask for its state.
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

  /** The job of a task. Undefined if it does not exist or is damaged. */
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

  /** Whether a worker is computing one of the tasks. */
  async #hasBegun(): Promise<boolean> {
    const active = await this.#queue.getRanges(["active"]);
    return active.some((id) => this.#missing.has(id));
  }

  /** Throws if Redis is full or has become a replica. Puts back tasks whose place in the queue a full Redis has evicted. */
  async #check(): Promise<void> {
    await this.#redis.set(this.#queue.toKey("xent-queue:asked"), Date.now(), "PX", 60_000);
    const known = new Set(await this.#queue.getRanges(["waiting", "active", "delayed", "prioritized"]));
    for (const task of [...this.#missing.values()]) {
      if (known.has(task.id)) continue;
      // It may have moved to another list in the meantime.
      if ((await this.#queue.getJobState(task.id)) !== "unknown") continue;
      await this.#queue.remove(task.id);
      await this.#add([task]);
    }
  }
}

/** Deletes tasks and their results from Redis. A later run computes them again. */
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

/** Whether an error comes from damaged data in Redis, not from Redis itself. */
function isDamage(error: unknown): boolean {
  return error instanceof SyntaxError || (error instanceof Error && error.message.startsWith("WRONGTYPE"));
}

function assertId(id: unknown): void {
  if (typeof id !== "string" || id === "" || id.includes(":") || /^\d+$/.test(id)) {
    throw new QueueError(
      `the id of a task must be a string without ":" that is not a number, got ${JSON.stringify(id)}`,
    );
  }
}

function pause(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}

/** Rejects on an abort without waiting for the promise: Redis may be away for long. */
function unlessAborted<T>(signal: AbortSignal | undefined, promise: Promise<T>): Promise<T> {
  if (signal === undefined) return promise;
  return new Promise((resolve, reject) => {
    const abort = (): void => reject(signal.reason);
    if (signal.aborted) abort();
    signal.addEventListener("abort", abort);
    promise.then(resolve, reject).finally(() => signal.removeEventListener("abort", abort));
  });
}
