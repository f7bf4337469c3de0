// Layers of xent/linear for tests, and their results in f64.
import { createHash } from "node:crypto";
import { expect } from "vitest";
import type { Xent } from "xent";
import {
  createLinear,
  type Layer,
  type LayerSpec,
  type Linear,
  type LinearOptions,
  type LinearSpec,
  type LinearTargets,
  type WeightType,
} from "xent/linear";
import { copyBytes } from "./bytes.ts";
import { exactDivergence } from "./divergence.ts";
import { bitsOf } from "./example.ts";
import { type ExactRow, exactRow } from "./oracle.ts";

const U = 2 ** -24;
/** The most products that are added in f32. */
const BLOCK = 512;
export const IGNORED = -100;

export type Spec = LinearSpec<WeightType, "int32">;
/** With targets of any kind. */
export type AnySpec = LinearSpec<WeightType, "int32", LinearTargets>;
export type AnyLinear = Linear<WeightType, "int32", LinearTargets>;

function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32 - 0.5;
  };
}

/** A layer that holds reproducible numbers. */
export function example<T extends LinearTargets = false>(
  xent: Xent,
  spec: LinearSpec<WeightType, "int32", T>,
  seed = 1,
): Linear<WeightType, "int32", T> {
  const layer = createLinear<WeightType, "int32", T>(xent, { gradient: true, ...spec });
  fill(layer, spec as AnySpec, seed);
  return layer;
}

function fill(layer: AnyLinear, { features, classes, rows, targets = false }: AnySpec, seed: number): void {
  const next = random(seed);
  const numbers = (length: number, size: number): Float32Array => {
    const all = new Float32Array(length);
    // An iterator would take most of the time of these suites.
    for (let i = 0; i < length; i++) all[i] = size * next();
    return all;
  };
  const fillLayer = (to: AnyLinear | Layer, features: number): void => {
    to.setFeatures(numbers(rows * features, 4));
    to.setWeight(numbers(classes * features, 8 / Math.sqrt(features)));
    if (to.bias) to.setBias(numbers(classes, 2));
  };
  fillLayer(layer, features);
  if (targets === false) layer.setLabels(Array.from({ length: rows }, () => Math.floor((next() + 0.5) * classes)));
  else if (targets === true) layer.setTargets(numbers(rows * classes, 2 / classes).map((x) => Math.max(0, x)));
  else if (targets === "logits") layer.setTargets(numbers(rows * classes, 6));
  else fillLayer(layer.targetLayer as Layer, targets.features);
}

/** The numbers of a layer's weight. */
export function numbersOf({ weight }: AnyLinear | Layer, type: WeightType): number[] {
  if (type === "float32") return [...weight];
  const bits = new Uint32Array(1);
  const float = new Float32Array(bits.buffer);
  return Array.from(weight, (x) => {
    if (type === "float16" && (x & 0x7fff) < 0x400) return (x & 0x8000 ? -1 : 1) * (x & 0x3ff) * 2 ** -24;
    bits[0] = type === "bfloat16" ? x << 16 : ((x & 0x8000) << 16) | (((x & 0x7fff) << 13) + 0x38000000);
    return float[0] as number;
  });
}

interface Exact {
  rows: (Omit<ExactRow, "lossParts"> & { scale: number; ignored: boolean; lossError: number })[];
  /** The most that logits and their gradient may be off by. */
  logitErrors: number[][];
  gradientErrors: number[][];
  h: number[];
  w: number[];
}

interface Logits {
  x: number[][];
  /** The most that they may be off by. */
  errors: number[][];
}

function logitsOf(layer: AnyLinear | Layer, { features, weight = "float32" }: LayerSpec, classes: number): Logits {
  const [h, w] = [layer.features, numbersOf(layer, weight)];
  const found: Logits = { x: [], errors: [] };
  for (let i = 0; i < h.length / features; i++) {
    const [x, errors]: [number[], number[]] = [[], []];
    for (let j = 0; j < classes; j++) {
      let [sum, size] = [layer.bias?.[j] ?? 0, Math.abs(layer.bias?.[j] ?? 0)];
      for (let k = 0; k < features; k++) {
        const term = (h[i * features + k] as number) * (w[j * features + k] as number);
        sum += term;
        size += Math.abs(term);
      }
      x.push(sum);
      errors.push((Math.min(features, BLOCK) + 2) * U * size);
    }
    found.x.push(x);
    found.errors.push(errors);
  }
  return found;
}

/** The targets: the logits of the target layer, or the given numbers. Undefined if there are labels. */
function targetsOf(layer: AnyLinear, { rows, classes, targets }: AnySpec): Logits | undefined {
  if (typeof targets === "object") return logitsOf(layer.targetLayer as Layer, targets, classes);
  const given = layer.targets;
  if (given === undefined) return undefined;
  const x = Array.from({ length: rows }, (_, i) => [...given.subarray(i * classes, (i + 1) * classes)]);
  return { x, errors: x.map((row) => row.map(() => 0)) };
}

/** Losses, gradients and their bounds, in f64. */
function exact(layer: AnyLinear, spec: AnySpec, options: LinearOptions): Exact {
  const { rows, classes, weight = "float32", targets: kind = false } = spec;
  const { sampleWeights, classWeights, ignoreIndex, temperature = 1, softcap = Infinity, reduction, mask } = options;
  const labels = kind === false ? [...layer.labels] : undefined;
  const isCounted = (i: number): boolean => !(labels?.[i] === ignoreIndex && labels) && mask?.[i] !== false;
  let normalizer = 0;
  for (let i = 0; i < rows; i++) if (isCounted(i)) normalizer += (labels && classWeights?.[labels[i] as number]) ?? 1;
  const scale = reduction === "mean" ? 1 / normalizer : 1;
  const { x, errors } = logitsOf(layer, spec, classes);
  const targets = targetsOf(layer, spec);
  const found: Exact = {
    rows: [],
    logitErrors: errors,
    gradientErrors: [],
    h: [...layer.features],
    w: numbersOf(layer, weight),
  };
  for (const [i, ofRow] of x.entries()) {
    const sampleWeight = sampleWeights?.[i] ?? 1;
    const [mine, theirs] = [errors[i] as number[], targets?.errors[i] ?? []];
    const most = Math.max(...mine, ...theirs);
    // The most that the logarithm of a probability, and of the softcap's slope, change for each change of a logit.
    const slope = 3 / temperature + 2 / softcap;
    const ignored = !isCounted(i) || sampleWeight === 0;
    if (kind === false || kind === true) {
      const target = labels ? (ignored ? 0 : (labels[i] as number)) : (targets?.x[i] as number[]);
      const row = exactRow({ x: ofRow, target, sampleWeight }, options);
      const lossError = 2 * dot(row.parts, mine) + 6 * U * row.lossParts;
      found.rows.push({ ...row, scale, ignored, lossError });
    } else {
      found.rows.push({
        ...divergenceOf(ofRow, mine, targets?.x[i] as number[], theirs, temperature, sampleWeight),
        scale,
        ignored,
      });
    }
    const { parts } = found.rows[i] as Exact["rows"][number];
    found.gradientErrors.push(parts.map((part) => part * (slope * most + 10 * U)));
  }
  return found;
}

function dot(a: readonly number[], b: readonly number[]): number {
  return a.reduce((sum, x, i) => sum + x * (b[i] as number), 0);
}

/** A row of a divergence. Its bound has the errors of both logits times the derivatives of the loss, and a little for higher orders. */
function divergenceOf(
  x: number[],
  errors: number[],
  targets: number[],
  ofTargets: number[],
  temperature: number,
  sampleWeight: number,
): Omit<Exact["rows"][number], "scale" | "ignored"> {
  const row = exactDivergence(x, targets, temperature);
  const target = exactDivergence(targets, x, temperature);
  const p = targets.map((y) => Math.exp(y / temperature - target.logSumExp));
  const distance = x.map(
    (v, j) => (targets[j] as number) / temperature - target.logSumExp - (v / temperature - row.logSumExp),
  );
  const bySlope = dot(row.gradient.map(Math.abs), errors);
  const byTargets = dot(
    p.map((share, j) => (share * Math.abs((distance[j] as number) - row.loss)) / temperature),
    ofTargets,
  );
  const most = (Math.max(...errors) + Math.max(...ofTargets)) / temperature;
  return {
    loss: sampleWeight * row.loss,
    lossError: sampleWeight * (2 * (bySlope + byTargets + most ** 2) + 4e-6 * row.loss),
    logSumExp: row.logSumExp,
    gradient: row.gradient.map((g) => sampleWeight * g),
    parts: row.larger.map((larger) => 2 * sampleWeight * larger),
  };
}

/** Asserts that results are within the bounds of the contract in crates/linear/src/lib.rs. */
export function assertExact(layer: AnyLinear, spec: AnySpec, options: LinearOptions): void {
  const { rows, features, classes, bias = false } = spec;
  const expected = exact(layer, spec, options);
  const { h, w } = expected;
  const result = layer.run({ ...options, gradient: spec.gradient !== false });
  const near = (got: number | undefined, wanted: number, bound: number, what: string): void => {
    if (!(Math.abs((got as number) - wanted) <= bound)) {
      throw new Error(`${what} of ${JSON.stringify(spec)}: ${got}, not ${wanted} within ${bound}`);
    }
  };
  let sum = 0;
  for (let i = 0; i < rows; i++) {
    const { loss, lossError, logSumExp, ignored, gradient } = expected.rows[i] as Exact["rows"][number];
    if (ignored) {
      expect(result.loss[i]).toBe(0);
      expect(result.logSumExp[i]).toBeNaN();
      continue;
    }
    const errors = expected.logitErrors[i] as number[];
    near(result.loss[i], loss, lossError + 2 ** -147, `loss ${i}`);
    near(result.logSumExp[i], logSumExp, Math.max(...errors) * 2 + 4 * U * (1 + Math.abs(logSumExp)), `lse ${i}`);
    sum += loss;
    expect(gradient.length).toBe(classes);
  }
  near(result.sum, sum, 1e-4 * (1 + Math.abs(sum)), "sum");
  const ofG = (i: number, j: number): [number, number] => {
    const row = expected.rows[i] as Exact["rows"][number];
    if (row.ignored) return [0, 0];
    const error = (expected.gradientErrors[i] as number[])[j] as number;
    return [row.scale * (row.gradient[j] as number), row.scale * error];
  };
  const compare = (
    got: number | undefined,
    count: number,
    terms: (n: number) => [number, number, number],
    blocks: number,
    what: string,
  ): void => {
    let [wanted, size, error] = [0, 0, 0];
    for (let n = 0; n < count; n++) {
      const [g, ofGradient, factor] = terms(n);
      wanted += g * factor;
      size += Math.abs(g * factor);
      error += ofGradient * Math.abs(factor);
    }
    near(got, wanted, blocks * U * size + error * 1.01 + 2 ** -140, what);
  };
  const at = (array: number[], index: number): number => array[index] as number;
  const { featuresGradient, weightGradient, biasGradient } = layer;
  for (let i = 0; i < rows && featuresGradient; i++) {
    for (let k = 0; k < features; k++) {
      const terms = (j: number): [number, number, number] => [...ofG(i, j), at(w, j * features + k)];
      compare(featuresGradient[i * features + k], classes, terms, Math.min(classes, BLOCK) + 2, `dH ${i} ${k}`);
    }
  }
  const steps = layer.chunkRows + Math.ceil(rows / layer.chunkRows) + 3;
  for (let j = 0; j < classes; j++) {
    for (let k = 0; k < features && weightGradient; k++) {
      const terms = (i: number): [number, number, number] => [...ofG(i, j), at(h, i * features + k)];
      compare(weightGradient[j * features + k], rows, terms, steps, `dW ${j} ${k}`);
    }
    if (bias && spec.gradient !== false) compare(biasGradient?.[j], rows, (i) => [...ofG(i, j), 1], 3, `db ${j}`);
  }
}

/** All results of a run, as bits. */
export function everything(layer: AnyLinear, options: LinearOptions = {}): unknown {
  const result = layer.run({ gradient: true, predictions: true, reduction: "mean", ...options });
  return gathered(layer, result as never);
}

export function gathered(layer: AnyLinear, result: Parameters<typeof bitsOf>[0]): unknown {
  const { featuresGradient, weightGradient, biasGradient } = layer;
  const gradients = Object.entries({ featuresGradient, weightGradient, biasGradient });
  return { ...bitsOf(result), ...Object.fromEntries(gradients.map(([name, x]) => [name, x && digest(x)])) };
}

function digest(array: Float32Array): string {
  return createHash("sha256").update(copyBytes(array)).digest("hex");
}
