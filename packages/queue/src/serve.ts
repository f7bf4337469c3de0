import { DelayedError, type Processor, UnrecoverableError, Worker } from "bullmq";
import { assertName, assertReachable, Connections, LOST, TASK, within } from "./connection.ts";

/** Options of {@link serve}. */
export interface ServeOptions<T, R> {
  /** redis://host:port */
  readonly url: string;
  /** The name of the queue. No ":". */
  readonly name: string;
  /**
   * Validates and converts the JSON of a task. If it throws, the task fails for good. Default: any JSON is a task, from
   * any process that can write to Redis.
   */
  readonly read?: (data: unknown) => T;
  /**
   * Computes a task. The result is kept as JSON. It must let the event loop run, or the task counts as abandoned, and it should throw
   * soon after the signal aborts.
   */
  readonly compute: (data: T, task: { readonly id: string; progress(progress: object): void }) => Promise<R>;
  /** Whether another attempt is useless after this error. */
  readonly isFinal?: (error: unknown) => boolean;
  /** Ends the worker. Its current task returns to the queue for another worker. */
  readonly signal: AbortSignal;
  readonly onTask?: (id: string, error: Error | undefined) => void;
  /** Called when Redis is away or refuses a command. The worker tries again until the signal aborts. */
  readonly onTrouble?: (error: Error) => void;
}

/** A worker without a sign of life for this long counts as dead, and another one gets its task. */
const LOCK_MS = 10_000;
/** The interval of attempts after Redis has refused a command. */
const RETRY_MS = 1000;
/** The number of workers that may die in the middle of a task before it counts as the cause. */
const MOST_DEATHS = 5;

/**
 * Computes tasks, one at a time, until the signal aborts. Redis must run at the start, or this rejects with `QueueError`. If it goes away
 * later, the worker waits for it.
 */
export async function serve<T, R>(options: ServeOptions<T, R>): Promise<void> {
  const { url, name, read = (data) => data as T, compute, isFinal = () => false, signal, onTask, onTrouble } = options;
  assertName(name);
  await assertReachable(url);
  if (signal.aborted) return;
  const connections = new Connections(url);
  const process: Processor<unknown, R> = async (job, token) => {
    const id = job.id as string;
    if (job.name !== TASK) throw new UnrecoverableError(LOST);
    // BullMQ's own timer never ends if Redis goes away while a worker closes.
    const alive = setInterval(() => void job.extendLock(token as string, LOCK_MS).catch(() => {}), LOCK_MS / 2);
    // Lost progress does not fail a task.
    const progress = (value: object): void => void job.updateProgress(value).catch(() => {});
    try {
      const result = await compute(readTask(read, job.data), { id, progress });
      onTask?.(id, undefined);
      return result;
    } catch (error) {
      if (signal.aborted) {
        // The task returns to the queue, and this does not count as an attempt.
        await job.moveToDelayed(Date.now(), token);
        throw new DelayedError();
      }
      onTask?.(id, error as Error);
      const message = error instanceof Error ? error.message : String(error);
      throw error instanceof NoTaskError || isFinal(error) ? new UnrecoverableError(message) : new Error(message);
    } finally {
      clearInterval(alive);
    }
  };
  try {
    const worker = connections.use(
      (connection) =>
        new Worker<unknown, R>(name, process, {
          ...{ connection, skipVersionCheck: true, autorun: false },
          lockDuration: LOCK_MS,
          skipLockRenewal: true,
          runRetryDelay: RETRY_MS,
          stalledInterval: LOCK_MS / 2,
          maxStalledCount: MOST_DEATHS,
        }),
    );
    worker.on("error", (error) => onTrouble?.(error));
    const aborted = new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
    const running = async (): Promise<void> => {
      while (!signal.aborted) {
        // BullMQ's worker ends if its connection is cut while it starts.
        await worker.run().catch((error: Error) => onTrouble?.(error));
        await within(RETRY_MS, aborted);
      }
    };
    void running();
    await aborted;
  } finally {
    // Without Redis, the task cannot be returned: its lock expires, and another worker takes it.
    await connections.end();
  }
}

/** The data of a task is invalid. */
class NoTaskError extends Error {}

function readTask<T>(read: (data: unknown) => T, data: unknown): T {
  try {
    return read(data);
  } catch (error) {
    throw new NoTaskError(error instanceof Error ? error.message : String(error));
  }
}
