// A layer of xent/linear on several threads.
import { Worker } from "node:worker_threads";
import { describe, expect, test } from "vitest";
import { createXent, createXentSync, WorkerError } from "xent";
import { everything, example, gathered, type Spec } from "../support/linear.ts";
import { variants } from "../support/variants.ts";

describe("threads", () => {
  const spec: Spec = { rows: 300, features: 530, classes: 700, bias: true, chunkRows: 100 };

  test.each(variants)("have the bits of one thread, in run and in runAsync: %s", async (variant) => {
    using alone = createXentSync({ variant });
    using one = example(alone, spec);
    const expected = everything(one);
    for (const threads of [2, 3, 8]) {
      using xent = await createXent({ threads, variant });
      using layer = example(xent, spec);
      expect(xent.threads).toBe(threads);
      expect(everything(layer)).toEqual(expected);
      layer.weightGradient?.fill(9);
      const result = await layer.runAsync({ gradient: true, predictions: true, reduction: "mean" });
      expect(gathered(layer, result)).toEqual(expected);
    }
  });

  test("give the loss of batches in between, and layers that are made later", async () => {
    using xent = await createXent({ threads: 3 });
    using batch = xent.createBatch({ rows: 500, classes: 1000 });
    const expected = Math.log(1000);
    expect(batch.run().mean).toBeCloseTo(expected, 6);
    const layers = Array.from({ length: 3 }, (_, i) => example(xent, { ...spec, rows: 100 * (i + 1) }));
    const first = layers.map((layer) => everything(layer));
    const both = await Promise.all([
      ...layers.map((layer) => layer.runAsync({ gradient: true, predictions: true, reduction: "mean" })),
      batch.runAsync(),
    ]);
    expect(both.at(-1)?.mean).toBeCloseTo(expected, 6);
    for (const [i, layer] of layers.entries()) expect(gathered(layer, both[i] as never)).toEqual(first[i]);
  });

  test("without a pool runAsync has the bits of run", async () => {
    using xent = createXentSync();
    using layer = example(xent, spec);
    const expected = everything(layer);
    const result = await layer.runAsync({ gradient: true, predictions: true, reduction: "mean" });
    expect(gathered(layer, result)).toEqual(expected);
  });
});

describe("a worker that fails", () => {
  const spec: Spec = { rows: 200, features: 300, classes: 3000, bias: true };
  const options = { gradient: true, predictions: true, reduction: "mean" } as const;

  // One that ends while this thread waits for it can not say so: see threads/faults.test.ts.
  test.each([
    ["throw", "run"],
    ["throw", "runAsync"],
    ["exit", "runAsync"],
  ] as const)("is an error, and the next run has the bits of one thread: %s in %s", async (fault, method) => {
    using alone = createXentSync();
    using one = example(alone, spec);
    const expected = everything(one);
    const armed = new Int32Array(new SharedArrayBuffer(4));
    const file = new URL("../support/fault-worker.mjs", import.meta.url);
    using xent = await createXent({
      threads: 3,
      createWorker: () => new Worker(file, { workerData: { armed, fault } }),
    });
    using layer = example(xent, spec);
    // The workers have their second kernel.
    expect(gathered(layer, await layer[method](options))).toEqual(expected);
    armed[0] = 1;
    await expect(async () => layer[method](options)).rejects.toThrow(WorkerError);
    expect(armed[0]).toBe(0);
    expect(gathered(layer, await layer[method](options))).toEqual(expected);
    expect(xent.threads).toBe(fault === "exit" ? 2 : 3);
  });
});
