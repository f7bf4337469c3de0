// Random options, types and layouts against the formula in f64, and rules that hold for all of them.
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { createXentSync, type LossOptions, type LossResult, type Xent } from "xent";
import { bytesOf, firstDifference } from "../support/bytes.ts";
import { holds } from "../support/cases.ts";
import { assertClose } from "../support/close.ts";
import { bfloat16Bits } from "../support/half.ts";
import { exactRow } from "../support/oracle.ts";
import { ulp } from "../support/ulp.ts";
import { variants } from "../support/variants.ts";

interface Problem {
  outer: number;
  inner: number;
  classes: number;
  type: "float32" | "float64" | "bfloat16";
  soft: boolean;
  seed: number;
  spread: number;
  ignored: boolean;
  options: LossOptions;
}

const problem: fc.Arbitrary<Problem> = fc.record({
  outer: fc.integer({ min: 1, max: 5 }),
  inner: fc.constantFrom(1, 1, 3),
  classes: fc.oneof(fc.integer({ min: 1, max: 40 }), fc.constantFrom(257, 1100)),
  type: fc.constantFrom("float32", "float32", "float64", "bfloat16"),
  soft: fc.boolean(),
  seed: fc.integer({ min: 1, max: 2 ** 31 - 1 }),
  spread: fc.constantFrom(0.1, 3, 25),
  ignored: fc.boolean(),
  options: fc.record(
    {
      reduction: fc.constantFrom("none", "sum", "mean"),
      labelSmoothing: fc.constantFrom(0, 0.1, 0.5),
      zLoss: fc.constantFrom(0, 1e-4, 0.01),
      softcap: fc.constantFrom(5, 30),
      temperature: fc.constantFrom(0.5, 1, 2.5),
      classWeights: fc.constant([]),
      sampleWeights: fc.constant([]),
    },
    { requiredKeys: [] },
  ) as fc.Arbitrary<LossOptions>,
});

function build({ outer, inner, classes, type, soft, seed, spread, ignored, options }: Problem) {
  let state = seed;
  const random = (): number => {
    state = (Math.imul(state, 1664525) + 1013904223) | 0;
    return (state >>> 8) / 2 ** 24;
  };
  const rows = outer * inner;
  const numbers = Array.from({ length: rows * classes }, () => Math.fround((2 * random() - 1) * spread));
  const bits = numbers.map((x) => bfloat16Bits(x));
  const x =
    type === "bfloat16" ? bits.map((b) => new Float32Array(Uint32Array.of(b << 16).buffer)[0] as number) : numbers;
  const labels = Int32Array.from({ length: rows }, () => Math.floor(random() * classes));
  const targets = Float32Array.from({ length: rows * classes }, () => random() / classes);
  const all: LossOptions = { ...options, gradient: true };
  if (options.classWeights) all.classWeights = Float32Array.from({ length: classes }, () => 0.25 + random());
  if (options.sampleWeights) all.sampleWeights = Float32Array.from({ length: rows }, () => 0.25 + random());
  if (ignored && !soft) {
    all.ignoreIndex = -7;
    labels[0] = -7;
  }
  const logits =
    type === "float32" ? Float32Array.from(x) : type === "float64" ? Float64Array.from(x) : Uint16Array.from(bits);
  const layout = { shape: [outer, classes, inner], axis: 1 };
  const place = (row: number, j: number): number => (Math.floor(row / inner) * classes + j) * inner + (row % inner);
  return { rows, logits, x, labels, targets, all, layout, place };
}

type Result = LossResult<Float32Array | Float64Array>;

/** Of losses and gradients. */
function assertSameBits(got: Result, wanted: Result): void {
  for (const name of ["loss", "gradient"] as const) {
    const [one, other] = [got, wanted].map((result) => bytesOf(result[name] as Float32Array));
    expect(firstDifference(one as Uint8Array, other as Uint8Array), name).toBeUndefined();
  }
}

function oneCall(xent: Xent, given: Problem): Result {
  const { logits, labels, targets, all, layout } = build(given);
  const options = { ...all, ...layout, ...(given.type === "bfloat16" ? { logits: given.type } : {}) };
  return given.soft
    ? xent.softmaxCrossEntropyWithLogits(logits, targets, options)
    : xent.sparseSoftmaxCrossEntropyWithLogits(logits, labels, options);
}

function inBatch(xent: Xent, given: Problem, gradient: true | "in-place"): Result {
  const { logits, labels, targets, all, layout } = build(given);
  using batch = xent.createBatch({ ...layout, logits: given.type, gradient, targets: given.soft });
  batch.logits.set(logits);
  if (given.soft) batch.targets?.set(targets);
  else batch.labels.set(labels);
  const result = batch.run(all);
  return { ...result, loss: result.loss.slice(), gradient: (result.gradient as Float32Array).slice() };
}

describe.each(variants)("%s", (variant) => {
  const xent = createXentSync({ variant });

  test("loss and gradient follow the formula, for all options, types and layouts together", async () => {
    await holds(
      fc.property(problem, (given) => {
        const { rows, x, labels, targets, all, place } = build(given);
        const { classes, soft } = given;
        const result = oneCall(xent, given);
        const isIgnored = (row: number): boolean => !soft && labels[row] === all.ignoreIndex;
        const weight = (row: number): number =>
          isIgnored(row) ? 0 : soft ? 1 : (all.classWeights?.[labels[row] as number] ?? 1);
        const normalizer = Array.from({ length: rows }, (_, row) => weight(row)).reduce((a, b) => a + b, 0);
        expect(Math.abs(result.normalizer - normalizer)).toBeLessThan(1e-9);
        const scale = given.options.reduction === "mean" ? (normalizer === 0 ? 0 : 1 / normalizer) : 1;
        for (let row = 0; row < rows; row++) {
          const indices = Array.from({ length: classes }, (_, j) => place(row, j));
          const target = soft ? indices.map((at) => targets[at] as number) : (labels[row] as number);
          const sampleWeight = all.sampleWeights?.[row] ?? 1;
          const exact = exactRow({ x: indices.map((at) => x[at] as number), target, sampleWeight }, all);
          const loss = result.loss[row] as number;
          if (isIgnored(row)) {
            expect(loss).toBe(0);
            for (const at of indices) expect(result.gradient?.[at]).toBe(0);
            continue;
          }
          const gradient = indices.map((at) => result.gradient?.[at] as number);
          assertClose(loss, gradient, exact, scale, `row ${row}`);
        }
      }),
      600,
    );
  });

  test("one call, a batch and an in-place gradient give the same bits", async () => {
    await holds(
      fc.property(problem, (given) => {
        const one = oneCall(xent, given);
        for (const gradient of given.type === "bfloat16" ? [true as const] : [true as const, "in-place" as const]) {
          const batch = inBatch(xent, given, gradient);
          assertSameBits(batch, one);
          expect([batch.sum, batch.mean, batch.normalizer]).toEqual([one.sum, one.mean, one.normalizer]);
        }
      }),
      300,
    );
  });

  test("a gradient is the derivative of the reduced loss", async () => {
    await holds(
      fc.property(problem, (given) => {
        // In f64 a difference quotient has digits to compare.
        const exact: Problem = { ...given, type: "float64", spread: 3 };
        const { logits, labels, targets, all, layout } = build(exact);
        const run = (x: Float64Array): LossResult<Float64Array> => {
          const options = { ...all, ...layout };
          return exact.soft
            ? xent.softmaxCrossEntropyWithLogits(x, targets, options)
            : xent.sparseSoftmaxCrossEntropyWithLogits(x, labels, options);
        };
        const x = logits as Float64Array;
        const at = Math.floor(x.length / 2);
        const step = 0.05;
        const reduced = (by: number): number => {
          const moved = x.slice();
          moved[at] = (moved[at] as number) + by;
          const result = run(moved);
          return all.reduction === "mean" ? result.mean : result.sum;
        };
        // Five points: the error is of the order of step^4; losses are rounded to f32.
        const slope = (8 * (reduced(step) - reduced(-step)) - (reduced(2 * step) - reduced(-2 * step))) / (12 * step);
        const got = run(x).gradient?.[at] as number;
        const noise = 2 ** -22 * (1 + Math.abs(reduced(0)) + Math.abs(run(x).loss.reduce((a, b) => a + b, 0)));
        expect(Math.abs(slope - got)).toBeLessThan(2e-3 * Math.abs(got) + 2e-4 + noise / step);
      }),
      300,
    );
  });

  test("options at their neutral values change no bit", async () => {
    const neutral: LossOptions[] = [{ labelSmoothing: 0 }, { zLoss: 0 }, { temperature: 1 }, { ignoreIndex: 5000 }];
    await holds(
      fc.property(problem, (given) => {
        const plain: Problem = { ...given, options: {}, ignored: false };
        const one = oneCall(xent, plain);
        for (const options of neutral) {
          if (given.soft && "ignoreIndex" in options) continue;
          const other = oneCall(xent, { ...plain, options });
          assertSameBits(other, one);
        }
      }),
      100,
    );
  });

  test("weights of 1 change at most the last place, weights of 0 remove their rows", () => {
    const logits = Float32Array.of(1, 2, 3, -1, 0.5, -Infinity);
    const run = (options: LossOptions): LossResult =>
      xent.sparseSoftmaxCrossEntropyWithLogits(logits, [0, 2], { gradient: true, ...options });
    const plain = run({});
    expect(plain.loss[1]).toBe(Infinity);
    const ones = run({ classWeights: [1, 1, 1], sampleWeights: [1, 1] });
    expect(ones.loss).toEqual(plain.loss);
    for (const [i, g] of (plain.gradient as Float32Array).entries())
      expect(ulp(ones.gradient?.[i] as number, g)).toBeLessThan(2);
    for (const options of [{ classWeights: [1, 1, 0] }, { sampleWeights: [1, 0] }]) {
      const { loss, gradient } = run(options);
      expect(loss[1]).toBe(0);
      expect(Array.from((gradient as Float32Array).subarray(3), Math.abs)).toEqual([0, 0, 0]);
    }
    expect(run({ classWeights: [1, 1, 0], reduction: "mean" }).normalizer).toBe(1);
  });

  test("adding a constant to a row or permuting its classes does not change its loss", async () => {
    await holds(
      fc.property(problem, fc.constantFrom(-64, 512), (given, offset) => {
        const { softcap: _, zLoss: __, classWeights: ___, ...options } = given.options;
        // Multiples of 1/64 stay exact under the offset.
        const { x, labels, all, layout } = build({ ...given, type: "float32", soft: false, options });
        const grid = Float32Array.from(x, (v) => Math.round(v * 64) / 64);
        const plain = xent.sparseSoftmaxCrossEntropyWithLogits(grid, labels, { ...all, ...layout });
        const moved = grid.map((v) => v + offset);
        const shifted = xent.sparseSoftmaxCrossEntropyWithLogits(moved, labels, { ...all, ...layout });
        for (const [row, loss] of plain.loss.entries())
          expect(ulp(shifted.loss[row] as number, loss)).toBeLessThanOrEqual(16);
        const { classes, inner } = given;
        const reversed = grid.map((_, at) => {
          const [o, j, i] = [Math.floor(at / (classes * inner)), Math.floor(at / inner) % classes, at % inner];
          return grid[(o * classes + (classes - 1 - j)) * inner + i] as number;
        });
        const mirrored = labels.map((label) => (label < 0 ? label : classes - 1 - label));
        const other = xent.sparseSoftmaxCrossEntropyWithLogits(reversed, mirrored, { ...all, ...layout });
        for (const [row, loss] of plain.loss.entries())
          expect(ulp(other.loss[row] as number, loss)).toBeLessThanOrEqual(16);
      }),
      200,
    );
  });
});

describe("layouts", () => {
  const xent = createXentSync();

  test("a stride does not write the padding", () => {
    using batch = xent.createBatch({ rows: 3, classes: 5, stride: 8, gradient: true });
    using plain = xent.createBatch({ rows: 3, classes: 5, gradient: true });
    batch.logits.fill(99);
    batch.gradient?.fill(-77);
    for (let row = 0; row < 3; row++) {
      for (let j = 0; j < 5; j++) {
        batch.logits[row * 8 + j] = plain.logits[row * 5 + j] = Math.fround(Math.sin(7 * row + j));
      }
      batch.labels[row] = plain.labels[row] = row;
    }
    const options: LossOptions = { gradient: true };
    expect(batch.run(options).loss).toEqual(plain.run(options).loss);
    for (let at = 0; at < 24; at++) {
      const expected = at % 8 < 5 ? plain.gradient?.[Math.floor(at / 8) * 5 + (at % 8)] : -77;
      expect(batch.gradient?.[at]).toBe(expected);
    }
  });

  test("a shift takes the label of the next token, and ignores the last row of each sequence", () => {
    const tokens = [3, 1, 4, 1, 0, 2];
    using shifted = xent.createBatch({ rows: 6, classes: 5, shift: 1, sequence: 3, gradient: true });
    using plain = xent.createBatch({ rows: 6, classes: 5, gradient: true });
    shifted.logits.set(plain.logits.map((_, i) => (plain.logits[i] = Math.sin(i))));
    shifted.labels.set(tokens);
    plain.labels.set([1, 4, -100, 0, 2, -100]);
    const next = shifted.run({ gradient: true, reduction: "mean" });
    const same = plain.run({ gradient: true, reduction: "mean", ignoreIndex: -100 });
    expect(next.loss).toEqual(same.loss);
    expect(next.gradient).toEqual(same.gradient);
    expect([next.mean, next.normalizer]).toEqual([same.mean, 4]);
    expect(Array.from(shifted.labels)).toEqual(tokens);
  });

  test("labels of every integer type give the same result", () => {
    const types = ["int32", "int8", "int16", "uint8", "uint16", "uint32", "int64", "uint64"] as const;
    const losses = types.map((labels) => {
      using batch = xent.createBatch({ rows: 3, classes: 4, labels });
      batch.logits.set(Array.from({ length: 12 }, (_, i) => i % 5));
      const values = [2, 0, 3];
      if (batch.labels instanceof BigInt64Array || batch.labels instanceof BigUint64Array)
        batch.labels.set(values.map(BigInt));
      else batch.labels.set(values);
      return Array.from(batch.run().loss);
    });
    for (const loss of losses) expect(loss).toEqual(losses[0]);
  });
});
