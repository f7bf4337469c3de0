// Addresses from 2 GiB, which are negative as signed numbers, to 4 GiB. Memory below is reserved and never touched, so it takes no RAM;
// XENT_LARGE=1 fills all 4 GiB (5 GB of RAM, half a minute).
import { afterAll, describe, expect, test } from "vitest";
import { attach, type BatchSpec, createXent, createXentSync, type LogitsType, type RunOptions, type Xent } from "xent";
import { copyBytes, firstDifference } from "../support/bytes.ts";
import { bitsOf, EVERYTHING, exampleRows } from "../support/example.ts";
import { fillUp, workBytes } from "../support/place.ts";
import { variants } from "../support/variants.ts";

const GiB = 2 ** 30;
type Spec = BatchSpec<LogitsType> & { rows: number; classes: number };

function batchIn(xent: Xent, spec: Spec) {
  const batch = xent.createBatch(spec);
  const { logits, labels } = exampleRows(spec.rows, spec.classes);
  batch.logits.set(logits);
  batch.labels.set(labels);
  return batch;
}

const runs: [string, Spec, RunOptions][] = [
  ["a plain batch", { rows: 600, classes: 1000, gradient: true }, EVERYTHING],
  ["few classes, in place", { rows: 9000, classes: 10, gradient: "in-place" }, EVERYTHING],
  ["logits in f64", { rows: 60, classes: 900, logits: "float64", gradient: true }, EVERYTHING],
  ["rows in segments", { rows: 3, classes: 70_000, gradient: true }, EVERYTHING],
  [
    "weights and a buffer for each thread",
    { rows: 100, classes: 1000, gradient: true },
    {
      ...EVERYTHING,
      temperature: 2,
      classWeights: new Float32Array(1000).fill(0.5),
      sampleWeights: new Float32Array(100).fill(2),
    },
  ],
  ["a range of rows", { rows: 600, classes: 300, gradient: true }, { ...EVERYTHING, rows: [7, 555] }],
];

describe.each(variants)("%s", (variant) => {
  const small = createXentSync({ variant });

  test.each(runs)("across 2 GiB: %s", (_, spec, options) => {
    using batch = batchIn(small, spec);
    const expected = bitsOf(batch.run(options));
    // Within the logits, and within the parts behind them.
    for (const most of [1000, 4 * spec.rows * spec.classes + 500]) {
      const before = 64 * Math.floor(most / 64);
      using xent = createXentSync({ variant });
      fillUp(xent, 2 * GiB - before - workBytes(spec));
      const high = batchIn(xent, spec);
      expect(high.logits.byteOffset).toBe(2 * GiB - before);
      expect(bitsOf(high.run(options))).toEqual(expected);
    }
  });

  test.each(runs)("above 2 GiB, by threads and by a worker of the caller: %s", async (_, spec, options) => {
    using batch = batchIn(small, spec);
    const expected = bitsOf(batch.run(options));
    using xent = await createXent({ variant, threads: 3 });
    fillUp(xent, 3 * GiB);
    const high = batchIn(xent, spec);
    expect(high.logits.byteOffset).toBeGreaterThanOrEqual(2 * GiB);
    const fresh = copyBytes(high.logits);
    for (const run of [() => high.run(options), () => high.runAsync(options)]) {
      new Uint8Array(xent.memory.buffer, high.logits.byteOffset, fresh.length).set(fresh);
      expect(bitsOf(await run())).toEqual(expected);
    }
    new Uint8Array(xent.memory.buffer, high.logits.byteOffset, fresh.length).set(fresh);
    // Its job record and scratch memory are above 2 GiB, too.
    const attached = attach(xent.share());
    expect(bitsOf(attached.attachBatch(high.share()).run(options))).toEqual(expected);
  });

  test.runIf(process.env["XENT_LARGE"])("a run reads 4 GiB of logits", { timeout: 300_000 }, () => {
    const classes = 32_000;
    const some = { rows: 64, classes };
    using batch = batchIn(small, some);
    const expected = batch.run().loss.slice();
    using xent = createXentSync({ variant });
    const rows = Math.floor((4 * GiB - 3 * 65536) / (4 * classes + 24) / 64) * 64;
    const large = xent.createBatch({ rows, classes, gradient: "in-place" });
    for (let row = 0; row < rows; row += 64) {
      large.logits.set(batch.logits, row * classes);
      large.labels.set(batch.labels, row);
    }
    expect(xent.memory.buffer.byteLength).toBeGreaterThan(3.99 * GiB);
    const whole = large.run();
    for (let row = 0; row < rows; row += 64)
      expect(firstDifference(copyBytes(whole.loss.subarray(row, row + 64)), copyBytes(expected))).toBeUndefined();
    const { gradient } = large.run({ gradient: true });
    const first = copyBytes((gradient as Float32Array).subarray(0, 64 * classes));
    for (let row = 64; row < rows; row += 64) {
      const part = copyBytes((gradient as Float32Array).subarray(row * classes, (row + 64) * classes));
      expect(firstDifference(part, first)).toBeUndefined();
    }
  });

  afterAll(() => small.dispose());
});
