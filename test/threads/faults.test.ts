// Workers of the pool that fail: the caller gets an error in bounded time, which tells whether the instance still works.
import { Worker } from "node:worker_threads";
import { afterEach, describe, expect, test } from "vitest";
import { type Batch, createXent, createXentSync, WorkerError, type Xent } from "xent";
import { bitsOf, EVERYTHING, exampleBatch, type RowsSpec } from "../support/example.ts";

const LARGE: RowsSpec = { rows: 600, classes: 10_000, gradient: true };
const EXAMPLE = exampleBatch(createXentSync(), LARGE);
const EXPECTED = bitsOf(EXAMPLE.run(EVERYTHING));

type Fault = "throw" | "exit" | "memory" | "silence";

/** Arms the fault of one of the workers. */
const armed = new Int32Array(new SharedArrayBuffer(4));
const instances: Xent[] = [];
afterEach(() => {
  for (const xent of instances.splice(0)) xent.dispose();
  armed[0] = 0;
});

async function withFault(fault: Fault, threads = 3): Promise<[Xent, Batch, Worker[]]> {
  const workers: Worker[] = [];
  const createWorker = (): Worker => {
    const worker = new Worker(new URL("../support/fault-worker.mjs", import.meta.url), {
      workerData: { armed, fault },
      resourceLimits: { maxOldGenerationSizeMb: 64 },
    });
    workers.push(worker);
    return worker;
  };
  const xent = await createXent({ threads, createWorker });
  instances.push(xent);
  return [xent, batchIn(xent), workers];
}

function batchIn(xent: Xent): Batch {
  const batch = xent.createBatch(LARGE);
  batch.logits.set(EXAMPLE.logits);
  batch.labels.set(EXAMPLE.labels);
  return batch;
}

async function failureOf(job: () => unknown): Promise<WorkerError> {
  try {
    await job();
  } catch (error) {
    expect(error).toBeInstanceOf(WorkerError);
    return error as WorkerError;
  }
  throw new Error("nothing has failed");
}

const GOES_ON =
  /^a worker of the pool failed in the middle of a job, whose results are undefined: .*\. This instance can continue, with \d threads?$/;

describe.each(["run", "runAsync"] as const)("in the middle of %s", (method) => {
  test("a worker that throws stays in the pool, and the error names it", async () => {
    const [xent, batch] = await withFault("throw");
    armed[0] = 1;
    const error = await failureOf(() => batch[method](EVERYTHING));
    expect(error.message).toMatch(GOES_ON);
    expect(error.message).toContain("RangeError: this is a test");
    expect(error.canContinue).toBe(true);
    expect(xent.threads).toBe(3);
    expect(bitsOf(await batch[method](EVERYTHING))).toEqual(EXPECTED);
  });

  test("a worker that vanishes without an event is noticed after seconds, and the instance stops working", async () => {
    const [xent, batch] = await withFault("silence");
    armed[0] = 1;
    const error = await failureOf(() => batch[method](EVERYTHING));
    expect(error.message).toMatch(/^a worker of the pool has not answered in the middle of a job for 5\.\d s: /);
    expect(error.canContinue).toBe(false);
    await expect(batch.runAsync()).rejects.toThrow(error);
    expect(() => xent.createBatch({ rows: 1, classes: 1 })).toThrow(error);
  });
});

describe("in the middle of runAsync", () => {
  test.each<[Fault, RegExp]>([
    ["exit", /: it ended with code 7\. /],
    ["memory", /out of memory/i],
  ])("the others continue after a worker ends by %s", async (fault, why) => {
    const [xent, batch, workers] = await withFault(fault);
    armed[0] = 1;
    const error = await failureOf(() => batch.runAsync(EVERYTHING));
    expect(error.message).toMatch(GOES_ON);
    expect(error.message).toMatch(why);
    expect(error.canContinue).toBe(true);
    expect(xent.threads).toBe(2);
    expect(workers.filter((worker) => worker.threadId > 0).length).toBeLessThan(3);
    expect(bitsOf(await batch.runAsync(EVERYTHING))).toEqual(EXPECTED);
    expect(bitsOf(batch.run(EVERYTHING))).toEqual(EXPECTED);
  });

  test("the calling thread continues after all workers are terminated", async () => {
    const [xent, batch, workers] = await withFault("silence");
    const job = failureOf(() => batch.runAsync(EVERYTHING));
    await Promise.all(workers.map((worker) => worker.terminate()));
    expect((await job).canContinue).toBe(true);
    expect(xent.threads).toBe(1);
    expect(bitsOf(await batch.runAsync(EVERYTHING))).toEqual(EXPECTED);
    expect(bitsOf(batch.run(EVERYTHING))).toEqual(EXPECTED);
  });

  test("a failed job does not fail the jobs behind it", async () => {
    const [xent, batch] = await withFault("exit");
    const other = batchIn(xent);
    armed[0] = 1;
    const jobs = [failureOf(() => batch.runAsync(EVERYTHING)), other.runAsync(EVERYTHING)] as const;
    expect((await jobs[0]).canContinue).toBe(true);
    expect(bitsOf(await jobs[1])).toEqual(EXPECTED);
  });
});

test("a worker that is terminated between jobs does no harm", async () => {
  const [xent, batch, workers] = await withFault("silence");
  const gone = workers[0]?.terminate();
  // Before and after the event of its end.
  expect(bitsOf(batch.run(EVERYTHING))).toEqual(EXPECTED);
  await gone;
  expect(xent.threads).toBe(2);
  expect(bitsOf(batch.run(EVERYTHING))).toEqual(EXPECTED);
  expect(bitsOf(await batch.runAsync(EVERYTHING))).toEqual(EXPECTED);
});

describe("createXent", () => {
  const script = (source: string) => () => new Worker(source, { eval: true });

  test.each<[string, () => Worker, RegExp]>([
    ["ends at once", script("process.exit(3)"), /^a worker of the pool did not start: it ended with code 3/],
    ["throws", script("throw new Error('no')"), /^a worker of the pool did not start: Error: no/],
    ["does not import xent/worker", script("1 + 1"), /^a worker of the pool did not start: it ended with code 0/],
    [
      "is no worker",
      () => ({}) as unknown as Worker,
      /^"createWorker" expected a function that makes a worker, got Object$/,
    ],
    [
      "has no terminate",
      () => ({ postMessage: () => {} }) as unknown as Worker,
      /^"createWorker" expected a function that makes a worker, got Object$/,
    ],
    [
      "throws in postMessage",
      () => {
        const worker = script("setInterval(() => {}, 1000)")();
        worker.postMessage = () => {
          throw new RangeError("no memory for you");
        };
        return worker;
      },
      /^a worker of the pool did not start: RangeError: no memory for you/,
    ],
    [
      "can not be created",
      () => {
        throw new RangeError("no more workers");
      },
      /^a worker of the pool did not start: RangeError: no more workers\. What createWorker makes/,
    ],
  ])("rejects if a worker %s, and terminates the others", async (_, second, message) => {
    const workers: Worker[] = [];
    const createWorker = (): Worker => {
      if (workers.length > 0) return second();
      const worker = new Worker(new URL("../support/fault-worker.mjs", import.meta.url), { workerData: { armed } });
      workers.push(worker);
      return worker;
    };
    const timers = () => process.getActiveResourcesInfo().filter((name) => name === "Timeout").length;
    const before = timers();
    await expect(createXent({ threads: 3, createWorker })).rejects.toThrow(message);
    await expect.poll(() => workers[0]?.threadId).toBe(-1);
    // No worker is waited for any more.
    await expect.poll(timers).toBe(before);
  });
});
