import { DelayedError, type Processor, UnrecoverableError, Worker } from "bullmq";
import { assertName, assertReachable, Connections, LOST, TASK, within } from "./connection.ts";

/** How a worker serves a queue. */
export interface ServeOptions<T, R> {
  /** redis://host:port */
  readonly url: string;
  /** The queue's. Without ":". */
  readonly name: string;
  /**
   * What is to be made of the JSON of a task. Throws for what is no task: that fails for good. Default: it is taken as it is, from
   * any process that can write to Redis.
   */
  readonly read?: (data: unknown) => T;
  /**
   * Computes a task; what it returns is kept as JSON. It must let the event loop run, or the task is taken for abandoned, and
   * should throw soon after the signal aborts.
   */
  readonly compute: (data: T, task: { readonly id: string; progress(progress: object): void }) => Promise<R>;
  /** Whether to try again is of no use after this error. */
  readonly isFinal?: (error: unknown) => boolean;
  /** Ends the worker: the task under way is given back, for another worker to take. */
  readonly signal: AbortSignal;
  readonly onTask?: (id: string, error: Error | undefined) => void;
  /** Redis is away, or refuses something: it is asked again, until the signal aborts. */
  readonly onTrouble?: (error: Error) => void;
}

/** After so long without a sign of life a worker is taken for dead, and its task given to another one. */
const LOCK_MS = 10_000;
/** How often a Redis that refuses something is asked again. */
const RETRY_MS = 1000;
/** Deaths of workers in the middle of one task, until it is taken for the cause of them. */
const MOST_DEATHS = 5;

/**
 * Computes tasks, one at a time, until the signal aborts. A Redis that goes away is waited for; it has to be there at the start:
 * else this rejects with `QueueError`.
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
    // BullMQ's own timer for this goes on for ever where Redis goes away while a worker is closed.
    const alive = setInterval(() => void job.extendLock(token as string, LOCK_MS).catch(() => {}), LOCK_MS / 2);
    // Progress that Redis misses is not worth a failure.
    const progress = (value: object): void => void job.updateProgress(value).catch(() => {});
    try {
      const result = await compute(readTask(read, job.data), { id, progress });
      onTask?.(id, undefined);
      return result;
    } catch (error) {
      if (signal.aborted) {
        // Given back, and no attempt.
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
        // A connection that is cut while it begins to run ends it.
        await worker.run().catch((error: Error) => onTrouble?.(error));
        await within(RETRY_MS, aborted);
      }
    };
    void running();
    await aborted;
  } finally {
    // Without Redis the task cannot be given back: its lock runs out there, and another worker takes it.
    await connections.end();
  }
}

/** What was to be computed is no task. */
class NoTaskError extends Error {}

function readTask<T>(read: (data: unknown) => T, data: unknown): T {
  try {
    return read(data);
  } catch (error) {
    throw new NoTaskError(error instanceof Error ? error.message : String(error));
  }
}
