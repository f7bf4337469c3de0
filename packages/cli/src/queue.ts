import { stat } from "node:fs/promises";
import { hostname } from "node:os";
import { createXent, type Variant, WorkerError, type Xent } from "xent";
import { contentOf } from "./content.ts";
import { badData, badFile, badUsage, Failure } from "./failure.ts";
import {
  assertAlike,
  type Closers,
  closing,
  evaluateFile,
  type FileFlags,
  type FilePair,
  type FileResult,
  instance,
} from "./files.ts";
import { shardsBar } from "./progress.ts";
import { queueUrl } from "./queue-url.ts";
import { Root } from "./root.ts";
import { filesOf, readResult, readTask, resultOf, type TaskData, type TaskResult, taskOf } from "./task.ts";
import { dimError } from "./terminal.ts";
import { visible } from "./visible.ts";

export interface QueueFlags extends FileFlags {
  readonly queueName: string;
  readonly verify?: true;
}

/** The results of the workers. They stay in Redis until `forget`. */
export interface Collected {
  readonly results: FileResult[];
  readonly variant: string;
  forget(): Promise<void>;
}

/** Lets workers evaluate the files. */
export async function evaluateOnQueue(
  all: readonly FilePair[],
  flags: QueueFlags,
  url: string,
  signal: AbortSignal,
): Promise<Collected> {
  const { assertReachable, collect, forget } = await library();
  const name = flags.queueName;
  await expected(assertReachable(url));
  const variant = await variantOf(flags.variant);
  const tasks = await tasksOf(all, { ...flags, variant }, signal);
  const told = new Map(tasks.map(({ id, data }) => [id, data]));
  const read = (value: unknown, id: string): FileResult => readResult(value, id, told.get(id) as TaskData);
  const progress = shardsBar(tasks.length);
  const [onResult, onProgress] = [progress.done, progress.update];
  const onWaiting = (): void => progress.say(`xent: no worker has begun yet: waiting for xent work at ${name}`);
  try {
    const queue = { url, name, tasks };
    const found = await expected(
      collect<TaskData, FileResult>({ ...queue, read, signal, onResult, onProgress, onWaiting }),
    );
    const results = tasks.map(({ id }) => found.get(id) as FileResult);
    for (const other of results) assertAlike(results[0] as FileResult, other);
    return { results, variant, forget: () => forget(queue) };
  } finally {
    progress.stop();
  }
}

/** Opens one file at a time, and reads a file that several pairs name only once. */
async function tasksOf(all: readonly FilePair[], flags: QueueFlags, signal: AbortSignal) {
  const { verify = false } = flags;
  const seen = new Map<string, [Awaited<ReturnType<typeof contentOf>>, number]>();
  const tasks: { id: string; data: TaskData }[] = [];
  for (const pair of all) {
    const files = filesOf({ pair, flags });
    for (const path of files) {
      if (seen.has(path)) continue;
      const content = await contentOf(path, verify, signal);
      seen.set(path, [content, (await stat(path)).mtimeMs]);
    }
    const known = files.map((path) => seen.get(path) as [Awaited<ReturnType<typeof contentOf>>, number]);
    const [contents, times] = [known.map(([content]) => content), known.map(([, time]) => time)];
    tasks.push(taskOf(pair, flags, contents, times, verify));
  }
  return tasks;
}

export interface WorkFlags {
  readonly queue?: string | true;
  readonly queueName: string;
  readonly threads: number | "auto";
  readonly root?: string;
}

/** Evaluates the files of a queue until the signal aborts. */
export async function work({ queue, queueName, threads, root = "." }: WorkFlags, signal: AbortSignal): Promise<void> {
  const { assertReachable, serve } = await library();
  const folder = await Root.open(root);
  const url = queueUrl(queue);
  await expected(assertReachable(url));
  const say = (text: string): void => void process.stderr.write(`${dimError(visible(text))}\n`);
  await closing(async (closers) => {
    const instances = new Instances(threads, signal);
    closers.push(() => instances.dispose());
    const compute = async (task: TaskData, { id, progress }: { id: string; progress(value: object): void }) => {
      const started = performance.now();
      const check = await assertSameFiles(task, folder, signal);
      let told = started;
      const onRows = (done: number, of: number): void => {
        if (performance.now() - told < 1000) return;
        told = performance.now();
        progress({ done: done / of });
      };
      const { pair, flags } = task;
      const evaluating = async (xent: Xent) => evaluateFile(pair, flags, { xent, signal, onRows });
      // Check also after an error: results and errors must be about the file of the task.
      const result = await instances.use(flags.variant, evaluating).finally(check);
      say(`${pair.logits}: ${result.rows} rows, ${((performance.now() - started) / 1000).toFixed(2)} s`);
      return resultOf(id, result);
    };
    /** Messages since the last task: each is printed once. */
    const troubles = new Set<string>();
    const onTrouble = ({ message }: Error): void => {
      if (message !== "" && !troubles.has(message)) say(`Redis: ${message}`);
      troubles.add(message);
    };
    const onTask = (_: string, error: Error | undefined): void => {
      troubles.clear();
      if (error) say(`failed: ${error.message}`);
    };
    const isFinal = (error: unknown): boolean => error instanceof Failure;
    say(`waiting for work at ${queueName}`);
    const options = { url, name: queueName, read: readTask, compute, isFinal, signal, onTask, onTrouble };
    await expected(serve<TaskData, TaskResult>(options));
  });
}

/**
 * Throws unless the files of a task are below the root and have the content that the task states. Returns a check that throws if
 * they have changed since.
 */
async function assertSameFiles(task: TaskData, root: Root, signal: AbortSignal): Promise<() => Promise<void>> {
  const files = await Promise.all(
    filesOf(task).map(async (path) => {
      const real = await root.resolve(path).catch(atThisMachine);
      return { path, real, state: await stateOf(path, real) };
    }),
  );
  for (const [i, { path, real }] of files.entries()) {
    const { size, sha256 } = await contentOf(real, task.verify, signal).catch(atThisMachine);
    const wanted = task.contents[i];
    if (size !== wanted?.size) {
      throw elsewhere(`${path}: is another file`, `${size} bytes instead of ${wanted?.size}`);
    }
    if (sha256 !== wanted.sha256) throw elsewhere(`${path}: is another file`, `as many bytes, but others`);
  }
  return async () => {
    for (const { path, real, state } of files) {
      if ((await stateOf(path, real)) !== state) throw new Error(`${path}: has changed while it was read`);
    }
  };
}

async function stateOf(path: string, real: string): Promise<string> {
  const { dev, ino, size, mtimeNs, ctimeNs } = await stat(real, { bigint: true }).catch((cause: Error) => {
    throw badFile(path, cause);
  });
  return [dev, ino, size, mtimeNs, ctimeNs].join(" ");
}

function elsewhere(what: string, how: string): Failure {
  return badData(`${what} at ${hostname()}: ${how}`);
}

/** Adds this machine's name to an error about a file: the file may be fine on other machines. */
function atThisMachine(error: unknown): never {
  if (!(error instanceof Failure)) throw error;
  throw badData(`${error.message} (at ${hostname()})`);
}

/** More memory than tasks of the usual size need. */
const MOST_BYTES = 2 ** 28;

/** One instance for each variant that tasks ask for. */
class Instances {
  readonly #threads: number | "auto";
  readonly #signal: AbortSignal;
  readonly #made = new Map<Variant, { readonly xent: Promise<Xent>; readonly closers: Closers }>();

  constructor(threads: number | "auto", signal: AbortSignal) {
    this.#threads = threads;
    this.#signal = signal;
  }

  async use<T>(variant: Variant, run: (xent: Xent) => Promise<T>): Promise<T> {
    let isLost = true;
    try {
      const xent = await this.#get(variant);
      const result = await run(xent).catch((error) => {
        // A worker of the pool may have died.
        isLost = error instanceof WorkerError || isLarge(xent);
        throw error;
      });
      isLost = isLarge(xent);
      return result;
    } finally {
      if (isLost) await this.#forget(variant);
    }
  }

  #get(variant: Variant): Promise<Xent> {
    let made = this.#made.get(variant);
    if (made === undefined) {
      const closers: Closers = [];
      made = { xent: instance(this.#threads, variant, this.#signal, closers), closers };
      this.#made.set(variant, made);
    }
    return made.xent;
  }

  async #forget(variant: Variant): Promise<void> {
    const made = this.#made.get(variant);
    this.#made.delete(variant);
    for (const close of made?.closers ?? []) await close();
  }

  async dispose(): Promise<void> {
    for (const variant of [...this.#made.keys()]) await this.#forget(variant);
  }
}

function isLarge({ memory }: Xent): boolean {
  return memory.buffer.byteLength > MOST_BYTES;
}

/** Resolves "auto" for this process: all workers then use the same variant, and the result is that of a local run. */
async function variantOf(variant: Variant | "auto"): Promise<Variant> {
  using xent = await createXent({ variant });
  return xent.variant;
}

async function library(): Promise<typeof import("xent-queue")> {
  try {
    return await import("xent-queue");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ERR_MODULE_NOT_FOUND") throw error;
    throw badUsage("--queue needs the package xent-queue: npm install xent-queue");
  }
}

/** Turns the queue's errors into errors that the user can fix. */
async function expected<T>(promise: Promise<T>): Promise<T> {
  try {
    return await promise;
  } catch (error) {
    if (error instanceof Error && error.name === "QueueError") throw badData(error.message);
    throw error;
  }
}
