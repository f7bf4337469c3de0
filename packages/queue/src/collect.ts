import { type Job, Queue, QueueEvents } from "bullmq";
import { assertReachable, closeAll, connectionOf, QueueError } from "./connection.ts";

/** Something to compute. */
export interface Task<T> {
  /** Two tasks with the same one are the same task, now and in a later run. Without ":". */
  readonly id: string;
  /** What a worker needs to know, as JSON. */
  readonly data: T;
}

/** How tasks are collected. */
export interface CollectOptions<T> {
  /** redis://host:port */
  readonly url: string;
  /** The queue's, which the workers have, too. */
  readonly name: string;
  readonly tasks: readonly Task<T>[];
  /** How often a task is tried. Default 3. A worker that dies does not count. */
  readonly attempts?: number;
  readonly signal?: AbortSignal;
  /** A task is done. */
  readonly onResult?: (id: string) => void;
  /** What a worker says of a task in the middle of it. */
  readonly onProgress?: (id: string, progress: unknown) => void;
}

const AT_ONCE = 500;
/** Redis is asked for what is missing this often, and for no more than so many tasks a second. */
const SWEEP_MS = 500;
const ASKED_PER_SECOND = 4000;

/**
 * Puts tasks onto the queue and waits for their results: one for each task, by its id. A run that was broken off is taken up by another one with the same
 * tasks: what is done is not done again, until {@link forget}. Tasks that Redis has lost in a restart are put onto the queue once more.
 *
 * Rejects with {@link QueueError} where there is no Redis, or where a task fails each time; with the signal's reason where that
 * aborts. The tasks stay on the queue then.
 */
export async function collect<T extends object, R>(options: CollectOptions<T>): Promise<ReadonlyMap<string, R>> {
  const { url, name, tasks, signal, onResult, onProgress } = options;
  await assertReachable(url);
  const connection = connectionOf(url);
  const queue = new Queue(name, { connection });
  const events = new QueueEvents(name, { connection });
  // Redis is away: commands wait until it is back.
  queue.on("error", () => {});
  events.on("error", () => {});
  const missing = new Map(tasks.map((task) => [task.id, task]));
  const results = new Map<string, R>();
  const take = (id: string, result: R): void => {
    if (!missing.delete(id)) return;
    results.set(id, result);
    onResult?.(id);
  };
  events.on("completed", ({ jobId, returnvalue }) => take(jobId, returnvalue as R));
  events.on("progress", ({ jobId, data }) => {
    if (missing.has(jobId)) onProgress?.(jobId, data);
  });
  const add = (wanted: readonly Task<T>[]): Promise<unknown> => {
    const backoff = { type: "exponential", delay: 1000 };
    const opts = { attempts: options.attempts ?? 3, backoff, removeOnComplete: false, removeOnFail: false };
    return queue.addBulk(wanted.map(({ id, data }) => ({ name: "task", data, opts: { ...opts, jobId: id } })));
  };
  /** Looks after tasks. `again`: those that have failed before this run are tried again. */
  const look = async (some: readonly Task<T>[], again: boolean): Promise<void> => {
    const jobs = await Promise.all(some.map(({ id }) => queue.getJob(id) as Promise<Job | undefined>));
    const lost: Task<T>[] = [];
    for (const [i, task] of some.entries()) {
      const job = jobs[i];
      if (job === undefined) lost.push(task);
      else if (job.finishedOn === undefined) continue;
      // One that has failed at first says so, though it is completed.
      else if (await job.isCompleted()) take(task.id, job.returnvalue as R);
      else if (!again) throw new QueueError(job.failedReason);
      else {
        await job.remove();
        lost.push(task);
      }
    }
    if (lost.length > 0) await add(lost);
  };
  const sweep = async (again: boolean): Promise<void> => {
    const all = [...missing.values()];
    for (let begin = 0; begin < all.length; begin += AT_ONCE) {
      signal?.throwIfAborted();
      await look(all.slice(begin, begin + AT_ONCE), again);
    }
  };
  try {
    await unlessAborted(signal, events.waitUntilReady());
    await unlessAborted(signal, sweep(true));
    while (missing.size > 0) {
      await unlessAborted(signal, pause(Math.max(SWEEP_MS, (1000 * missing.size) / ASKED_PER_SECOND)));
      await unlessAborted(signal, sweep(false));
    }
    return results;
  } finally {
    await closeAll([events, queue]);
  }
}

/** Takes tasks and their results out of Redis: another run computes them again. */
export async function forget({
  url,
  name,
  tasks,
}: Pick<CollectOptions<object>, "url" | "name" | "tasks">): Promise<void> {
  await assertReachable(url);
  const queue = new Queue(name, { connection: connectionOf(url) });
  queue.on("error", () => {});
  try {
    for (let begin = 0; begin < tasks.length; begin += AT_ONCE) {
      await Promise.all(tasks.slice(begin, begin + AT_ONCE).map(({ id }) => queue.remove(id)));
    }
  } finally {
    await closeAll([queue]);
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
