// Partials of shards: their contents, the batches that make them, and how they are merged.
import { afterAll, describe, expect, test } from "vitest";
import { createXent, createXentSync, type LossOptions, lossFromPartials, mergePartials, type Partials } from "xent";
import { bytesOf, firstChange, firstDifference } from "../support/bytes.ts";
import { bits, makeParts, randomWhole } from "../support/shards.ts";
import { thrown } from "../support/thrown.ts";

describe("partials", () => {
  const xent = createXentSync();
  afterAll(() => xent.dispose());

  test.each([NaN, Infinity])("tell that a row has a %d, at any class", (broken) => {
    for (const classes of [4, 600]) {
      using batch = xent.createBatch({ rows: 3, classes });
      // At the label, beside it, and in a row whose label is in another shard.
      for (const row of [0, 1, 2]) batch.logits[row * classes + 1] = broken;
      batch.labels.set([1, 2, classes]);
      const { maximum, sum } = batch.partials({ classOffset: 0, classesTotal: 2 * classes });
      expect([...maximum]).toEqual([NaN, NaN, NaN]);
      expect([...sum].slice(1)).toEqual([NaN, NaN]);
    }
  });

  test("add up weights and margins in f64, without those of the largest logit", () => {
    using batch = xent.createBatch({ rows: 1, classes: 5 });
    batch.logits.set([3, 1, 2, -(2 ** 60), 0.5]);
    batch.labels.set([0]);
    const classWeights = [7, 2 ** 60, 1, 2 ** 60, 2 ** -60];
    const given = { classOffset: 0, classesTotal: 5, labelSmoothing: 0.5, classWeights };
    const { weight, margin, bestWeight } = batch.partials(given);
    const [w = 0, m = 0, best = 0] = [weight, margin, bestWeight].map((column) => column[0] as number);
    expect(Math.abs(w - 2 ** 61)).toBeLessThanOrEqual(2 ** (61 - 52));
    expect(Math.abs(m - 2 ** 120)).toBeLessThanOrEqual(2 ** (120 - 52));
    expect(best).toBe(7);
  });
});

describe("a batch of a shard", () => {
  const whole = randomWhole(6, 900, 3);
  const shard = { classOffset: 300, classesTotal: 900 };

  test("gives the same bits with several threads, asynchronously, in place, for ranges of rows, and attached", async () => {
    using xent = createXentSync({ variant: "simd128" });
    using pooled = await createXent({ threads: 2, variant: "simd128" });
    // Large enough for a second thread.
    const large = randomWhole(256, 1500, 5);
    const cuts = [0, 700, 1500];
    const options: LossOptions = { reduction: "mean", ignoreIndex: large.labels[1] as number };
    const one = makeParts(xent, large, cuts, options, true);
    const two = makeParts(pooled, large, cuts, options, "in-place");
    const merged = mergePartials(one.map(({ partials }) => partials));
    for (const [i, { batch, partials }] of two.entries()) {
      const { batch: other, partials: wanted } = one[i] as (typeof one)[number];
      expect(bits(partials)).toBe(bits(wanted));
      const own = { ...options, classOffset: cuts[i] as number, classesTotal: 1500 };
      expect(bits(await batch.partialsAsync(own))).toBe(bits(wanted));
      const gradient = other.gradientFromPartials(merged).slice();
      const rows = other.partials({ ...own, rows: [100, 200] });
      expect(rows.sum).toEqual(wanted.sum.subarray(100, 200));
      expect(rows.labels).toEqual(wanted.labels.subarray(100, 200));
      expect(
        firstDifference(bytesOf(await batch.gradientFromPartialsAsync(merged)), bytesOf(gradient)),
      ).toBeUndefined();
    }
  });

  test("computes a range of its rows, with their weights and their gradient", () => {
    using xent = createXentSync();
    const options: LossOptions = { sampleWeights: [1, 2, 3, 4, 5, 6], reduction: "sum" };
    const parts = makeParts(xent, whole, [0, 300, 900], options, true);
    const all = parts.map(({ partials }) => partials);
    const merged = mergePartials(all);
    const gradients = parts.map(({ batch }) => batch.gradientFromPartials(merged).slice());
    const some = parts.map(({ batch }, i) => {
      batch.gradient?.fill(7);
      return batch.partials({ ...options, classOffset: 300 * i, classesTotal: 900, rows: [2, 5] });
    });
    const mergedSome = mergePartials(some);
    expect(lossFromPartials(mergedSome).loss).toEqual(lossFromPartials(merged).loss.subarray(2, 5));
    for (const [i, { batch }] of parts.entries()) {
      const { classes } = batch;
      const wanted = (gradients[i] as Float32Array).subarray(2 * classes, 5 * classes);
      expect(batch.gradientFromPartials(mergedSome)).toEqual(wanted);
      expect(new Set(batch.gradient?.subarray(5 * classes))).toEqual(new Set([7]));
      expect(new Set(batch.gradient?.subarray(0, 2 * classes))).toEqual(new Set([7]));
    }
  });

  test("keeps the weights of its partials for the gradient", () => {
    using xent = createXentSync();
    using batch = xent.createBatch({ rows: 6, classes: 900, gradient: true });
    batch.setLogits(whole.logits);
    const classWeights = Float32Array.from({ length: 900 }, (_, i) => 1 + (i % 3));
    const partials = batch.partials({ classWeights, labelSmoothing: 0.5, classOffset: 0, classesTotal: 900 });
    const wanted = batch.gradientFromPartials(partials).slice();
    classWeights.fill(9);
    expect(batch.gradientFromPartials(partials)).toEqual(wanted);
  });

  test("has working memory in the instance that it is attached to", async () => {
    using owner = createXentSync({ shared: true });
    using batch = owner.createBatch({ rows: 6, classes: 300, labels: "uint16", logits: "bfloat16" });
    batch.logits.set(whole.logits.subarray(0, 1800).map((_, i) => 0x3f80 + (i % 64)));
    batch.labels.fill(350);
    const wanted = bits(batch.partials(shard));
    const { attach } = await import("xent");
    using other = attach(owner.share());
    using attached = other.attachBatch(batch.share());
    expect(bits(attached.partials(shard))).toBe(wanted);
  });

  test("accepts labels of all classes, and writes nothing if one is beyond them", () => {
    using xent = createXentSync();
    using batch = xent.createBatch({ rows: 6, classes: 300, gradient: true });
    batch.labels.set([0, 299, 300, 599, 600, 900]);
    const before = new Uint8Array(xent.memory.buffer).slice();
    expect(thrown(() => batch.partials(shard))).toBe(
      "RangeError: Received a label value of 900 at row 5, which is outside the valid range of [0, 900)",
    );
    expect(firstChange(xent.memory, before)).toBeUndefined();
    const { labels, labelLogit } = batch.partials({ ...shard, invalidLabels: "nan" });
    expect([...labels]).toEqual([0, 299, 300, 599, 600, -2]);
    expect([...labelLogit].map(Number.isNaN)).toEqual([true, true, false, false, true, true]);
  });

  test("refuses invalid options with an error that names them", () => {
    using xent = createXentSync();
    using batch = xent.createBatch({ rows: 6, classes: 300 });
    const call = (options: unknown) => thrown(() => batch.partials(options as typeof shard));
    expect(call(undefined)).toBe(
      'TypeError: "options" expected an object with classOffset and classesTotal, got undefined',
    );
    expect(call({ classOffset: 0 })).toBe('TypeError: "classesTotal" expected an integer, got undefined');
    expect(call({ classOffset: 0, classesTotal: 299 })).toBe(
      'RangeError: "classesTotal" expected an integer from 300 to 2147483647, got 299',
    );
    expect(call({ classOffset: 601, classesTotal: 900 })).toBe(
      'RangeError: "classOffset" expected an integer from 0 to 600, got 601',
    );
    expect(call({ ...shard, classWeight: 1 })).toBe('TypeError: "options" has no option "classWeight"');
    expect(thrown(() => batch.run(shard as never))).toBe('TypeError: "options" has no option "classOffset"');
  });

  test("takes undefined, but not null, for the options of a gradient and for their reduction", async () => {
    using xent = createXentSync();
    using batch = xent.createBatch({ rows: 1, classes: 2, gradient: true });
    const merged = batch.partials({ classOffset: 0, classesTotal: 2 });
    const wanted = batch.gradientFromPartials(merged).slice();
    expect(batch.gradientFromPartials(merged, undefined)).toEqual(wanted);
    expect(batch.gradientFromPartials(merged, { reduction: undefined })).toEqual(wanted);
    expect(await batch.gradientFromPartialsAsync(merged, { reduction: undefined })).toEqual(wanted);
    const call = (options: unknown) => thrown(() => batch.gradientFromPartials(merged, options as object));
    expect(call(null)).toBe('TypeError: "options" expected an object, got null');
    expect(call({ reduction: null })).toBe('TypeError: "reduction" expected "none", "sum" or "mean", got null');
  });

  test("refuses a gradient from partials of another batch", () => {
    using xent = createXentSync();
    using bare = xent.createBatch({ rows: 6, classes: 900 });
    const parts = makeParts(xent, whole, [0, 300, 600, 900], {}, true);
    const all = parts.map(({ partials }) => partials);
    const merged = mergePartials(all);
    const [first] = parts as [(typeof parts)[number]];
    const call = (from: Partials) => thrown(() => first.batch.gradientFromPartials(from));
    using fresh = xent.createBatch({ rows: 6, classes: 300, gradient: true });
    expect(thrown(() => fresh.gradientFromPartials(merged))).toBe(
      "TypeError: gradientFromPartials() expected a call of partials() before",
    );
    bare.partials({ classOffset: 0, classesTotal: 900 });
    expect(thrown(() => bare.gradientFromPartials(merged))).toContain("expected a batch with memory for it");
    expect(call(mergePartials(all.slice(0, 2)))).toBe(
      'RangeError: "merged" expected all 900 classes, but [600, 900) are in no shard',
    );
    const fewer = xent.createBatch({ rows: 5, classes: 900 }).partials({ classOffset: 0, classesTotal: 900 });
    expect(call(fewer)).toBe('RangeError: "merged" expected the rows of the last partials(), 6, got 5');
    expect(call({ ...merged, settings: { ...merged.settings, zLoss: 1 } })).toBe(
      'RangeError: "merged" expected the zLoss of the last partials(), 0, got 1',
    );
    const labels = merged.labels.with(4, 17);
    expect(call({ ...merged, labels })).toBe(
      `RangeError: "merged" expected the label of row 4 of the last partials(), ${merged.labels[4]}, got 17`,
    );
    expect(call({} as Partials)).toContain(
      '"partials" expected what partials(), mergePartials() or decodePartials() gives',
    );
  });
});

describe("merging", () => {
  const xent = createXentSync();
  afterAll(() => xent.dispose());
  const whole = randomWhole(4, 30, 11);
  const parts = makeParts(xent, whole, [0, 10, 20, 30], {}, false).map(({ partials }) => partials);
  const [a, b, c] = parts as [Partials, Partials, Partials];

  test("tells which classes are merged", () => {
    expect(mergePartials(c, a).classes).toEqual([
      [0, 10],
      [20, 30],
    ]);
    expect(mergePartials([c, b], a).classes).toEqual([[0, 30]]);
  });

  test("refuses partials that do not match", () => {
    const call = (...some: unknown[]) => thrown(() => mergePartials(...(some as Partials[])));
    expect(call()).toBe('TypeError: "partials" expected at least one');
    expect(call(a, b, a)).toBe(
      'RangeError: "partials" expected shards without a class in common, got two with class 0',
    );
    const fewer = xent.createBatch({ rows: 3, classes: 10 }).partials({ classOffset: 10, classesTotal: 30 });
    expect(call(a, fewer)).toBe('RangeError: "partials" expected shards of the same rows, got 4 and 3');
    expect(call(a, { ...b, labels: b.labels.with(2, 0) })).toBe(
      `RangeError: "partials" expected shards of the same labels, row 2, got ${a.labels[2]} and 0`,
    );
    expect(call(a, { ...b, sum: [] })).toContain('TypeError: "partials" expected what partials()');
    expect(call(null)).toContain('TypeError: "partials" expected what partials()');
    // The last two shards have one class in common.
    const [both] = makeParts(xent, whole, [0, 11, 30], {}, false);
    expect(call(both?.partials, b)).toContain("got two with class 10");
  });

  test("gives no loss if classes are missing", () => {
    expect(thrown(() => lossFromPartials(mergePartials(b, c)))).toBe(
      'RangeError: "merged" expected all 30 classes, but [0, 10) are in no shard',
    );
    expect(thrown(() => lossFromPartials(mergePartials(a, c)))).toBe(
      'RangeError: "merged" expected all 30 classes, but [10, 20) are in no shard',
    );
  });
});
