// The arrays of a batch stay valid: after any runs they are the same objects, and not detached.
import { describe, expect, test } from "vitest";
import { type Batch, createXent, createXentSync, type RunOptions, type Xent } from "xent";
import { bitsOf, EVERYTHING, exampleBatch, exampleRows } from "../support/example.ts";
import { fillUp } from "../support/place.ts";
import { thrown } from "../support/thrown.ts";

const PAGE = 65536;
const SPEC = { rows: 8, classes: 10_000, gradient: true };
const SHARD = { classOffset: 0, classesTotal: 10_000 };

const OPTIONS: [string, RunOptions][] = [
  ["gradient, predictions", EVERYTHING],
  ["labelSmoothing", { labelSmoothing: 0.1 }],
  ["softcap", { softcap: 30 }],
  ["temperature", { temperature: 2 }],
  ["zLoss", { zLoss: 1e-4 }],
  ["classWeights", { classWeights: new Float32Array(10_000).fill(0.5) }],
  ["sampleWeights", { sampleWeights: new Float32Array(8).fill(2) }],
  [
    "all of them",
    {
      ...EVERYTHING,
      labelSmoothing: 0.1,
      softcap: 30,
      temperature: 2,
      zLoss: 1e-4,
      classWeights: new Float32Array(10_000).fill(0.5),
      sampleWeights: new Float32Array(8).fill(2),
    },
  ],
];

/** Takes the views, and checks later that they are still those of the batch, and that its runs read what is written to them. */
function watch(xent: Xent, batch: Batch): () => void {
  const { logits, labels, gradient, loss } = batch;
  const { byteLength } = xent.memory.buffer;
  return () => {
    expect(xent.memory.buffer.byteLength).toBe(byteLength);
    for (const [name, view] of Object.entries({ logits, labels, gradient, loss }))
      expect(batch[name as "logits"] === view, name).toBe(true);
    const first = batch.run().loss[0];
    logits[0] = (logits[0] as number) + 1;
    expect(batch.run().loss[0]).not.toBe(first);
  };
}

describe.each<[string, () => Promise<Xent>]>([
  ["a private memory", async () => createXentSync()],
  ["a memory that this batch fills", async () => createXentSync({ maxBytes: 128 * PAGE })],
  ["a shared memory", async () => createXentSync({ shared: true })],
  ["two threads", () => createXent({ threads: 2 })],
])("the views of a batch in %s", (name, create) => {
  async function scene(): Promise<{ xent: Xent; batch: Batch; check: () => void }> {
    const xent = await create();
    const batch = exampleBatch(xent, SPEC);
    if (name.includes("fills")) fillUp(xent, 128 * PAGE);
    return { xent, batch, check: watch(xent, batch) };
  }

  test.each(OPTIONS)("stay valid in runs with %s", async (_, options) => {
    const { xent, batch, check } = await scene();
    const bits = bitsOf(batch.run(options));
    check();
    batch.logits.set(exampleRows(SPEC.rows, SPEC.classes).logits);
    expect(bitsOf(await batch.runAsync(options))).toEqual(bits);
    check();
    xent.dispose();
  });

  test.each(OPTIONS.slice(1))("stay valid in partials with %s, and in their gradient", async (_, options) => {
    const { xent, batch, check } = await scene();
    batch.gradientFromPartials(batch.partials({ ...options, ...SHARD }));
    check();
    await batch.gradientFromPartialsAsync(await batch.partialsAsync({ ...options, ...SHARD }));
    check();
    xent.dispose();
  });
});

describe("run({ copy: true })", () => {
  test.each([undefined, [2, 5]] as const)("gives the same numbers in new arrays, rows: %s", async (rows) => {
    using xent = createXentSync();
    const batch = exampleBatch(xent, { rows: 8, classes: 100, gradient: true });
    const options = { ...EVERYTHING, ...(rows && { rows }) };
    const views = batch.run(options);
    const bits = bitsOf(views);
    for (const copy of [batch.run({ ...options, copy: true }), await batch.runAsync({ ...options, copy: true })]) {
      expect(bitsOf(copy)).toEqual(bits);
      const arrays = [copy.loss, copy.logSumExp, copy.gradient, copy.predictions];
      for (const array of arrays) expect(array?.buffer.byteLength).toBe(array?.byteLength);
    }
    // A clone of a view copies the whole memory.
    expect(structuredClone(views).loss.buffer.byteLength).toBe(xent.memory.buffer.byteLength);
  });
});

describe("one-calls of an instance that has a batch in a private memory", () => {
  const large = exampleRows(100, 20_000);
  const expected = bitsOf(createXentSync().sparseSoftmaxCrossEntropyWithLogits(large.logits, large.labels, EVERYTHING));

  test("keep its views valid, for any size", () => {
    using xent = createXentSync();
    const batch = exampleBatch(xent, SPEC);
    const check = watch(xent, batch);
    for (let call = 0; call < 3; call++) {
      const result = xent.sparseSoftmaxCrossEntropyWithLogits(large.logits, large.labels, EVERYTHING);
      expect(bitsOf(result)).toEqual(expected);
      check();
      xent.softmaxCrossEntropyWithLogits([[1, 2]], Float32Array.of(0.5, 0.5));
      check();
    }
  });

  test("may each use maxBytes of memory", () => {
    using xent = createXentSync({ maxBytes: 64 * PAGE });
    const batch = exampleBatch(xent, { rows: 8, classes: 9_000 });
    const check = watch(xent, batch);
    expect(xent.sparseSoftmaxCrossEntropyWithLogits(new Float32Array(600_000), new Int32Array(8)).loss[0]).toBe(
      Math.fround(Math.log(75_000)),
    );
    expect(thrown(() => xent.sparseSoftmaxCrossEntropyWithLogits(new Float32Array(2e6), new Int32Array(8)))).toMatch(
      /^RangeError: \d+ bytes do not fit: "maxBytes" allows 4194304 bytes/,
    );
    check();
  });
});
