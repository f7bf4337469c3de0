// Shards of the classes of a divergence keep the contract of one piece, for any cuts.
import fc from "fast-check";
import { afterAll, describe, expect, test } from "vitest";
import { createXentSync, type DivergenceOptions, lossFromPartials, mergePartials, type Partials } from "xent";
import { holds, TIMEOUT } from "../support/cases.ts";
import { exactDivergence, expectDivergence, FAR_ROWS } from "../support/divergence.ts";
import { typedLogits } from "../support/expected.ts";
import { nearestFloat16 } from "../support/half.ts";
import { evenCuts, makeParts, runInShards, type Whole } from "../support/shards.ts";
import { variants } from "../support/variants.ts";

const ALL = { labels: new Int32Array(0), dtype: "float32", axis: -1 } as const;

function wholeOf(logits: readonly number[][], targets: readonly number[][]): Whole {
  const shape = [logits.length, (logits[0] as number[]).length];
  return { ...ALL, shape, logits: Float32Array.from(logits.flat()), targetLogits: Float32Array.from(targets.flat()) };
}

describe.each(variants)("%s", (variant) => {
  const xent = createXentSync({ variant });
  afterAll(() => xent.dispose());

  test("follow the formula in f64, for any type, layout, distance and cut", { timeout: TIMEOUT }, async () => {
    const cases = fc.record({
      dtype: fc.constantFrom("float32", "float64", "float16"),
      rows: fc.integer({ min: 1, max: 4 }),
      classes: fc.oneof(fc.integer({ min: 1, max: 40 }), fc.constantFrom(257, 1025, 2100)),
      axis: fc.constantFrom(0, 1),
      distance: fc.constantFrom(0, 1e-5, 1e-3, 0.1, 1, 10, 80, 2000),
      offset: fc.constantFrom(0, 0, 64, -900, 30_000),
      // The masks of some classes: none, -Infinity, or a finite one in one model where the other gives little probability.
      masks: fc.constantFrom<{ logits?: number; targets?: number }>(
        {},
        { logits: -Infinity, targets: -Infinity },
        { targets: -Infinity },
        { logits: -Infinity },
        { logits: -1e4, targets: -9 },
        { logits: -1e8, targets: -14 },
      ),
      cuts: fc.array(fc.nat(), { maxLength: 5 }),
      temperature: fc.constantFrom(1, 1, 0.5, 4),
      reduction: fc.constantFrom<"none" | "mean">("none", "mean"),
      seed: fc.nat(),
    });
    await holds(
      fc.property(cases, ({ dtype, rows, classes, axis, distance, offset, masks, cuts, seed, ...options }) => {
        let state = seed;
        const random = (): number => {
          state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
          return state / 2 ** 31 - 1;
        };
        const rounded = (x: number): number => {
          if (dtype === "float64" || x === -Infinity) return x;
          return dtype === "float32" ? Math.fround(x) : nearestFloat16(Math.max(x, -6e4));
        };
        const [x, t]: [number[][], number[][]] = [[], []];
        for (let row = 0; row < rows; row++) {
          // The models may agree on the largest logits, or not.
          const of = Array.from({ length: classes }, (_, j) => [6 * random(), random(), j % 7 === 3] as const);
          x.push(of.map(([a, , hides]) => rounded(hides ? (masks.logits ?? a) : a)));
          t.push(of.map(([a, b, hides]) => rounded((hides && masks.targets) || a + distance * b + offset)));
        }
        const flat = (all: number[][]): number[] =>
          axis === 1
            ? all.flat()
            : Array.from({ length: classes }, (_, j) => all.map((row) => row[j] as number)).flat();
        const whole: Whole = {
          ...ALL,
          dtype,
          shape: axis === 1 ? [rows, classes] : [classes, rows],
          axis,
          logits: typedLogits({ dtype, logits: flat(x) }),
          targetLogits: typedLogits({ dtype, logits: flat(t) }),
        };
        const places = cuts.map((cut) => cut % classes).filter((cut) => cut > 0);
        const ends = [...new Set([0, ...places, classes])].sort((a, b) => a - b);
        const result = runInShards(xent, whole, ends, options);
        const exact = x.map((row, i) => exactDivergence(row, t[i] as number[], options.temperature));
        const gradient = Array.from({ length: rows * classes }, (_, i) => {
          const [row, j] = [Math.floor(i / classes), i % classes];
          return result.gradient?.[axis === 1 ? i : j * rows + row] as number;
        });
        // The rounding of differences between shards (docs/scale.md), and between two numbers in f64.
        const size = dtype === "float64" ? Math.max(8, Math.abs(offset)) : 0;
        const rounding = 2 ** -50 * options.temperature + 2 ** -51 * size;
        expectDivergence(
          { loss: result.loss, gradient },
          exact,
          options.reduction === "mean" ? 1 / rows : 1,
          rounding / options.temperature,
        );
        // As docs/scale.md derives it.
        for (const [row, { logSumExp }] of exact.entries()) {
          const got = result.logSumExp[row] as number;
          if (!Number.isFinite(Math.fround(logSumExp))) expect(got).toBe(Math.fround(logSumExp));
          else expect(Math.abs(got - logSumExp)).toBeLessThanOrEqual(2 ** -23 + 2 ** -24 * Math.abs(logSumExp));
        }
      }),
      200,
    );
  });

  test.each<[string, number[], number[]]>([
    ["both rows are the same", [1, 5, -3, 0.5], [1, 5, -3, 0.5]],
    ["a shard of the targets is -Infinity", [1, 2, 0, 3], [1, 2, -Infinity, -Infinity]],
    ["a shard of the logits is -Infinity", [1, 2, -Infinity, -Infinity], [1, 2, 0, 3]],
    ["a shard is -Infinity in both", [-Infinity, -Infinity, 0, 3], [-Infinity, -Infinity, 1, 2]],
    ["all targets are -Infinity", [1, 2, 3, 4], Array(4).fill(-Infinity)],
    ["all logits are -Infinity", Array(4).fill(-Infinity), [1, 2, 3, 4]],
    ["a NaN among the targets", [1, 2, 3, 4], [1, 2, NaN, 4]],
    ["Infinity among the logits", [Infinity, 2, 3, 4], [1, 2, 3, 4]],
    ["each model is sure of another shard", [900, 1, 0, 2], [0, 1, 800, 2]],
    ["a shard that is far below in both", [-3e38, -3e38, 1, 0], [-3e38, -2e38, 1, 0.5]],
    ["1e8 on all logits of both", [1e8, 1e8 + 8, 1e8, 1e8], [1e8, 1e8, 1e8 + 16, 1e8]],
    ["another offset on each", [3e9, 3e9, 3e9 + 256, 3e9], [-1e6, -1e6 + 1, -1e6, -1e6]],
    ["a class of no weight that the logits forbid", [0, -Infinity, 0, 0], [0, -3000, 0, 0]],
    ["a logit far below one that the target expects little of", [-1e4, 0, 0, -9], [-9.2, -60, 0, -9]],
    ["a mask of -1e8 in one model, at a class of weight 1e-6", [-1e8, 0, 0, 0], [-14, -60, 0, -1]],
    ["a mask of -1e8 alone, beside a class of no weight", [-1e8, 0, 0, 0], [0, -50, 0, 0]],
    ["a shard whose sum is subnormal beside the others", [-742, 0, -742, 0], [0, 0, 0, 0]],
    ["a shard whose sum nearly vanishes beside the others", [-744.5, -744, 0, 0], [0, 0, 0, 0]],
  ])("%s", (_, x, t) => {
    const whole = wholeOf([x], [t]);
    const exact = [exactDivergence(Array.from(whole.logits, Number), Array.from(whole.targetLogits ?? [], Number), 1)];
    for (const cuts of [
      [0, 4],
      [0, 2, 4],
      [0, 1, 2, 3, 4],
    ]) {
      const { loss, gradient } = runInShards(xent, whole, cuts, {});
      expectDivergence({ loss, ...(gradient && { gradient }) }, exact);
      if (x === t || exact[0]?.loss === 0) expect([...loss, ...(gradient ?? [])].every((g) => g === 0)).toBe(true);
    }
  });

  // Differences within a shard have to fit f64 (docs/scale.md).
  const fits = (logit: number, temperature: number): boolean =>
    logit === -Infinity || Math.abs(logit) * Math.max(1, 1 / temperature) < 2 ** 1020;
  const held = FAR_ROWS.filter(({ t, x, temperature = 1 }) => [...t, ...x].every((logit) => fits(logit, temperature)));
  test.each(held)("shards follow the formula in real numbers: $name", ({ type, t, x, temperature = 1 }) => {
    const array = type === "float32" ? Float32Array : Float64Array;
    const whole: Whole = {
      ...ALL,
      dtype: type,
      shape: [1, x.length],
      logits: array.from(x),
      targetLogits: array.from(t),
    };
    const exact = [
      exactDivergence(Array.from(whole.logits, Number), Array.from(whole.targetLogits ?? [], Number), temperature),
    ];
    for (const cuts of [
      [0, x.length],
      [0, 1, x.length],
      [...x.keys(), x.length],
    ]) {
      const { loss, gradient } = runInShards(xent, whole, cuts, { temperature });
      expectDivergence({ loss, ...(gradient && { gradient }) }, exact);
    }
  });

  test("a divergence of 1e-12 keeps its digits", () => {
    const x = Float64Array.from({ length: 40 }, (_, j) => Math.sin(j));
    const t = x.map((value, j) => value + 1e-6 * Math.cos(3 * j));
    const whole: Whole = { ...ALL, dtype: "float64", shape: [1, 40], logits: x, targetLogits: t };
    const exact = exactDivergence([...x], [...t], 1);
    expect(exact.loss).toBeLessThan(1e-12);
    const { loss, gradient } = runInShards(xent, whole, evenCuts(40, 5), {});
    expectDivergence({ loss, ...(gradient && { gradient }) }, [exact]);
  });

  test("weights and masks act as in one piece, and a masked row may hold any numbers", () => {
    const x = [
      [1, 2, 3, 4],
      [NaN, 2, 3, 4],
      [4, 3, 2, 1],
      [0, 0, 0, 1],
    ];
    const t = [
      [1, 2, 3, 5],
      [1, 2, 3, 4],
      [1, 2, 3, 4],
      [1, 0, 0, 0],
    ];
    const options: DivergenceOptions = {
      mask: [true, false, true, true],
      sampleWeights: [2, 3, 0, 0.5],
      reduction: "mean",
    };
    const one = xent.klDivergenceWithLogits(x, t, { ...options, gradient: true });
    const shards = runInShards(xent, wholeOf(x, t), [0, 1, 4], options);
    expect(shards.loss[1]).toBe(0);
    expect([shards.count, shards.normalizer]).toEqual([one.count, one.normalizer]);
    expect(Math.abs((shards.mean as number) - one.mean)).toBeLessThan(1e-6);
    for (const [i, g] of one.gradient.entries())
      expect(Math.abs((shards.gradient?.[i] as number) - g)).toBeLessThan(1e-7);
  });

  test("any order and grouping gives the same sums and predictions", () => {
    const x = Float32Array.from({ length: 3 * 60 }, (_, i) => 8 * Math.sin(i * i));
    const t = x.map((value, i) => value + Math.cos(5 * i));
    const whole: Whole = { ...ALL, shape: [3, 60], logits: x, targetLogits: t };
    const parts = makeParts(xent, whole, [0, 7, 20, 41, 60], {}, true).map(({ batch, partials }) => {
      batch.dispose();
      return partials;
    }) as [Partials, Partials, Partials, Partials];
    const [a, b, c, d] = parts;
    const merged = [
      mergePartials(a, b, c, d),
      mergePartials(d, c, b, a),
      mergePartials(mergePartials(a, c), mergePartials(d, b)),
      mergePartials(mergePartials(mergePartials(b, d), a), c),
    ];
    for (const other of merged) {
      for (const name of ["sum", "sumLow", "targetSum", "targetSumLow", "predictions"] as const) {
        expect(other[name]).toEqual(merged[0]?.[name]);
      }
      expect(lossFromPartials(other).loss).toEqual(lossFromPartials(merged[0] as Partials).loss);
    }
    const [first, ...others] = merged;
    expect(others.length).toBe(3);
    expect(lossFromPartials(first as Partials).correct).toBe(0);
  });

  // From -2^31 on, a maximum has no power (crates/kernel/src/partial.rs).
  test.each<[string, number[], number[]]>([
    ["targets", [0, 1, -2.5], [0, -Infinity, -1e10]],
    ["logits", [0, -Infinity, -1e10], [0, 1, -2.5]],
  ])("a shard whose %s are -Infinity merges first with one far below", (_, x, t) => {
    const parts = makeParts(xent, wholeOf([x], [t]), [0, 1, 2, 3], {}, false).map(({ batch, partials }) => {
      batch.dispose();
      return partials;
    });
    const exact = [exactDivergence(x, t, 1)];
    for (const last of parts) {
      const first = mergePartials(parts.filter((part) => part !== last));
      expectDivergence({ loss: lossFromPartials(mergePartials(first, last)).loss }, exact);
    }
  });

  test("shards of other rows, options and kinds are refused", () => {
    const part = (options: DivergenceOptions, targets: "logits" | true): Partials => {
      using batch = xent.createBatch({ rows: 2, classes: 3, targets });
      return batch.partials({ ...options, classOffset: targets === true ? 3 : 0, classesTotal: 6 });
    };
    const one = part({}, "logits");
    expect(() => mergePartials(one, part({}, true))).toThrow(
      '"partials" expected shards of the same softTargets, got 0 and 1',
    );
    using other = xent.createBatch({ rows: 2, classes: 3, targets: "logits" });
    const masked = other.partials({ mask: [true, false], classOffset: 3, classesTotal: 6 });
    expect(() => mergePartials(one, masked)).toThrow(
      '"partials" expected shards of the same labels, row 1, got -2 and -1',
    );
    const warm = other.partials({ temperature: 2, classOffset: 3, classesTotal: 6 });
    expect(() => mergePartials(one, warm)).toThrow('"partials" expected shards of the same temperature, got 1 and 2');
  });
});
