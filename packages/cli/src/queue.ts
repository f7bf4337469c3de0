import { createHash } from "node:crypto";
import { stat } from "node:fs/promises";
import { createXent, decodeTotals, encodeTotals, type Variant, type Xent } from "xent";
import { badData, badUsage, Failure } from "./failure.ts";
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
import { dim } from "./terminal.ts";

/** What a worker is told. */
interface TaskData {
  readonly pair: FilePair;
  readonly flags: FileFlags;
}

/** What it answers. */
type TaskResult = Omit<FileResult, "totals"> & { readonly totals: string };

/** Has the files evaluated by workers. */
export async function evaluateOnQueue(
  all: readonly FilePair[],
  flags: FileFlags & { readonly queueName: string },
  url: string,
  signal: AbortSignal,
): Promise<{ results: FileResult[]; variant: string }> {
  const { collect, forget } = await library();
  const variant = await variantOf(flags.variant);
  const told = { ...whatWorkersNeed(flags), variant };
  const tasks = await Promise.all(all.map(async (pair) => taskOf({ pair, flags: told })));
  const progress = shardsBar(tasks.length);
  const [onResult, onProgress] = [progress.done, progress.update];
  try {
    const queue = { url, name: flags.queueName, tasks };
    const results = await expected(collect<TaskData, TaskResult>({ ...queue, signal, onResult, onProgress }));
    const found = tasks.map(({ id }) => {
      const result = results.get(id) as TaskResult;
      return { ...result, totals: decodeTotals(Buffer.from(result.totals, "base64")) };
    });
    for (const other of found) assertAlike(found[0] as FileResult, other);
    await expected(forget(queue));
    return { results: found, variant };
  } finally {
    progress.stop();
  }
}

export interface WorkFlags {
  readonly queue: string;
  readonly queueName: string;
  readonly threads: number | "auto";
  readonly root?: string;
}

/** Evaluates files for others, until the signal aborts. */
export async function work({ queue, queueName, threads, root }: WorkFlags, signal: AbortSignal): Promise<void> {
  const { serve } = await library();
  if (root !== undefined) process.chdir(root);
  const say = (text: string): void => void process.stderr.write(`${dim(text)}\n`);
  await closing(async (closers) => {
    const instances = new Instances(threads, signal, closers);
    let rows = 0;
    const compute = async ({ pair, flags }: TaskData, { progress }: { progress(value: object): void }) => {
      const xent = await instances.get(flags.variant);
      const started = performance.now();
      let told = started;
      const onRows = (done: number, of: number): void => {
        if (performance.now() - told < 1000) return;
        told = performance.now();
        progress({ done: done / of });
      };
      try {
        const result = await evaluateFile(pair, flags, { xent, signal, onRows });
        rows = result.rows;
        say(`${pair.logits}: ${rows} rows, ${((performance.now() - started) / 1000).toFixed(2)} s`);
        return { ...result, totals: Buffer.from(encodeTotals(result.totals)).toString("base64") };
      } catch (error) {
        // A worker of the pool may be lost.
        if (!(error instanceof Failure)) instances.forget(flags.variant);
        throw error;
      }
    };
    const onTask = (_: string, error: Error | undefined): void => {
      if (error) say(`failed: ${error.message}`);
    };
    const isFinal = (error: unknown): boolean => error instanceof Failure;
    say(`waiting for work at ${queueName}`);
    await expected(serve<TaskData, TaskResult>({ url: queue, name: queueName, compute, isFinal, signal, onTask }));
  });
}

/** One for each variant that is asked for. */
class Instances {
  readonly #threads: number | "auto";
  readonly #signal: AbortSignal;
  readonly #closers: Closers;
  readonly #made = new Map<Variant | "auto", Promise<Xent>>();

  constructor(threads: number | "auto", signal: AbortSignal, closers: Closers) {
    this.#threads = threads;
    this.#signal = signal;
    this.#closers = closers;
  }

  get(variant: Variant | "auto"): Promise<Xent> {
    const made = this.#made.get(variant) ?? instance(this.#threads, variant, this.#signal, this.#closers);
    this.#made.set(variant, made);
    return made;
  }

  forget(variant: Variant | "auto"): void {
    void this.#made.get(variant)?.then(
      (xent) => xent.dispose(),
      () => {},
    );
    this.#made.delete(variant);
  }
}

/** The same task for the same files and options: what was computed of it before is not computed again. */
async function taskOf(data: TaskData): Promise<{ id: string; data: TaskData }> {
  const state = async (spec: string): Promise<unknown> => {
    // "file:name" is a member of a file.
    for (const path of [spec, spec.replace(/:[^:/\\]*$/, "")]) {
      const found = await stat(path).catch(() => undefined);
      if (found) return [found.size, found.mtimeMs];
    }
    return null;
  };
  const files = await Promise.all([data.pair.logits, data.pair.labels, data.flags.classWeights ?? ""].map(state));
  const id = createHash("sha256")
    .update(JSON.stringify([data, files]))
    .digest("hex");
  return { id, data };
}

function whatWorkersNeed(flags: FileFlags): FileFlags {
  const { labelSmoothing, zLoss, softcap, temperature, ignoreIndex, variant } = flags;
  const { classes, dtype, classWeights, shift, sequence, batchRows, strict } = flags;
  const loss = { labelSmoothing, zLoss, softcap, temperature, ignoreIndex, variant };
  const given = { ...loss, classes, dtype, classWeights, shift, sequence, batchRows, strict };
  return Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined)) as unknown as FileFlags;
}

/** "auto" is what this process would take: all workers take the same, so that the result is that of a run here. */
async function variantOf(variant: Variant | "auto"): Promise<Variant> {
  using xent = await createXent({ variant });
  return xent.variant;
}

async function library(): Promise<typeof import("xent-queue")> {
  try {
    return await import("xent-queue");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ERR_MODULE_NOT_FOUND") throw error;
    throw badUsage("--queue needs a package that is not here: npm install xent-queue");
  }
}

/** The queue's errors are the user's to mend. */
async function expected<T>(promise: Promise<T>): Promise<T> {
  try {
    return await promise;
  } catch (error) {
    if (error instanceof Error && error.name === "QueueError") throw badData(error.message);
    throw error;
  }
}
