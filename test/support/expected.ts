import { expect } from "vitest";
import type { LossResult } from "xent";
import type { GoldenCase } from "./golden.ts";
import { bfloat16Bits, float16Bits } from "./half.ts";
import { ulp } from "./ulp.ts";

/** The expected result of a case. */
export type Expected = Pick<
  GoldenCase,
  "loss" | "logSumExp" | "gradient" | "gradientSamples" | "gradientChecks" | "predictions" | "reduced" | "dtype"
> & {
  classes: number;
  options: Record<string, unknown>;
  lossOverflowsFloat32?: boolean;
};

/** The parts of a result that are compared. */
export type Result = Pick<
  LossResult<Float32Array | Float64Array>,
  "loss" | "logSumExp" | "gradient" | "predictions" | "sum" | "mean" | "normalizer"
>;

/** Largest errors allowed, in ulp of float32: of a loss, of an entry of the gradient. */
function bounds({ options }: Expected): [number, number] {
  const plain = Object.keys(options).every((name) => ["reduction", "ignoreIndex", "axis"].includes(name));
  if (!plain) return [8, 32];
  return [2, 3];
}

/** The largest amount that smoothing subtracts from an entry of the gradient. */
function smoothedPart({ options, classes, reduced }: Expected): number {
  const largest = (name: string): number => Math.max(...((options[name] as number[] | undefined) ?? [1]).map(Math.abs));
  const { labelSmoothing = 0, temperature = 1, reduction } = options as Record<string, number>;
  const scale = String(reduction) === "mean" ? 1 / (reduced["normalizer"] ?? 1) : 1;
  return (
    ((labelSmoothing / classes) * largest("classWeights") * largest("sampleWeights") * Math.abs(scale)) / temperature
  );
}

/** Asserts the contract. An `expect` for each entry would take longer than the runs. */
export function expectResult(result: Result, expected: Expected): void {
  const [lossBound, gradientBound] = bounds(expected);
  expect(result.loss.length).toBe(expected.loss.length);
  for (const [row, exact] of expected.loss.entries()) {
    const got = result.loss[row] as number;
    if (!(ulp(got, exact) <= lossBound)) expect.fail(`loss of row ${row}: ${got}, exact ${exact}`);
  }
  for (const [row, exact] of (expected.logSumExp ?? []).entries()) {
    const got = result.logSumExp[row] as number;
    const representable = Math.abs(exact) < 2 ** 128;
    const error = representable ? Math.abs(got - exact) / Math.max(1, Math.abs(exact)) : ulp(got, exact);
    if (!(error < 2.5e-7)) expect.fail(`log-sum-exp of row ${row}: ${got}, exact ${exact}`);
  }
  const gradient = result.gradient as Float32Array | Float64Array;
  // The gradient is p minus a target: if both are nearly equal, only the last place of these parts is known.
  const vanishing = expected.options["targets"] ? 3 * 2 ** -24 : 6 * 2 ** -24 * smoothedPart(expected);
  for (const [at, exact] of expected.gradient?.entries() ?? expected.gradientSamples ?? []) {
    const got = gradient[at] as number;
    if (Math.abs(got - exact) <= vanishing) continue;
    const isSingle = expected.dtype !== "float64" || exact === 0 || !Number.isFinite(exact);
    const isClose = ulp(got, exact) <= gradientBound && (isSingle || Math.abs(got / exact - 1) < 1e-14);
    if (!isClose) expect.fail(`gradient at ${at}: ${got}, exact ${exact}`);
  }
  if (expected.gradientChecks) {
    const { sumAbs, sumSquares, weighted } = expected.gradientChecks;
    const sums = [0, 0, 0] as [number, number, number];
    // An iterator would take most of the time of these suites.
    for (let i = 0; i < gradient.length; i++) {
      const g = gradient[i] as number;
      sums[0] += Math.abs(g);
      sums[1] += g * g;
      sums[2] += g * ((i % 13) - 6);
    }
    expect(Math.abs(sums[0] - sumAbs)).toBeLessThanOrEqual(2e-7 * sumAbs);
    expect(Math.abs(sums[1] - sumSquares)).toBeLessThanOrEqual(4e-7 * sumSquares);
    expect(Math.abs(sums[2] - weighted)).toBeLessThanOrEqual(1e-6 * sumAbs);
  }
  for (const [row, exact] of (expected.predictions ?? []).entries()) {
    const undefinedRow = Number.isNaN(expected.logSumExp?.[row]);
    const got = result.predictions?.[row];
    if ((exact !== null || undefinedRow) && got !== (exact ?? -1)) expect.fail(`prediction of row ${row}: ${got}`);
  }
  for (const [name, exact] of Object.entries(expected.reduced)) {
    const got = result[name as "sum" | "mean" | "normalizer"];
    // Also if a loss exceeds f32, for the sum adds losses before they are rounded.
    if (Number.isFinite(exact))
      expect(Math.abs(got - exact), name).toBeLessThanOrEqual(3e-6 * Math.max(1e-30, Math.abs(exact)));
    else expect(got, name).toBe(exact);
  }
}

/** The logits of a case, in its type. */
export function typedLogits({
  dtype,
  logits,
}: Pick<GoldenCase, "dtype" | "logits">): Float32Array | Float64Array | Uint16Array {
  if (dtype === "float32") return Float32Array.from(logits);
  if (dtype === "float64") return Float64Array.from(logits);
  return Uint16Array.from(logits, dtype === "float16" ? float16Bits : bfloat16Bits);
}
