// klDivergenceWithLogits and batches with target logits: 50-digit values, the formula in f64, and options that a divergence refuses.
import fc from "fast-check";
import { afterAll, describe, expect, test } from "vitest";
import {
  type Batch,
  type BatchGradient,
  createXent,
  createXentSync,
  type DivergenceOptions,
  klDivergenceWithLogits,
  type Xent,
} from "xent";
import { bytesOf, firstDifference } from "../support/bytes.ts";
import { holds, TIMEOUT } from "../support/cases.ts";
import { type Divergence, exactDivergence, expectDivergence } from "../support/divergence.ts";
import { bitsOf } from "../support/example.ts";
import { readGolden } from "../support/golden.ts";
import { bfloat16Bits, float16Bits, nearestFloat16 } from "../support/half.ts";
import { thrown } from "../support/thrown.ts";
import { variants } from "../support/variants.ts";

const SPECIAL: Record<string, number> = { NaN: Number.NaN, Infinity, "-Infinity": -Infinity };
/** The least finite logit. */
const LEAST = { float16: -65_504, bfloat16: -(2 ** 127), float32: -3.4028234663852886e38, float64: -Number.MAX_VALUE };
const flat = (nested: unknown): number[] =>
  Array.isArray(nested)
    ? nested.flatMap(flat)
    : [typeof nested === "string" ? (SPECIAL[nested] ?? Number(nested)) : Number(nested)];

/** A golden case, with the parts whose difference is the gradient. */
function goldenRows(entry: Record<string, unknown>): {
  shape: [number, number];
  logits: number[];
  targets: number[];
  rows: Divergence[];
} {
  const [rows, classes] = entry["shape"] as [number, number];
  const [logits, targets, loss, gradient] = ["logits", "targetLogits", "loss", "gradient"].map((name) =>
    flat(entry[name]),
  ) as [number[], number[], number[], number[]];
  const temperature = entry["temperature"] as number;
  return {
    shape: [rows, classes],
    logits,
    targets,
    rows: Array.from({ length: rows }, (_, row) => {
      const part = (all: number[]): number[] => all.slice(row * classes, (row + 1) * classes);
      const { larger } = exactDivergence(part(logits), part(targets), temperature);
      return { loss: loss[row] as number, gradient: part(gradient), larger, logSumExp: Number.NaN };
    }),
  };
}

describe.each(variants)("%s", (variant) => {
  const xent = createXentSync({ variant });
  afterAll(() => xent.dispose());
  const golden = readGolden("divergence").cases;

  test("divergence.json has more than 25 cases", () => expect(golden.length).toBeGreaterThan(25));

  test.each(golden.map((entry) => [entry.name, entry] as const))("golden: %s", (name, entry) => {
    const { shape, logits, targets, rows } = goldenRows(entry);
    const temperature = entry["temperature"] as number;
    const options = { temperature, gradient: true } as const;
    const [x, t] = [Float32Array.from(logits), Float32Array.from(targets)];
    const one = xent.klDivergenceWithLogits(x, t, { ...options, shape });
    expectDivergence(one, rows);
    if (name === "equal" || name === "random-C1") {
      expect([...one.loss, ...one.gradient].every((value) => value === 0)).toBe(true);
    }
    expectDivergence(
      xent.klDivergenceWithLogits(Float64Array.from(logits), Float64Array.from(targets), { ...options, shape }),
      rows,
    );
    for (const gradient of [true, "in-place"] as const) {
      using batch = xent.createBatch({ shape, gradient, targets: "logits" });
      batch.setLogits(x);
      batch.setTargets(t);
      expectDivergence(batch.run(options), rows);
    }
  });

  test("follows the formula in f64, for any type, layout, distance and temperature", { timeout: TIMEOUT }, async () => {
    const cases = fc.record({
      type: fc.constantFrom("float32", "float64", "float16", "bfloat16"),
      rows: fc.integer({ min: 1, max: 5 }),
      classes: fc.oneof(fc.integer({ min: 1, max: 40 }), fc.constantFrom(255, 257, 1023, 1025, 2100)),
      layout: fc.constantFrom("rows", "stride", "columns"),
      gradient: fc.constantFrom<BatchGradient>(false, true, "in-place"),
      distance: fc.constantFrom(0, 1e-5, 1e-3, 0.1, 1, 10, 80),
      offset: fc.constantFrom(0, 0, 64, -900),
      masked: fc.constantFrom("none", "both", "targets", "logits", "finite", "least"),
      options: fc.record({
        temperature: fc.constantFrom(1, 1, 0.5, 4),
        reduction: fc.constantFrom("none", "sum", "mean"),
      }),
      seed: fc.nat(),
    });
    await holds(
      fc.property(cases, ({ type, rows, classes, layout, gradient, distance, offset, masked, options, seed }) => {
        let state = seed;
        const random = (): number => {
          state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
          return state / 2 ** 31 - 1;
        };
        const bits = type === "float16" ? float16Bits : type === "bfloat16" ? bfloat16Bits : Number;
        // The numbers after rounding to the type.
        const rounded = (x: number): number => {
          if (type === "float64" || !Number.isFinite(x)) return x;
          if (type === "float16") return nearestFloat16(x);
          return type === "float32"
            ? Math.fround(x)
            : Math.fround(x - (x % 2 ** (Math.floor(Math.log2(Math.abs(x))) - 7)));
        };
        const given = Array.from({ length: rows * classes }, (_, i) => {
          const x = 6 * random();
          const t = x + distance * random() + offset;
          const hides = i % 7 === 3;
          // A mask in one model, at classes to which the other gives little probability.
          if (hides && masked === "finite") return [rounded(-1e4), rounded(-9)] as const;
          // Where the other has a weight that its type may not hold.
          if (hides && masked === "least") return [LEAST[type], rounded(offset - 20 * (i % 40))] as const;
          return [
            rounded(hides && (masked === "both" || masked === "logits") ? -Infinity : x),
            rounded(hides && (masked === "both" || masked === "targets") ? -Infinity : t),
          ] as const;
        });
        const own = gradient === "in-place" && type.endsWith("16") ? true : gradient;
        const types = { logits: type, gradient: own, targets: "logits" } as const;
        const size =
          layout === "columns"
            ? { shape: [1, classes, rows], axis: 1 }
            : { rows, classes, ...(layout === "stride" && { stride: classes + 3 }) };
        using batch = xent.createBatch({ ...size, ...types }) as Batch;
        const place = (i: number): number => {
          const [row, class_] = [Math.floor(i / classes), i % classes];
          return layout === "columns" ? class_ * rows + row : row * (classes + (layout === "stride" ? 3 : 0)) + class_;
        };
        for (const [i, [x, t]] of given.entries()) {
          batch.logits[place(i)] = bits(x);
          (batch.targets as Float32Array)[place(i)] = bits(t);
        }
        const exact = Array.from({ length: rows }, (_, row) => {
          const part = given.slice(row * classes, (row + 1) * classes);
          const [x, t] = [0, 1].map((side) => part.map((pair) => pair[side] as number));
          return exactDivergence(x as number[], t as number[], options.temperature);
        });
        const result = batch.run({ ...options, gradient: own !== false });
        const scale = options.reduction === "mean" ? 1 / rows : 1;
        const entries = result.gradient && given.map((_, i) => result.gradient?.[place(i)] as number);
        expectDivergence({ loss: result.loss, ...(entries && { gradient: entries }) }, exact, scale);
        const close = (got: number, value: number): void => {
          if (Number.isFinite(value)) expect(Math.abs(got - value)).toBeLessThanOrEqual(1e-5 * Math.abs(value) + 1e-6);
          else expect(got).toBe(value);
        };
        for (const [row, { logSumExp }] of exact.entries()) {
          // The lowest float divided by a temperature below 1 is beyond float32.
          const rounded = type === "float64" ? logSumExp : Math.fround(logSumExp);
          close(result.logSumExp[row] as number, Number.isFinite(rounded) ? logSumExp : rounded);
        }
        close(
          result.sum,
          exact.reduce((sum, { loss }) => sum + loss, 0),
        );
        expect(result.count).toBe(rows);
      }),
      300,
    );
  });

  test("the gradient is the slope of the loss, at any temperature", () => {
    for (const temperature of [0.5, 1, 7]) {
      const x = Float64Array.of(0.3, -1.2, 2.5, 0.1);
      const t = Float64Array.of(1.3, -0.7, 0.2, 0.4);
      const options = { shape: [1, 4], temperature } as const;
      const { gradient } = xent.klDivergenceWithLogits(x, t, { ...options, gradient: true });
      for (const [class_, slope] of gradient.entries()) {
        const at = (step: number): number => {
          const moved = x.slice();
          moved[class_] = (moved[class_] as number) + step;
          return xent.klDivergenceWithLogits(moved, t, options).loss[0] as number;
        };
        expect((at(1e-4) - at(-1e-4)) / 2e-4).toBeCloseTo(slope, 7);
      }
    }
  });

  test("a masked row is 0 for any contents, and does not count", () => {
    const logits = [
      [1, 2, 3],
      [Number.NaN, 2, 3],
      [3, 2, 1],
    ];
    const targets = [
      [1, 2, 4],
      [1, 2, 3],
      [1, 2, 3],
    ];
    const all = klDivergenceWithLogits(
      [
        [1, 2, 3],
        [3, 2, 1],
      ],
      [
        [1, 2, 4],
        [1, 2, 3],
      ],
      { gradient: true, reduction: "mean" },
    );
    for (const mask of [Uint8Array.of(1, 0, 5), [true, false, true]]) {
      const result = xent.klDivergenceWithLogits(logits, targets, { mask, gradient: true, reduction: "mean" });
      expect([result.loss[1], result.count, result.normalizer]).toEqual([0, 2, 2]);
      expect(result.mean).toBeCloseTo(all.mean, 12);
      expect([...result.gradient.subarray(3, 6)]).toEqual([0, 0, 0]);
      expect([...result.gradient.subarray(6)]).toEqual([...all.gradient.subarray(3)]);
    }
    const weighted = xent.klDivergenceWithLogits(logits, targets, {
      mask: [true, false, true],
      sampleWeights: [2, 3, 0],
    });
    expect([...weighted.loss]).toEqual([2 * (all.loss[0] as number), 0, 0]);
    expect(weighted.count).toBe(2);
  });

  test("predictions are those of the logits, and -1 for a row with NaN", () => {
    const result = xent.klDivergenceWithLogits(
      [
        [1, 3, 3],
        [1, 2, 3],
      ],
      [
        [9, 0, 0],
        [1, Number.NaN, 3],
      ],
      { predictions: true },
    );
    expect([...result.predictions]).toEqual([1, -1]);
    expect("correct" in result).toBe(false);
  });

  test("targets of a narrower type are widened without rounding", () => {
    const x = Float64Array.of(0.1, 0.2, 0.7);
    const t = Float32Array.of(0.3, 0.2, 0.1);
    const wide = xent.klDivergenceWithLogits(x, t, { shape: [1, 3] });
    expect(wide.loss).toEqual(xent.klDivergenceWithLogits(x, Float64Array.from(t), { shape: [1, 3] }).loss);
    expect(() => xent.klDivergenceWithLogits(t, x, { shape: [1, 3] })).toThrow(
      new TypeError('"targetLogits" is a Float64Array, but the logits are float32: give both the same type'),
    );
  });

  const refused: [string, object][] = [
    ["ignoreIndex", { ignoreIndex: 0 }],
    ["classWeights", { classWeights: [1, 1] }],
    ["labelSmoothing", { labelSmoothing: 0 }],
    ["zLoss", { zLoss: 0 }],
    ["softcap", { softcap: 30 }],
    ["invalidLabels", { invalidLabels: "nan" }],
  ];
  test.each(refused)("a divergence refuses the option %s", (name, options) => {
    const message = new RegExp(`^TypeError: "${name}" is not an option of a divergence`);
    expect(String(thrown(() => xent.klDivergenceWithLogits([[1, 2]], [[1, 2]], options as DivergenceOptions)))).toMatch(
      message,
    );
    using batch = xent.createBatch({ rows: 1, classes: 2, targets: "logits" });
    expect(String(thrown(() => batch.run(options)))).toMatch(message);
  });

  test("targets of another shape or type are refused with an error that names them", () => {
    const call =
      (...given: unknown[]) =>
      () =>
        (xent.klDivergenceWithLogits as (...given: unknown[]) => unknown)(...given);
    expect(call([[1, 2]], [[1, 2, 3]])).toThrow('"targetLogits" of sizes [1, 3] does not fit logits of [1, 2]');
    expect(call(Float32Array.of(1, 2), Float32Array.of(1), { shape: [1, 2] })).toThrow(
      '"targetLogits" expected one for each of 2 logits, got 1',
    );
    expect(call([[1, 2]], "x")).toThrow(TypeError);
    expect(call([[1, 2]], [[1, 2]], { mask: [1] })).toThrow(
      '"mask" expected a Uint8Array, or an array of true and false',
    );
    expect(call([[1, 2]], [[1, 2]], { mask: [true, true] })).toThrow('"mask" expected one for each of 1 rows, got 2');
    expect(call([[1, 2]], [[1, 2]], { mask: "all" })).toThrow(TypeError);
    using labels = xent.createBatch({ rows: 1, classes: 2 });
    expect(() => labels.run({ mask: [true] })).toThrow('"options" has no option "mask"');
    using batch = xent.createBatch({ rows: 1, classes: 2, targets: "logits" });
    expect(() => batch.labels).toThrow("this batch has target logits, and no labels");
    expect(() => xent.createBatch({ rows: 1, classes: 2, targets: "soft" as "logits" })).toThrow(
      '"targets" expected true, false or "logits"',
    );
    expect(() => batch.setTargets(Uint16Array.of(1))).toThrow("whose numbers are bits");
  });
});

test("a divergence has the same bits on any number of threads, and for ranges of rows", async () => {
  const [rows, classes] = [37, 3000];
  const fill = (xent: Xent): Batch<"float32", "int32", true, "logits"> => {
    const batch = xent.createBatch({ rows, classes, gradient: true, targets: "logits" });
    batch.logits.forEach((_, i, all) => {
      all[i] = Math.sin(i) * 9;
    });
    batch.targets.forEach((_, i, all) => {
      all[i] = Math.sin(i) * 9 + Math.cos(3 * i);
    });
    return batch;
  };
  using one = createXentSync({ variant: "simd128" });
  using many = await createXent({ variant: "simd128", threads: 3 });
  const [alone, shared] = [fill(one), fill(many)];
  const options = { gradient: true, predictions: true, temperature: 2, copy: true } as const;
  const expected = alone.run(options);
  expect(bitsOf(shared.run(options))).toEqual(bitsOf(expected));
  expect(bitsOf(await shared.runAsync(options))).toEqual(bitsOf(expected));
  const { loss, gradient } = alone.run({ ...options, rows: [5, 9] });
  expect(loss).toEqual(expected.loss.slice(5, 9));
  const same = expected.gradient.slice(5 * classes, 9 * classes);
  expect(firstDifference(bytesOf(gradient), bytesOf(same))).toBeUndefined();
});
