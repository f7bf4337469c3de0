// Shards of the classes give the losses and gradients of one piece, for any order and grouping of the merges.
import fc from "fast-check";
import { afterAll, describe, expect, test } from "vitest";
import {
  createXentSync,
  decodePartials,
  encodePartials,
  type LossOptions,
  lossFromPartials,
  mergePartials,
  type Partials,
  type Xent,
} from "xent";
import { type Expected, expectResult, typedLogits } from "../support/expected.ts";
import { type Generator, generate, goldenCases, readGolden } from "../support/golden.ts";
import { bits, evenCuts, makeParts, randomWhole, runInShards, type Whole } from "../support/shards.ts";
import { ulp } from "../support/ulp.ts";
import { variants } from "../support/variants.ts";

describe.each(variants)("%s", (variant) => {
  const xent = createXentSync({ variant });
  afterAll(() => xent.dispose());

  describe("shards of the classes give the golden values of TensorFlow, PyTorch and others", () => {
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
    const [got, wanted] = [result.gradient as Float32Array, batch.gradient as Float32Array];
    for (let i = 0; i < got.length; i++) worst = Math.max(worst, ulp(got[i] as number, wanted[i] as number));
    // Each of the two is within 3 of the exact one.
    expect(worst).toBeLessThanOrEqual(4);
  });

  describe("logits that a shard can not judge alone", () => {
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
        // The second time with the loop for many classes: the added ones have no weight.
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
  ])("shards give the result of one piece: %s", (_, row, label, options) => {
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

  const [NONE, FAR] = [-Infinity, -3.4028234663852886e38];
  test.each<[string, "float32" | "float64", number[], number, number[] | undefined]>([
    ["is at -Infinity", "float32", [0, NONE], 1, undefined],
    ["is at -Infinity, next to logits whose sum overflows", "float64", [1.7e308, 1.7e308, 0, NONE], 3, undefined],
    ["is not, but another class", "float64", [1.7e308, NONE, 1.7e308, 1.7e308], 0, undefined],
    ["is at -Infinity without weight", "float32", [0, NONE], 1, [1, 0]],
    ["is at -Infinity without weight, below equal logits", "float32", [0, 0, NONE], 2, [1, 1, 0]],
    ["is far below without weight", "float32", [0, 1, 2, -1e10], 3, [1, 1, 1, 0]],
    ["is as far below as f32 allows, without weight", "float32", [0, 1, 2, FAR], 3, [1, 1, 1, 0]],
    ["is as far below, with a weight of 1e-38", "float32", [0, 1, 2, FAR], 3, [1, 1, 1, 1e-38]],
    ["is so far below that sums overflow, without weight", "float64", [0, 1, 2, -1.7e308], 3, [1e3, 1e3, 1e3, 0]],
    ["is 1e4 below without weight", "float64", [0, 1, -1e4], 2, [1, 1, 0]],
    ["has no weight, below a class that has and dominates", "float32", [17.3, 0, -5], 2, [1, 0, 0]],
    ["is below a class that dominates, besides weights of 1e-30", "float64", [100, 0, -5], 2, [1, 1e-30, 0]],
    ["is one of equal logits of any size", "float64", [1.7e308, 1.7e308, 1.7e308], 1, undefined],
    ["is at -Infinity, and has a negative weight", "float32", [0, 1, NONE], 2, [1, 1, -1]],
    ["is in front of a class at -Infinity with a negative weight", "float32", [0, 1, NONE], 0, [1, 1, -1]],
  ])("smoothed losses follow the formula if the label %s", (_, dtype, row, label, classWeights) => {
    const { length } = row;
    for (const cuts of [[0, length], evenCuts(length, 2), evenCuts(length, length)]) {
      expectSmoothed(xent, dtype, row, label, classWeights, cuts);
    }
  });

  test("smoothed losses follow the formula for any labels, masks, weights and shards", () => {
    const classes = fc.record({
      x: fc.constantFrom(0, 0.5, -5, 17.25, 60, -1e4, -1e20, NONE),
      weight: fc.constantFrom(0, 0, 1, 1, 0.3, 1e-6, 1e6),
    });
    fc.assert(
      fc.property(
        fc.constantFrom("float32" as const, "float64" as const),
        fc.constantFrom(0, 1e5),
        fc.array(classes, { minLength: 1, maxLength: 9 }),
        fc.nat(8),
        fc.uniqueArray(fc.integer({ min: 1, max: 8 })),
        (dtype, offset, all, label, cuts) => {
          const row = all.map(({ x }) => x + offset);
          fc.pre(label < row.length && row.some(Number.isFinite));
          const inside = cuts.filter((cut) => cut < row.length).sort((a, b) => a - b);
          const weights = all.map(({ weight }) => weight);
          expectSmoothed(xent, dtype, row, label, weights, [0, ...inside, row.length]);
        },
      ),
      { numRuns: 500 },
    );
  });

  // The capped logits are in another order, by a rounding error.
  test.each([
    [[100_010, 100_000], 0],
    [[-100_010, -100_000], 0],
    [[100_000, 100_010, 100_000], 1],
  ])("%j with a softcap of 1000 and the label %i are sent and merged", (row, label) => {
    for (const labelSmoothing of [0, 0.1]) {
      const whole: Whole = {
        ...{ dtype: "float64", shape: [1, row.length], axis: -1 },
        ...{ logits: Float64Array.from(row), labels: Int32Array.of(label) },
      };
      for (const cuts of [[0, row.length], evenCuts(row.length, 2), evenCuts(row.length, row.length)]) {
        const { sum } = runInShards(xent, whole, cuts, { softcap: 1000, labelSmoothing });
        expect(sum).toBeCloseTo(Math.log(row.length), 8);
      }
    }
  });

  test("predictions are those of the logits before the softcap, even if all of them are saturated", () => {
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
  ])("shards of soft targets %s give the result of one piece", (_, given, hot) => {
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
        // The whole target is at the largest logit, so that losses are small.
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
          const error = Math.abs((result.gradient?.[i] as number) - g) / size;
          // An expect for each of 160,000 would take most of the time of this suite.
          if (!(error <= 12 * 2 ** -23)) expect.fail(`gradient of class ${i} of ${classes}: relative error ${error}`);
        }
      }
    }
  });

  // Of logits in [-8, 8] no sum of a shard is 2^40 times smaller than another one. In [-32, 32] some are.
  test.each<[string, number, (merged: Partials) => unknown]>([
    ["in a bit of what is merged", 8, bits],
    ["in a loss", 32, (merged) => lossFromPartials(merged)],
  ])("order and grouping do not change %s, for any shards and options", (_, spread, shown) => {
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
            // Through bytes.
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

/** Expects loss and gradient of the formula, computed in f64 from parts that do not cancel, for a label smoothing of 0.1. */
function expectSmoothed(
  xent: Xent,
  dtype: "float32" | "float64",
  row: readonly number[],
  label: number,
  classWeights: readonly number[] | undefined,
  cuts: readonly number[],
): void {
  const classes = row.length;
  const logits = dtype === "float32" ? Float32Array.from(row) : Float64Array.from(row);
  const whole: Whole = { dtype, shape: [1, classes], axis: -1, labels: Int32Array.of(label), logits };
  const weights = Float32Array.from(classWeights ?? row.map(() => 1));
  const q = Array.from(weights, (w, j) => w * ((j === label ? 0.9 : 0) + 0.1 / classes));
  const x = Array.from(logits, Number);
  const most = Math.max(...x);
  const best = x.indexOf(most);
  const rest = x.reduce((sum, logit, j) => sum + (j === best ? 0 : Math.exp(logit - most)), 0);
  // With weights that are not negative, no part is; classes without weight have none.
  const parts = q.map((of, j) => (of === 0 ? 0 : of * (Math.log1p(rest) + (most - (x[j] as number)))));
  const loss = parts.reduce((a, b) => a + b);
  const all = q.reduce((a, b) => a + b);
  const result = runInShards(xent, whole, cuts, { labelSmoothing: 0.1, classWeights });
  expect(ulp(result.loss[0] as number, loss), `${result.loss[0]}, exact ${loss}`).toBeLessThanOrEqual(2.5);
  const double = dtype === "float64";
  if (double && Number.isFinite(loss))
    expect(Math.abs(result.sum - loss)).toBeLessThanOrEqual(2 ** -48 * Math.abs(loss));
  for (const [j, of] of q.entries()) {
    const taken = (all * Math.exp((x[j] as number) - most)) / (1 + rest);
    const error = Math.abs((result.gradient?.[j] as number) - (taken - of));
    const least = 2 ** (double ? -48 : -22) * (Math.abs(taken) + Math.abs(of));
    expect(error, `gradient of class ${j}`).toBeLessThanOrEqual(least);
  }
}
