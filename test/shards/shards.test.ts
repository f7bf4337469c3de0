// Classes in shards: the same losses and gradients as in one piece, in whatever order and grouping the shards are merged.
import fc from "fast-check";
import { afterAll, describe, expect, test } from "vitest";
import {
  createXent,
  createXentSync,
  decodePartials,
  encodePartials,
  type LossOptions,
  lossFromPartials,
  mergePartials,
  type Partials,
} from "xent";
import { bytesOf, firstChange, firstDifference } from "../support/bytes.ts";
import { type Expected, expectResult, typedLogits } from "../support/expected.ts";
import { type Generator, generate, goldenCases, readGolden } from "../support/golden.ts";
import { evenCuts, makeParts, runInShards, type Whole } from "../support/shards.ts";
import { thrown } from "../support/thrown.ts";
import { ulp } from "../support/ulp.ts";
import { variants } from "../support/variants.ts";

/** Seeded, so that a failure can be seen again. */
function randomWhole(rows: number, classes: number, seed: number, spread = 8): Whole {
  const spec = { rows, classes, seed, bits: 16, shift: 16 - Math.log2(2 * spread), boost: 0 };
  return { dtype: "float32", shape: [rows, classes], axis: -1, ...generate(spec) };
}

/** As they are sent: the bits of everything in them. */
const bits = (partials: Partials): string => Buffer.from(encodePartials(partials)).toString("base64");

describe.each(variants)("%s", (variant) => {
  const xent = createXentSync({ variant });
  afterAll(() => xent.dispose());

  describe("what TensorFlow, PyTorch and the others should return comes out of shards of the classes", () => {
    for (const file of ["named", "numerics", "options"]) {
      const cases = goldenCases(file).filter((golden) => !golden.kerasProbabilities);
      test.each(cases.map((golden) => [golden.name, golden] as const))(`${file}: %s`, (_, golden) => {
        const { axis = -1, ...rest } = golden.options as { axis?: number };
        const options: LossOptions = { ...rest, reduction: golden.gradientOf };
        const { dtype, shape } = golden;
        const classes = shape.at(axis) as number;
        const labels = Int32Array.from(golden.labels ?? []);
        const targets = golden.targets && Float32Array.from(golden.targets);
        const whole = { dtype, shape, axis, logits: typedLogits(golden), labels, targets };
        for (const count of [1, 2, 3, 7].filter((count) => count <= classes)) {
          const expected = {
            ...golden,
            classes,
            options: { ...golden.options, ...(targets ? { targets: golden.targets } : {}) },
          };
          expectResult(runInShards(xent, whole, evenCuts(classes, count), options), expected);
        }
      });
    }

    const wide = readGolden("generated").cases.filter(({ generator }) => (generator as Generator).classes > 600);
    test.each(wide.map((entry) => [entry.name, entry] as const))("generated: %s", (_, entry) => {
      const generator = entry.generator as Generator;
      const { rows, classes } = generator;
      const { labels, logits } = generate(generator, (entry.options as LossOptions).ignoreIndex);
      const gradientSamples = (entry.gradientSamples ?? []).map(([row, column, value]): [number, number] => [
        row * classes + column,
        value,
      ]);
      const expected = { ...(entry as unknown as Expected), classes, dtype: "float32" as const, gradientSamples };
      const options: LossOptions = { ...entry.options, reduction: entry.gradientOf ?? "sum" };
      const whole: Whole = { dtype: "float32", shape: [rows, classes], axis: -1, logits, labels };
      expectResult(runInShards(xent, whole, evenCuts(classes, 3), options), expected);
    });
  });

  test.each([1, 2, 3, 7, 64])("8 rows of 262,144 classes in %i shards are within 1 ulp of the whole", (count) => {
    const whole = randomWhole(8, 262_144, 7);
    using batch = xent.createBatch({ rows: 8, classes: 262_144, gradient: true });
    batch.logits.set(whole.logits);
    batch.labels.set(whole.labels);
    const one = batch.run({ gradient: true, predictions: true });
    const result = runInShards(xent, whole, evenCuts(262_144, count), {});
    expect(result.predictions).toEqual(one.predictions);
    expect(Math.max(...result.loss.map((loss, row) => ulp(loss, one.loss[row] as number)))).toBeLessThanOrEqual(1);
    let worst = 0;
    for (const [i, g] of (result.gradient as Float32Array).entries()) {
      worst = Math.max(worst, ulp(g, batch.gradient?.[i] as number));
    }
    // Each of the two within 3 of the exact one.
    expect(worst).toBeLessThanOrEqual(4);
  });

  describe("logits that a shard alone does not know what to do with", () => {
    const E = Math.E;
    test.each<[string, number[], number, number]>([
      ["all of a shard are -Infinity", [-Infinity, -Infinity, 0, 1], 2, Math.log1p(E)],
      ["the label's shard is -Infinity", [-Infinity, -Infinity, 0, 1], 0, Infinity],
      ["all are -Infinity", [-Infinity, -Infinity, -Infinity, -Infinity], 0, NaN],
      ["NaN in another shard than the label's", [0, 1, NaN, 1], 0, NaN],
      ["NaN at the label", [0, NaN, 1, 1], 1, NaN],
      ["Infinity in another shard", [0, 1, Infinity, 1], 0, NaN],
      ["Infinity at the label", [0, 1, Infinity, 1], 2, NaN],
      ["1e8 on every logit", [1e8, 1e8, 1e8, -Infinity], 0, Math.log(3)],
      ["3e38 on every logit", [3e38, 3e38, 3e38, 3e38], 3, Math.log(4)],
      ["a shard that is far below", [-3e38, -3e38, 1, 0], 2, Math.log1p(1 / E)],
      ["a label that is far below", [-1000, 0, 0, 0], 0, 1000 + Math.log(3)],
      ["a label that is far above", [90, 0, 0, 1], 0, Math.log1p((2 + E) * Math.exp(-90))],
      ["others that are far above in another shard", [0, 1, 5000, 5000], 1, 4999 + Math.log(2)],
    ])("%s", (_, row, label, exact) => {
      for (const repeat of [1, 300]) {
        // The second time through the loop for many classes: what is added has no weight.
        const logits = Float32Array.from(row.flatMap((x) => [x, ...Array<number>(repeat - 1).fill(-Infinity)]));
        const classes = logits.length;
        const whole: Whole = {
          ...{ dtype: "float32", shape: [2, classes], axis: -1 },
          logits: Float32Array.from([...logits, ...logits.map((_, i) => i % 5)]),
          labels: Int32Array.of(label * repeat, 3),
        };
        const result = runInShards(xent, whole, evenCuts(classes, 2), {});
        expect(ulp(result.loss[0] as number, exact), `${result.loss[0]}, exact ${exact}`).toBeLessThanOrEqual(2);
        expect(result.loss[1]).toBeGreaterThan(0);
        const sum = (result.gradient as Float32Array).slice(classes).reduce((a, b) => a + b, 0);
        expect(Math.abs(sum)).toBeLessThan(1e-6);
      }
    });
  });

  test.each<[string, number[], number, LossOptions]>([
    ["a label without weight counts nothing, even at -Infinity", [-Infinity, 0, 1], 0, { classWeights: [0, 1, 1] }],
    ["nor does it with smoothing", [-Infinity, 0, 1], 0, { classWeights: [0, 1, 1], labelSmoothing: 0.3 }],
    ["a row without weight counts nothing, even at -Infinity", [-Infinity, 0, 1], 0, { sampleWeights: [0] }],
    ["a row without weight is 0 where it is broken", [NaN, 0, 1], 0, { sampleWeights: [0] }],
    ["a log-sum-exp next to 0", [0, -36, -36], 0, {}],
    ["a label half a unit below the maximum", [-0.5, -1, 0], 0, {}],
  ])("are computed as in one piece: %s", (_, row, label, options) => {
    const logits = Float32Array.from(row);
    const labels = Int32Array.of(label);
    const whole: Whole = { dtype: "float32", shape: [1, 3], axis: -1, logits, labels };
    const one = xent.sparseSoftmaxCrossEntropyWithLogits(logits, labels, options);
    const result = runInShards(xent, whole, [0, 2, 3], options);
    for (const name of ["loss", "logSumExp"] as const) {
      const [got, wanted] = [result[name][0] as number, one[name][0] as number];
      expect(ulp(got, wanted), `${name} ${got}, in one piece ${wanted}`).toBeLessThanOrEqual(1);
    }
  });

  test("predictions are of the logits before the softcap, also where all of them are saturated", () => {
    const logits = Float32Array.of(18.5, 3, 19.375, 1, 19, 18, -4, 19.375, 19, 20, 20, 19);
    for (const [softcap, temperature] of [
      [1, 10],
      [1, 1],
      [5, 1],
      [30, 0.5],
    ] as const) {
      for (const targets of [undefined, Float32Array.from(logits, Math.abs)]) {
        const whole: Whole = {
          dtype: "float32",
          shape: [3, 4],
          axis: -1,
          logits,
          labels: Int32Array.of(0, 1, 2),
          targets,
        };
        for (const cuts of [
          [0, 4],
          [0, 1, 4],
          [0, 2, 4],
          [0, 1, 2, 3, 4],
        ]) {
          const { predictions } = runInShards(xent, whole, cuts, { softcap, temperature });
          expect([...(predictions as Int32Array)]).toEqual([2, 3, 1]);
        }
      }
    }
  });

  test.each<[string, LossOptions, boolean]>([
    ["alone", {}, false],
    ["with the other options", { labelSmoothing: 0.2, zLoss: 0.01, sampleWeights: [1, 0, 2] }, false],
    ["with softcap and temperature", { softcap: 5, temperature: 2 }, false],
    ["with class weights", { classWeights: [] }, false],
    ["of one class", {}, true],
    ["of one class, with smoothing", { labelSmoothing: 1e-6 }, true],
  ])("soft targets %s are computed as in one piece", (_, given, hot) => {
    for (const [classes, seed, spread] of [
      [7, 1, 8],
      [300, 2, 8],
      [300, 3, 64],
      [3000, 4, 32],
    ] as const) {
      const whole = randomWhole(3, classes, seed, spread);
      const classWeights = Float32Array.from(whole.logits.subarray(0, classes), Math.abs);
      const options: LossOptions = given.classWeights ? { ...given, classWeights } : given;
      const shares = Float32Array.from(whole.logits, (_, i) => ((i * 7919) % 13) / 13 / classes);
      for (let begin = 0; hot && begin < shares.length; begin += classes) {
        // All of it at the largest logit, so that losses are small.
        const row = whole.logits.subarray(begin, begin + classes);
        shares.fill(0, begin, begin + classes)[begin + row.indexOf(Math.max(...row))] = 1;
      }
      using batch = xent.createBatch({ rows: 3, classes, gradient: true, targets: true });
      batch.logits.set(whole.logits);
      batch.targets.set(shares);
      const one = batch.run({ ...options, gradient: true, predictions: true, reduction: "sum" });
      for (const cuts of [[0, classes], evenCuts(classes, 2), evenCuts(classes, 5), [0, 1, classes - 1, classes]]) {
        const result = runInShards(xent, { ...whole, targets: shares }, cuts, { ...options, reduction: "sum" });
        expect(result.predictions).toEqual(one.predictions);
        for (const [row, loss] of one.loss.entries()) {
          expect(
            ulp(result.loss[row] as number, loss),
            `${result.loss[row]}, in one piece ${loss}`,
          ).toBeLessThanOrEqual(5);
        }
        for (const [i, g] of one.gradient.entries()) {
          const size = Math.max(Math.abs(g), 2 * (shares[i] as number), 1e-30);
          expect(Math.abs((result.gradient?.[i] as number) - g) / size, `${i} of ${classes}`).toBeLessThanOrEqual(
            12 * 2 ** -23,
          );
        }
      }
    }
  });

  // Of logits in [-8, 8] no sum of a shard is 2^40 times smaller than another one. In [-32, 32] some are.
  test.each<[string, number, (merged: Partials) => unknown]>([
    ["in a bit of what is merged", 8, bits],
    ["in a loss", 32, (merged) => lossFromPartials(merged)],
  ])("neither order nor grouping shows %s, for any shards and options", (_, spread, shown) => {
    const options: (LossOptions & { soft?: boolean })[] = [
      ...[{}, { softcap: 10 }, { labelSmoothing: 0.1, classWeights: [] }, { zLoss: 0.1 }],
      ...[{ soft: true }, { soft: true, labelSmoothing: 0.1 }],
    ];
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 2 ** 31 - 1 }),
        fc.uniqueArray(fc.integer({ min: 1, max: 699 }), { minLength: 1, maxLength: 9 }),
        fc.constantFrom(...options),
        fc.infiniteStream(fc.nat()),
        (seed, cuts, { soft, ...given }, choices) => {
          const random = randomWhole(3, 700, seed, spread);
          const whole = soft
            ? { ...random, targets: Float32Array.from(random.logits, (x) => Math.abs(x) / 1000) }
            : random;
          const weights = Float32Array.from(whole.logits.subarray(0, 700), Math.abs);
          const all: LossOptions = given.classWeights ? { ...given, classWeights: weights } : given;
          const sorted = [0, ...cuts.sort((a, b) => a - b), 700];
          const parts = makeParts(xent, whole, sorted, all, false);
          const wanted = shown(mergePartials(parts.map(({ partials }) => partials)));
          const left = parts.map(({ partials }) => partials);
          const take = (): Partials => left.splice((choices.next().value as number) % left.length, 1)[0] as Partials;
          while (left.length > 1) {
            const two = [take(), take()];
            // By way of bytes.
            left.push(decodePartials(encodePartials(mergePartials(...two))));
          }
          for (const { batch } of parts) batch.dispose();
          expect(shown(mergePartials(left))).toEqual(wanted);
        },
      ),
      { numRuns: 150 },
    );
  });
});

describe("partials", () => {
  const xent = createXentSync();
  afterAll(() => xent.dispose());

  test.each([NaN, Infinity])("say that a row has a %d, wherever it is", (broken) => {
    for (const classes of [4, 600]) {
      using batch = xent.createBatch({ rows: 3, classes });
      // At the label, beside it, and in a row whose label is elsewhere.
      for (const row of [0, 1, 2]) batch.logits[row * classes + 1] = broken;
      batch.labels.set([1, 2, classes]);
      const { maximum, sum } = batch.partials({ classOffset: 0, classesTotal: 2 * classes });
      expect([...maximum]).toEqual([NaN, NaN, NaN]);
      expect([...sum].slice(1)).toEqual([NaN, NaN]);
    }
  });

  test("add up weights and weighted logits in f64, the latter from the largest logit", () => {
    using batch = xent.createBatch({ rows: 1, classes: 5 });
    batch.logits.set([3, 1, 2, -(2 ** 60), 0.5]);
    batch.labels.set([0]);
    const classWeights = [1, 2 ** 60, 1, 2 ** 60, 2 ** -60];
    const given = { classOffset: 0, classesTotal: 5, labelSmoothing: 0.5, classWeights };
    const { weight, weightLow, weighted, weightedLow } = batch.partials(given);
    const sums = [weight, weightLow, weighted, weightedLow].map((column) => column[0] as number);
    const [w = 0, wLow = 0, wx = 0, wxLow = 0] = sums;
    expect(Math.abs(w + wLow - 2 ** 61)).toBeLessThanOrEqual(2 ** (61 - 52));
    expect(Math.abs(wx + wxLow + 2 ** 120)).toBeLessThanOrEqual(2 ** (120 - 50));
  });
});

describe("a batch of a shard", () => {
  const whole = randomWhole(6, 900, 3);
  const shard = { classOffset: 300, classesTotal: 900 };

  test("gives the same bits by several threads, without blocking, in place, by rows, and attached", async () => {
    using xent = createXentSync({ variant: "simd128" });
    using pooled = await createXent({ threads: 2, variant: "simd128" });
    // Worth a second thread.
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

  test("does some of its rows alone, with their weights and their gradient", () => {
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

  test("keeps the weights that its partials were called with", () => {
    using xent = createXentSync();
    using batch = xent.createBatch({ rows: 6, classes: 900, gradient: true });
    batch.setLogits(whole.logits);
    const classWeights = Float32Array.from({ length: 900 }, (_, i) => 1 + (i % 3));
    const partials = batch.partials({ classWeights, labelSmoothing: 0.5, classOffset: 0, classesTotal: 900 });
    const wanted = batch.gradientFromPartials(partials).slice();
    classWeights.fill(9);
    expect(batch.gradientFromPartials(partials)).toEqual(wanted);
  });

  test("has its working memory where it is attached", async () => {
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

  test("takes labels of all classes, and writes nothing where one is beyond them", () => {
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

  test("says what is wrong with its options", () => {
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

  test("makes no gradient of partials that are not its own", () => {
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

  test("says which classes were seen", () => {
    expect(mergePartials(c, a).classes).toEqual([
      [0, 10],
      [20, 30],
    ]);
    expect(mergePartials([c, b], a).classes).toEqual([[0, 30]]);
  });

  test("refuses what does not belong together", () => {
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
    // One class of the last shard is one of the shard before, too.
    const [both] = makeParts(xent, whole, [0, 11, 30], {}, false);
    expect(call(both?.partials, b)).toContain("got two with class 10");
  });

  test("gives no loss where classes are missing", () => {
    expect(thrown(() => lossFromPartials(mergePartials(b, c)))).toBe(
      'RangeError: "merged" expected all 30 classes, but [0, 10) are in no shard',
    );
    expect(thrown(() => lossFromPartials(mergePartials(a, c)))).toBe(
      'RangeError: "merged" expected all 30 classes, but [10, 20) are in no shard',
    );
  });
});
