// Which memory the arrays of a batch are in, how long they stay valid, and that ranges of rows are independent of each other.
import fc from "fast-check";
import { afterAll, describe, expect, test } from "vitest";
import {
  type Batch,
  createXentSync,
  type Labels,
  type Logits,
  type LossOptions,
  type LossResult,
  sparseSoftmaxCrossEntropyWithLogits,
} from "xent";
import { HEAP_START } from "../../packages/xent/src/abi.ts";
import { copyBytes, firstChange } from "../support/bytes.ts";
import { bitsOf, EVERYTHING, exampleBatch, exampleRows, type RowsSpec } from "../support/example.ts";
import { unroundedLosses } from "../support/place.ts";
import { thrown } from "../support/thrown.ts";
import { variants } from "../support/variants.ts";

const GRADIENTS = [false, true, "in-place"] as const;

/** Rows, the entries of them that are replaced, and where they are cut into ranges. */
interface Example {
  rows: number;
  classes: number;
  seed: number;
  specials: [at: number, value: number][];
  ignored: boolean;
  gradient: (typeof GRADIENTS)[number];
  asked: { gradient: boolean; predictions: boolean };
  cuts: number[];
}

/** What can be asked of a batch with this memory. */
function everything({ gradient = false }: RowsSpec): LossOptions {
  return { ...EVERYTHING, gradient: gradient !== false };
}

function arraysOf(result: LossResult): ArrayBufferView[] {
  return Object.values(result).filter((value) => ArrayBuffer.isView(value));
}

describe.each(variants)("%s", (variant) => {
  const xent = createXentSync({ variant });
  afterAll(() => xent.dispose());

  describe("the arrays of a batch are views of the memory", () => {
    test.each(GRADIENTS)("gradient: %s", (gradient) => {
      using batch = exampleBatch(xent, { rows: 5, classes: 7, gradient });
      const results = arraysOf(batch.run(everything({ rows: 5, classes: 7, gradient })));
      const arrays = [batch.logits, batch.labels, ...(batch.gradient ? [batch.gradient] : []), ...results];
      expect(arrays.length).toBe(gradient ? 7 : 5);
      for (const array of arrays) expect(array.buffer).toBe(xent.memory.buffer);
    });

    test("a run reads what was written into the views", () => {
      using batch = xent.createBatch({ rows: 1, classes: 2 });
      const logits = new Float32Array(xent.memory.buffer, batch.logits.byteOffset, 2);
      const labels = new Int32Array(xent.memory.buffer, batch.labels.byteOffset, 1);
      logits.set([0, -Infinity]);
      labels[0] = 1;
      expect(batch.run().loss[0]).toBe(Infinity);
      labels[0] = 0;
      expect(batch.run().loss[0]).toBe(0);
    });

    test("a separate gradient does not change the logits", () => {
      using batch = exampleBatch(xent, { rows: 5, classes: 7, gradient: true });
      const { gradient } = batch.run(EVERYTHING);
      expect(gradient?.byteOffset).toBe(batch.gradient?.byteOffset);
      expect(batch.logits).toEqual(exampleRows(5, 7).logits);
    });

    test("an in-place gradient takes the place of the logits, and has the same bits", () => {
      using apart = exampleBatch(xent, { rows: 5, classes: 7, gradient: true });
      using batch = exampleBatch(xent, { rows: 5, classes: 7, gradient: "in-place" });
      expect(bitsOf(batch.run({ predictions: true }))).toEqual(bitsOf(apart.run({ predictions: true })));
      expect(batch.logits).toEqual(exampleRows(5, 7).logits);
      const { gradient, ...rest } = batch.run(EVERYTHING);
      const { gradient: expected, ...others } = apart.run(EVERYTHING);
      expect([gradient?.byteOffset, gradient?.length]).toEqual([batch.logits.byteOffset, 35]);
      expect(batch.gradient).toEqual(batch.logits);
      expect(gradient).toEqual(expected);
      expect(bitsOf(rest)).toEqual(bitsOf(others));
    });
  });

  describe("the arrays of the one-call form belong to the caller", () => {
    test.each<[string, typeof sparseSoftmaxCrossEntropyWithLogits]>([
      ["function", sparseSoftmaxCrossEntropyWithLogits],
      ["method", (...args) => xent.sparseSoftmaxCrossEntropyWithLogits(...args)],
    ])("%s", (_, call) => {
      const first = exampleRows(5, 7, 1);
      const result = call(first.logits, first.labels, EVERYTHING);
      const bits = bitsOf(result);
      const second = exampleRows(5, 7, 2);
      expect(bitsOf(call(second.logits, second.labels, EVERYTHING))).not.toEqual(bits);
      expect(bitsOf(result)).toEqual(bits);
      expect(first).toEqual(exampleRows(5, 7, 1));
      for (const array of arraysOf(result)) expect(array.buffer.byteLength).toBe(array.byteLength);
    });
  });

  describe("a run does not change another batch", () => {
    test("of the same instance", () => {
      const specs = GRADIENTS.flatMap((gradient) => [1, 10, 300].map((classes) => ({ rows: 9, classes, gradient })));
      const batches = specs.map((spec, seed) => ({ spec, batch: exampleBatch(xent, spec, seed) }));
      const results = batches.map(({ spec, batch }) => batch.run(everything(spec)));
      const bits = results.map(bitsOf);
      for (const { spec, batch } of [...batches].reverse())
        if (spec.gradient !== "in-place") batch.run(everything(spec));
      expect(results.map(bitsOf)).toEqual(bits);
      for (const [seed, { spec, batch }] of batches.entries()) {
        const { logits, labels } = exampleRows(spec.rows, spec.classes, seed);
        expect(batch.labels).toEqual(labels);
        if (spec.gradient !== "in-place") expect(batch.logits).toEqual(logits);
        batch.dispose();
      }
    });

    test("of another instance", () => {
      using other = createXentSync({ variant });
      using batch = exampleBatch(xent, { rows: 9, classes: 10, gradient: true });
      batch.run(EVERYTHING);
      const before = copyBytes(xent.memory);
      exampleBatch(other, { rows: 9, classes: 10, gradient: true }, 2).run(EVERYTHING);
      other.sparseSoftmaxCrossEntropyWithLogits([1, 2, 3], [0]);
      expect(firstChange(xent.memory, before)).toBeUndefined();
    });
  });

  describe.each([false, true])("after the memory has grown, shared: %s", (shared) => {
    const BIG = { rows: 1, classes: 100_000 };

    test("the arrays of a batch have their old offsets and contents", () => {
      using growing = createXentSync({ variant, shared });
      const batch = exampleBatch(growing, { rows: 5, classes: 7, gradient: true });
      const result = batch.run(EVERYTHING);
      const [bits, gradient] = [bitsOf(result), result.gradient?.slice()];
      const old = [batch.logits, batch.labels, ...arraysOf(result)];
      const { byteLength } = growing.memory.buffer;
      exampleBatch(growing, BIG).run();
      expect(growing.memory.buffer.byteLength).toBeGreaterThan(byteLength);
      expect(batch.logits.buffer).toBe(growing.memory.buffer);
      expect({ logits: batch.logits, labels: batch.labels }).toEqual(exampleRows(5, 7));
      expect(batch.gradient).toEqual(gradient);
      // JavaScript detaches the old views of a private memory, and leaves those of a shared one.
      for (const view of old) expect(view.byteLength > 0).toBe(shared);
      expect(bitsOf(batch.run(EVERYTHING))).toEqual(bits);
    });

    test.each<[string, (batch: Batch) => { logits: Logits; labels: Labels }]>([
      ["logits and labels", ({ logits, labels }) => ({ logits, labels })],
      ["logits", ({ logits, labels }) => ({ logits, labels: labels.slice() })],
      ["labels", ({ logits, labels }) => ({ logits: logits.slice(), labels })],
      [
        "logits, and labels as 64-bit integers",
        ({ logits, labels }) => ({ logits, labels: new BigInt64Array(labels.buffer, labels.byteOffset, 2) }),
      ],
      ["part of them", ({ logits, labels }) => ({ logits: logits.subarray(100_000), labels: labels.subarray(1) })],
    ])("a one-call that makes it grow still reads its %s, which are views of a batch", (_, args) => {
      using growing = createXentSync({ variant, shared });
      const batch = growing.createBatch({ rows: 2, classes: 100_000 });
      batch.logits.set(exampleRows(2, 100_000).logits);
      batch.labels.fill(0);
      const { logits, labels } = args(batch);
      const copy = { logits: (logits as Float32Array).slice(), labels: labels.slice() as Labels };
      const { byteLength } = growing.memory.buffer;
      const result = growing.sparseSoftmaxCrossEntropyWithLogits(logits, labels, EVERYTHING);
      // A private memory would take the batch's views along.
      expect(growing.memory.buffer.byteLength > byteLength).toBe(shared);
      using fresh = createXentSync({ variant });
      expect(bitsOf(result)).toEqual(
        bitsOf(fresh.sparseSoftmaxCrossEntropyWithLogits(copy.logits, copy.labels, EVERYTHING)),
      );
    });
  });

  describe("run({ rows })", () => {
    const special = fc.constantFrom(Number.NaN, Infinity, -Infinity, -1e9, 1e9, 3e38, -3e38, 150, -150, 0, -0);
    const input: fc.Arbitrary<Example> = fc
      .record({
        classes: fc.oneof(fc.integer({ min: 1, max: 20 }), fc.integer({ min: 1, max: 300 })),
        elements: fc.integer({ min: 1, max: 4000 }),
        seed: fc.nat(),
        specials: fc.array(fc.tuple(fc.nat(), special), { maxLength: 5 }),
        ignored: fc.boolean(),
        gradient: fc.constantFrom(...GRADIENTS),
        asked: fc.record({ gradient: fc.boolean(), predictions: fc.boolean() }),
        cuts: fc.array(fc.nat(), { maxLength: 4 }),
      })
      .map(({ classes, elements, specials, cuts, ...rest }) => {
        const rows = Math.ceil(elements / classes);
        const at = specials.map(([place, value]): [number, number] => [place % (rows * classes), value]);
        const sorted = cuts.map((cut) => cut % (rows + 1)).sort((a, b) => a - b);
        return { rows, classes, specials: at, cuts: sorted, ...rest };
      });

    function batchOf({ rows, classes, seed, specials, gradient }: Example): Batch {
      const batch = exampleBatch(xent, { rows, classes, gradient }, seed);
      for (const [at, value] of specials) batch.logits[at] = value;
      return batch;
    }

    test("gives rows the same bits for any division into ranges, and writes no other rows", () => {
      fc.assert(
        fc.property(input, (example) => {
          const { rows, classes, ignored, gradient, asked, cuts } = example;
          const options: LossOptions = {
            ...asked,
            gradient: asked.gradient && gradient !== false,
            ...(ignored && { ignoreIndex: 0 }),
          };
          using whole = batchOf(example);
          using batch = batchOf(example);
          const expected = whole.run(options);
          // The job and the scratch memory lie between the constants of the module and the first batch.
          const own = new Uint8Array(
            xent.memory.buffer,
            HEAP_START,
            Math.min(whole.logits.byteOffset, batch.logits.byteOffset) - HEAP_START,
          );
          let [correct, normalizer] = [0, 0];
          const bounds = [0, ...cuts, rows];
          for (const [index, begin] of bounds.slice(0, -1).entries()) {
            const end = bounds[index + 1] as number;
            const before = copyBytes(xent.memory);
            const part = batch.run({ ...options, rows: [begin, end] });
            const losses = unroundedLosses(batch).subarray(begin, end);
            expect(firstChange(xent.memory, before, [own, losses, ...arraysOf(part)])).toBeUndefined();
            expect(part.loss).toEqual(Float32Array.from(losses));
            expect(bitsOf({ ...expected, ...arraysIn(part) })).toEqual(
              bitsOf({ ...expected, ...rowsOf(expected, begin, end, classes) }),
            );
            correct += part.correct ?? 0;
            normalizer += part.normalizer;
          }
          expect({ correct, normalizer }).toEqual({ correct: expected.correct ?? 0, normalizer: expected.normalizer });
        }),
        { numRuns: 300 },
      );
    });

    test("ranges that were run one by one fill the results of the batch", () => {
      using whole = exampleBatch(xent, { rows: 20, classes: 10 });
      using batch = exampleBatch(xent, { rows: 20, classes: 10 });
      expect([...batch.loss]).toEqual(new Array(20).fill(0));
      const parts = [
        [7, 20],
        [0, 3],
        [3, 7],
      ].map((rows) => batch.run({ rows: rows as [number, number] }));
      const [last, first, middle] = parts.map(({ loss }) => [...loss]) as [number[], number[], number[]];
      expect([...first, ...middle, ...last]).toEqual([...whole.run().loss]);
      expect(batch.loss).toEqual(whole.loss);
    });
  });

  describe("the smallest and largest sizes", () => {
    test.each(GRADIENTS)("no rows: empty results, gradient: %s", (gradient) => {
      using batch = xent.createBatch({ rows: 0, classes: 3, gradient });
      const result = batch.run(everything({ rows: 0, classes: 3, gradient }));
      expect(arraysOf(result).map(({ byteLength }) => byteLength)).toEqual(gradient ? [0, 0, 0, 0] : [0, 0, 0]);
      expect(result).toMatchObject({ sum: 0, mean: 0, normalizer: 0, correct: 0 });
    });

    test.each<[string, Logits, Labels]>([
      ["[], []", [], []],
      ["Float32Array, Int32Array", new Float32Array(), new Int32Array()],
      ["Float32Array, BigInt64Array", new Float32Array(), new BigInt64Array()],
    ])("no rows, one call: %s", (_, logits, labels) => {
      const result = xent.sparseSoftmaxCrossEntropyWithLogits(logits, labels, EVERYTHING);
      expect(result).toEqual({
        loss: new Float32Array(),
        logSumExp: new Float32Array(),
        gradient: new Float32Array(),
        predictions: new Int32Array(),
        sum: 0,
        mean: 0,
        normalizer: 0,
        count: 0,
        correct: 0,
      });
    });

    test.each(GRADIENTS)("one class: loss 0, gradient 0, gradient: %s", (gradient) => {
      for (const rows of [1, 3, 128, 129, 1000]) {
        using batch = xent.createBatch({ rows, classes: 1, gradient });
        const values = [5, -80, 1e30, -1e30, 0];
        batch.logits.set(Float32Array.from({ length: rows }, (_, row) => values[row % 5] as number));
        batch.labels.fill(0);
        const expected = batch.logits.slice();
        const result = batch.run(everything({ rows, classes: 1, gradient }));
        expect(result.loss.every((loss) => loss === 0)).toBe(true);
        expect(result.gradient?.every((entry) => entry === 0)).toBe(gradient ? true : undefined);
        expect(result.logSumExp).toEqual(expected);
        expect(result).toMatchObject({ sum: 0, mean: 0, normalizer: rows, correct: rows });
      }
    });

    // The kernel's slices are of at most 2 GiB (crates/kernel/src/job.rs).
    test("a row of 2 GiB is refused", () => {
      expect(thrown(() => xent.createBatch({ rows: 0, classes: 2 ** 29 }))).toMatch(/^RangeError: "classes" /);
    });
  });
});

/** The arrays of a result. */
function arraysIn(result: LossResult): Partial<LossResult> {
  return Object.fromEntries(Object.entries(result).filter(([, value]) => ArrayBuffer.isView(value)));
}

/** The arrays of a result, of some rows only. */
function rowsOf(result: LossResult, begin: number, end: number, classes: number): Partial<LossResult> {
  const { loss, logSumExp, gradient, predictions } = result;
  return {
    loss: loss.subarray(begin, end),
    logSumExp: logSumExp.subarray(begin, end),
    ...(gradient && { gradient: gradient.subarray(begin * classes, end * classes) }),
    ...(predictions && { predictions: predictions.subarray(begin, end) }),
  };
}
