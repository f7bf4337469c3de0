// One memory for several threads: the owner allocates, and workers run rows of the batches that it shares.
import { once } from "node:events";
import { Worker } from "node:worker_threads";
import { afterAll, describe, expect, test } from "vitest";
import {
  attach,
  type Batch,
  createXentSync,
  type LossOptions,
  type LossResult,
  type SharedBatch,
  type Xent,
} from "xent";
import { bitsOf, EVERYTHING, exampleBatch, exampleRows, type RowsSpec } from "../support/example.ts";
import { thrown } from "../support/thrown.ts";
import { variants } from "../support/variants.ts";

type Rows = readonly [begin: number, end: number];

function startWorker(xent: Xent): Worker {
  return new Worker(new URL("../support/row-worker.mjs", import.meta.url), { workerData: xent.share() });
}

async function runIn(worker: Worker, batch: SharedBatch, options: LossOptions & { rows: Rows }): Promise<LossResult> {
  const answer = once(worker, "message");
  worker.postMessage({ batch, options });
  return (await answer)[0];
}

describe.each(variants)("%s", (variant) => {
  const owner = createXentSync({ variant, shared: true });
  const workers = [startWorker(owner), startWorker(owner)] as const;
  afterAll(async () => {
    await Promise.all(workers.map((worker) => worker.terminate()));
    owner.dispose();
  });

  const alone = createXentSync({ variant });
  /** The result of one thread in a private memory for the same rows. */
  function expectedOf(spec: RowsSpec, options: LossOptions & { rows?: Rows }): Record<string, unknown> {
    using batch = exampleBatch(alone, spec);
    return bitsOf(batch.run(options));
  }

  test("a worker runs its rows of a shared batch, in the memory of the owner", async () => {
    const spec = { rows: 10, classes: 7 };
    using batch = exampleBatch(owner, spec);
    const { loss } = batch.run();
    loss.fill(77);
    const options = { predictions: true, rows: [3, 8] as const };
    const result = await runIn(workers[0], batch.share(), options);
    expect(bitsOf(result)).toEqual(expectedOf(spec, options));
    const own = new Float32Array(10).fill(77);
    own.set(result.loss, 3);
    expect(loss).toEqual(own);
  });

  // Few classes use the scratch memory, of which each thread has its own; many do not.
  test.each<RowsSpec>([
    { rows: 60_000, classes: 10, gradient: true },
    { rows: 60_000, classes: 10, gradient: "in-place" },
    { rows: 3_000, classes: 200, gradient: true },
    { rows: 600, classes: 1_000, gradient: "in-place" },
    { rows: 600, classes: 1_000, gradient: false },
  ])(
    "three concurrent threads give the bits of one: $rows rows, $classes classes, gradient $gradient",
    async (spec) => {
      const options: LossOptions = { gradient: spec.gradient !== false, predictions: true, ignoreIndex: 3 };
      const expected = expectedOf(spec, options);
      using batch = exampleBatch(owner, spec);
      const { logits } = exampleRows(spec.rows, spec.classes);
      const whole = batch.run(options);
      const third = spec.rows / 3;
      for (let round = 0; round < 10; round++) {
        for (const array of Object.values(whole)) if (ArrayBuffer.isView(array)) (array as Float32Array).fill(77);
        batch.logits.set(logits);
        const running = workers.map((worker, i) =>
          runIn(worker, batch.share(), { ...options, rows: [i * third, (i + 1) * third] }),
        );
        const own = batch.run({ ...options, rows: [2 * third, spec.rows] });
        const parts = [...(await Promise.all(running)), own];
        expect(bitsOf(whole)).toEqual(expected);
        for (const name of ["normalizer", "correct"] as const) {
          expect(parts.reduce((sum, part) => sum + (part[name] as number), 0)).toBe(expected[name]);
        }
      }
    },
  );

  test("a worker runs batches that were created after the memory has grown", async () => {
    for (let round = 0; round < 3; round++) {
      // The memory doubles each time, so that the rows are far apart.
      const { byteLength } = owner.memory.buffer;
      const rows = 8;
      const spec = { rows, classes: 512 };
      const { logits, labels } = exampleRows(rows, 512);
      using batch = owner.createBatch({ ...spec, stride: byteLength / 4 / rows });
      batch.setLogits(Array.from({ length: rows }, (_, row) => logits.subarray(512 * row, 512 * (row + 1))));
      batch.setLabels(labels);
      expect(owner.memory.buffer.byteLength).toBeGreaterThan(byteLength);
      const options = { rows: [rows - 7, rows] as const };
      expect(bitsOf(await runIn(workers[1], batch.share(), options))).toEqual(expectedOf(spec, options));
    }
  });

  test("an attached instance runs shared batches, and has the variant of the owner", () => {
    const spec = { rows: 5, classes: 7, gradient: "in-place" as const };
    using batch = exampleBatch(owner, spec);
    const attached = attach(owner.share());
    expect([attached.variant, attached.memory]).toEqual([variant, owner.memory]);
    const same = attached.attachBatch(batch.share());
    const shape = ({ rows, classes, logits, labels, gradient }: Batch) => ({ rows, classes, logits, labels, gradient });
    expect(shape(same)).toEqual(shape(batch));
    expect(same.logits.byteOffset).toBe(batch.logits.byteOffset);
    expect(bitsOf(same.run(EVERYTHING))).toEqual(expectedOf(spec, EVERYTHING));
  });

  test("the result of share() survives structuredClone", () => {
    const spec = { rows: 5, classes: 7, gradient: true };
    using batch = exampleBatch(owner, spec);
    const attached = attach(structuredClone(owner.share()));
    expect(attached.memory.buffer.byteLength).toBe(owner.memory.buffer.byteLength);
    const same = attached.attachBatch(structuredClone(batch.share()));
    expect(bitsOf(same.run(EVERYTHING))).toEqual(expectedOf(spec, EVERYTHING));
    same.logits.fill(0);
    expect(batch.logits.every((logit) => logit === 0)).toBe(true);
  });

  test("the owner keeps the memory of a batch when a worker disposes of its attached batch", () => {
    using batch = exampleBatch(owner, { rows: 5, classes: 7 });
    const attached = attach(owner.share());
    const same = attached.attachBatch(batch.share());
    same.dispose();
    attached.dispose();
    expect(thrown(() => same.run())).toBe("TypeError: this batch was disposed");
    using other = exampleBatch(owner, { rows: 5, classes: 7 }, 2);
    expect(other.logits.byteOffset).not.toBe(batch.logits.byteOffset);
    expect(bitsOf(batch.run())).toEqual(expectedOf({ rows: 5, classes: 7 }, {}));
  });
});

describe("permissions", () => {
  const owner = createXentSync({ shared: true });
  afterAll(() => owner.dispose());
  const attached = attach(owner.share());
  const batch = exampleBatch(owner, { rows: 5, classes: 7 });

  test.each<[string, () => unknown]>([
    ["createBatch", () => attached.createBatch({ rows: 1, classes: 1 })],
    ["sparseSoftmaxCrossEntropyWithLogits", () => attached.sparseSoftmaxCrossEntropyWithLogits([1, 2], [0])],
    ["share", () => attached.share()],
  ])("an attached instance refuses %s(), which allocates", (method, call) => {
    const { byteLength } = owner.memory.buffer;
    expect(thrown(call)).toBe(
      `TypeError: ${method}() allocates, which only the owner of a memory does: call it there, and share the result`,
    );
    expect(owner.memory.buffer.byteLength).toBe(byteLength);
  });

  test("a private memory can not be shared", () => {
    using xent = createXentSync();
    const message = "TypeError: share() expected a shared memory: create the instance with shared: true";
    expect(xent.memory.buffer).toBeInstanceOf(ArrayBuffer);
    expect(thrown(() => xent.share())).toBe(message);
    expect(thrown(() => exampleBatch(xent, { rows: 5, classes: 7 }).share())).toBe(message);
  });

  test("an instance may share its memory, and results of the one-call form are outside of it", () => {
    expect(owner.memory.buffer).toBeInstanceOf(SharedArrayBuffer);
    const { logits, labels } = exampleRows(5, 7);
    expect(owner.sparseSoftmaxCrossEntropyWithLogits(logits, labels).loss.buffer).toBeInstanceOf(ArrayBuffer);
  });

  test("each share() has working memory of its own", () => {
    const places = Array.from({ length: 5 }, () => owner.share().workspace);
    expect(new Set(places).size).toBe(5);
  });

  test.each<[string, unknown]>([
    ["undefined", undefined],
    ["null", null],
    ["a number", 3],
    ["an object", {}],
    ["a batch", batch.share()],
    ["a memory alone", { memory: owner.memory }],
    ["the instance", owner],
  ])("attach() refuses %s", (_, shared) => {
    expect(thrown(() => attach(shared as never))).toMatch(
      /^TypeError: "shared" expected what xent\.share\(\) returns, got /,
    );
  });

  test.each<[string, unknown]>([
    ["undefined", undefined],
    ["null", null],
    ["a number", 3],
    ["an object", {}],
    ["regions that are null", { rows: 1, classes: 1, regions: null }],
    ["the batch", batch],
    ["an instance", owner.share()],
  ])("attachBatch() refuses %s", (_, shared) => {
    expect(thrown(() => attached.attachBatch(shared as never))).toMatch(
      /^TypeError: "shared" expected what batch\.share\(\) returns, got /,
    );
  });
});
