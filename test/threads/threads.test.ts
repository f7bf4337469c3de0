// A pool gives the bits of one thread; concurrent jobs; batches, instances and processes that end in the middle of jobs.
import { spawnSync } from "node:child_process";
import { availableParallelism } from "node:os";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import {
  attach,
  type Batch,
  type BatchSpec,
  createXent,
  createXentSync,
  type LogitsType,
  type LossOptions,
  type Xent,
  type XentOptions,
  type XentSyncOptions,
} from "xent";
import { bitsOf, EVERYTHING, exampleBatch, type RowsSpec } from "../support/example.ts";
import { mulberry32 } from "../support/random.mjs";
import { thrown } from "../support/thrown.ts";
import { variants } from "../support/variants.ts";

const LARGE: RowsSpec = { rows: 100, classes: 10_000, gradient: true };

/** A batch of random rows, some of which are unusual. */
function drawnBatch(xent: Xent, spec: RowsSpec, seed: number): Batch {
  const batch = exampleBatch(xent, spec, seed);
  const random = mulberry32(seed);
  for (let row = 0; row < spec.rows; row++) {
    const x = batch.logits.subarray(row * spec.classes, (row + 1) * spec.classes);
    const label = batch.labels[row] as number;
    const kind = random() % 12;
    if (kind === 0) x[label] = (x[label] as number) + 60;
    if (kind === 1) x[label] = -Infinity;
    if (kind === 2) x[random() % spec.classes] = Number.NaN;
    if (kind === 3) x.fill(-Infinity, 0, spec.classes >> 1);
    if (kind === 4) x[random() % spec.classes] = 1e30;
    if (kind === 5) batch.labels[row] = -100;
  }
  return batch;
}

describe.each(variants)("%s", (variant) => {
  const alone = createXentSync({ variant });

  test.each([2, 3, 4, 5, 6, 7, 8])("%i threads give the bits of one, for any rows and options", async (threads) => {
    const pool = await createXent({ variant, threads });
    expect(pool.threads).toBe(threads);
    for (let seed = 0; seed < 15; seed++) {
      const random = mulberry32(1000 * threads + seed);
      const classes = [3, 10, 256, 1000, 9000, 30_000, 100_003][random() % 7] as number;
      const rows = 1 + (random() % Math.ceil(3e5 / classes));
      const gradient = ([false, true, "in-place"] as const)[random() % 3] as boolean | "in-place";
      const options: LossOptions = { ...EVERYTHING, gradient: gradient !== false, ignoreIndex: -100 };
      if (random() % 2) options.reduction = "mean";
      if (random() % 4 === 0) options.zLoss = 1e-3;
      if (random() % 4 === 0) options.temperature = 2;
      if (random() % 4 === 0) options.sampleWeights = new Float32Array(rows).fill(0.5);
      const spec = { rows, classes, gradient };
      const expected = bitsOf(drawnBatch(alone, spec, seed).run(options));
      const batch = drawnBatch(pool, spec, seed);
      expect(bitsOf(batch.run(options)), JSON.stringify([spec, options])).toEqual(expected);
      batch.dispose();
      const other = drawnBatch(pool, spec, seed);
      expect(bitsOf(await other.runAsync(options)), JSON.stringify([spec, options])).toEqual(expected);
      other.dispose();
    }
    pool.dispose();
  });

  test.each<[string, BatchSpec<LogitsType>, LossOptions]>([
    ["float64", { rows: 300, classes: 1000, logits: "float64", gradient: true }, { gradient: true }],
    [
      "bfloat16",
      { rows: 300, classes: 1000, logits: "bfloat16", gradient: true },
      { gradient: true, predictions: true },
    ],
    ["a class axis that is not the last", { shape: [20, 1000, 15], axis: 1, gradient: true }, { gradient: true }],
    ["padded rows", { rows: 30, classes: 9000, stride: 9010, gradient: "in-place" }, { gradient: true }],
    ["soft targets", { rows: 100, classes: 2000, targets: true, gradient: true }, { gradient: true }],
    ["one row of many classes, smoothed", { rows: 1, classes: 200_000, gradient: true }, { labelSmoothing: 0.1 }],
  ])("threads give the bits of one with %s", async (_, spec, options) => {
    const pool = await createXent({ variant, threads: 3 });
    const results = [alone, pool].map((xent) => {
      const batch = xent.createBatch(spec);
      const random = mulberry32(5);
      for (let i = 0; i < batch.logits.length; i++) batch.logits[i] = random() % 16_384;
      batch.targets?.fill(1 / 2000);
      return bitsOf(batch.run(options));
    });
    expect(results[1]).toEqual(results[0]);
    pool.dispose();
  });

  // The reference, the largest logit, is found in segments before they are summed.
  test.each<[BatchSpec<LogitsType>, LossOptions]>([
    [{ rows: 2, classes: 100_000, targets: true }, {}],
    [
      { rows: 3, classes: 50_000, targets: true, gradient: true },
      { gradient: true, predictions: true },
    ],
    [
      { rows: 3, classes: 50_000, targets: true, gradient: "in-place" },
      { gradient: true, softcap: 5 },
    ],
    [
      { rows: 1, classes: 90_001, targets: true, gradient: true, logits: "float64" },
      { gradient: true, temperature: 2 },
    ],
  ])("threads give the bits of one with soft targets of many classes: %j, %j", async (spec, options) => {
    const pool = await createXent({ variant, threads: 3 });
    const results = [alone, pool].map((xent) => {
      const batch = xent.createBatch(spec);
      const random = mulberry32(6);
      for (let i = 0; i < batch.logits.length; i++) batch.logits[i] = (random() % 16_384) / 1000;
      for (let i = 0; i < (batch.targets?.length ?? 0); i++) batch.targets?.fill((random() % 100) / 1e7, i, i + 1);
      // A row that is computed as a whole, because it has a NaN.
      if (spec.rows === 3) batch.logits[60_000] = Number.NaN;
      // The first logit of the last row is the largest, by far.
      batch.logits[batch.logits.length - (spec.classes ?? 0)] = 60;
      return bitsOf(batch.run(options));
    });
    expect(results[1]).toEqual(results[0]);
    pool.dispose();
  });
});

describe("an instance with threads", () => {
  test("has the number that it is asked for, and with auto one for each core", async () => {
    for (const [threads, expected] of [
      [undefined, 1],
      [1, 1],
      [2, 2],
      ["auto", availableParallelism()],
    ] as const) {
      using xent = await createXent(threads === undefined ? {} : { threads });
      expect(xent.threads).toBe(expected);
      expect(xent.memory.buffer instanceof SharedArrayBuffer).toBe(expected > 1);
    }
  });

  test.each<[string, unknown, string]>([
    ["0", { threads: 0 }, 'RangeError: "threads" expected an integer from 1 to 256, got 0'],
    ["1.5", { threads: 1.5 }, 'RangeError: "threads" expected an integer from 1 to 256, got 1.5'],
    ["a word", { threads: "all" }, 'TypeError: "threads" expected an integer or "auto", got "all"'],
    [
      "a private memory",
      { threads: 2, shared: false },
      'RangeError: "shared" expected true: 2 threads share their memory',
    ],
    ["no function", { createWorker: 3 }, 'TypeError: "createWorker" expected a function that makes a worker, got 3'],
    ["no module", { module: {} }, 'TypeError: "module" expected a WebAssembly.Module, got Object'],
  ])("refuses %s", async (_, options, message) => {
    expect(thrown(() => createXentSync(options as XentSyncOptions))).toBe(message);
    await expect(createXent(options as XentOptions)).rejects.toThrow(message.replace(/^\w+: /, ""));
  });

  test("is refused by createXentSync, which can not wait for workers", () => {
    expect(thrown(() => createXentSync({ threads: 2 as never }))).toBe(
      'RangeError: "threads" expected 1: createXentSync cannot wait for workers, createXent can',
    );
  });

  test("can be shared with workers of the caller", async () => {
    using xent = await createXent({ threads: 2 });
    using batch = exampleBatch(xent, LARGE);
    const attached = attach(structuredClone(xent.share()));
    expect(attached.threads).toBe(1);
    const expected = bitsOf(batch.run(EVERYTHING));
    expect(bitsOf(attached.attachBatch(batch.share()).run(EVERYTHING))).toEqual(expected);
    expect(bitsOf(await attached.attachBatch(batch.share()).runAsync(EVERYTHING))).toEqual(expected);
  });
});

describe.each([1, 2, 3])("jobs of an instance with %i threads", (threads) => {
  const reference = createXentSync();
  const expectedOf = (seed: number, spec = LARGE) => bitsOf(exampleBatch(reference, spec, seed).run(EVERYTHING));

  test("run one after the other if they are started together", async () => {
    using xent = await createXent({ threads });
    const batches = [1, 2, 3, 4].map((seed) => exampleBatch(xent, LARGE, seed));
    const results = await Promise.all(batches.map((batch) => batch.runAsync(EVERYTHING)));
    for (const [i, result] of results.entries()) expect(bitsOf(result)).toEqual(expectedOf(i + 1));
  });

  test("can be run and awaited while another one is in progress", async () => {
    using xent = await createXent({ threads });
    const [first, second] = [exampleBatch(xent, LARGE, 1), exampleBatch(xent, LARGE, 2)];
    const running = first.runAsync(EVERYTHING);
    expect(bitsOf(second.run(EVERYTHING))).toEqual(expectedOf(2));
    expect(bitsOf(await running)).toEqual(expectedOf(1));
  });

  test("refuse a second run of the same batch, and the first one continues", async () => {
    using xent = await createXent({ threads });
    const batch = exampleBatch(xent, LARGE);
    const running = batch.runAsync(EVERYTHING);
    const message = "this batch is in the middle of runAsync(): wait for its promise first";
    expect(thrown(() => batch.run())).toBe(`TypeError: ${message}`);
    await expect(batch.runAsync()).rejects.toThrow(new TypeError(message));
    expect(bitsOf(await running)).toEqual(expectedOf(1));
    expect(bitsOf(batch.run(EVERYTHING))).toEqual(expectedOf(1));
  });

  test("use the options of their call, even if its arrays change or are detached while they wait", async () => {
    using xent = await createXent({ threads });
    const [first, second] = [exampleBatch(xent, LARGE, 1), exampleBatch(xent, LARGE, 2)];
    const options = { sampleWeights: new Float32Array(LARGE.rows).fill(2), temperature: 2 };
    const expected = bitsOf(second.run(options));
    const running = [first.runAsync(EVERYTHING), second.runAsync(options)] as const;
    options.temperature = 3;
    structuredClone(options.sampleWeights, { transfer: [options.sampleWeights.buffer] });
    expect(bitsOf(await running[0])).toEqual(expectedOf(1));
    expect(bitsOf(await running[1])).toEqual(expected);
  });

  test("that fail do not stop the jobs behind them", async () => {
    using xent = await createXent({ threads });
    const [first, second] = [exampleBatch(xent, LARGE, 1), exampleBatch(xent, LARGE, 2)];
    first.labels[7] = 10_000;
    const running = [first.runAsync(EVERYTHING), second.runAsync(EVERYTHING)] as const;
    await expect(running[0]).rejects.toThrow(
      new RangeError("Received a label value of 10000 at row 7, which is outside the valid range of [0, 10000)"),
    );
    expect(bitsOf(await running[1])).toEqual(expectedOf(2));
  });

  test("are right if the memory grows in the middle of them", async () => {
    using xent = await createXent({ threads });
    const batch = exampleBatch(xent, LARGE);
    const running = batch.runAsync(EVERYTHING);
    const before = xent.memory.buffer.byteLength;
    const other = exampleBatch(xent, { ...LARGE, rows: 300 }, 2);
    expect(xent.memory.buffer.byteLength).toBeGreaterThan(before);
    expect(bitsOf(await running)).toEqual(expectedOf(1));
    expect(bitsOf(await other.runAsync(EVERYTHING))).toEqual(expectedOf(2, { ...LARGE, rows: 300 }));
  });

  test("do not block the event loop", async () => {
    using xent = await createXent({ threads });
    const batch = exampleBatch(xent, { rows: 200, classes: 10_000, gradient: true });
    let turns = 0;
    const timer = setInterval(() => turns++, 1);
    await batch.runAsync({ gradient: true, softcap: 30 });
    clearInterval(timer);
    expect(turns).toBeGreaterThan(0);
  });

  test("are rejected when their batch is disposed, and its memory is freed after that", async () => {
    using xent = await createXent({ threads });
    const batch = exampleBatch(xent, LARGE);
    const { byteOffset } = batch.logits;
    const running = batch.runAsync(EVERYTHING);
    batch.dispose();
    const during = exampleBatch(xent, LARGE);
    expect(during.logits.byteOffset).not.toBe(byteOffset);
    await expect(running).rejects.toThrow(new TypeError("this batch was disposed"));
    expect(exampleBatch(xent, LARGE).logits.byteOffset).toBe(byteOffset);
    expect(bitsOf(during.run(EVERYTHING))).toEqual(expectedOf(1));
  });

  test("are rejected when their instance is disposed, even if they have not begun", async () => {
    const xent = await createXent({ threads });
    const batches = [exampleBatch(xent, LARGE), exampleBatch(xent, LARGE)];
    const running = batches.map((batch) => batch.runAsync(EVERYTHING));
    xent.dispose();
    xent.dispose();
    for (const result of await Promise.allSettled(running)) {
      expect(String((result as PromiseRejectedResult).reason)).toMatch(/^TypeError: this Xent was disposed/);
    }
    await expect(batches[0]?.runAsync()).rejects.toThrow(new TypeError("this Xent was disposed"));
  });

  // One thread has no other to race with: its job is over before the next one.
  const times = threads === 1 ? 100 : 3000;

  test(`give the same result ${times} times`, async () => {
    using xent = await createXent({ threads });
    const specs: RowsSpec[] = [
      { rows: 64, classes: 2000, gradient: true },
      { rows: 1, classes: 100_000, gradient: true },
      { rows: 10, classes: 10, gradient: true },
    ];
    for (const spec of specs) {
      const batch = exampleBatch(xent, spec);
      const expected = batch.run(EVERYTHING).sum;
      const sums = new Set<number>();
      for (let i = 0; i < times; i++) sums.add(batch.run(EVERYTHING).sum);
      for (let i = 0; i < times / 10; i++) sums.add((await batch.runAsync(EVERYTHING)).sum);
      expect([...sums]).toEqual([expected]);
    }
  });
});

describe("a process", () => {
  function exitOf(script: string): { status: number | null; stdout: string; stderr: string } {
    const { status, stdout, stderr } = spawnSync(process.execPath, ["--input-type=module", "--eval", script], {
      cwd: fileURLToPath(new URL("../..", import.meta.url)),
      encoding: "utf8",
      timeout: 30_000,
    });
    return { status, stdout, stderr };
  }

  const setUp = `
    import { createXent } from "xent";
    const xent = await createXent({ threads: 3 });
    const batch = xent.createBatch({ rows: 1000, classes: 10000 });`;

  test("ends by itself, although the pool was not disposed", () => {
    expect(
      exitOf(`${setUp} console.log(batch.run().loss[0].toFixed(4), (await batch.runAsync()).loss[999].toFixed(4));`),
    ).toEqual({ status: 0, stdout: "9.2103 9.2103\n", stderr: "" });
  });

  test("ends only when its jobs are done", () => {
    expect(exitOf(`${setUp} batch.runAsync().then(({ loss }) => console.log(loss[999].toFixed(4)));`)).toEqual({
      status: 0,
      stdout: "9.2103\n",
      stderr: "",
    });
  });

  test("ends if it disposes of the pool in the middle of a job", () => {
    expect(exitOf(`${setUp} batch.runAsync().catch((error) => console.log(error.name)); xent.dispose();`)).toEqual({
      status: 0,
      stdout: "TypeError\n",
      stderr: "",
    });
  });

  test("does not pass its own flags and loaders on to the workers", () => {
    const { status, stdout } = spawnSync(
      process.execPath,
      [
        "--input-type=module",
        "--import",
        "data:text/javascript,console.log('loaded')",
        "--eval",
        `${setUp} batch.run();`,
      ],
      {
        cwd: fileURLToPath(new URL("../..", import.meta.url)),
        encoding: "utf8",
        env: { ...process.env, NODE_OPTIONS: "" },
      },
    );
    expect([status, stdout]).toEqual([0, "loaded\n"]);
  });
});
