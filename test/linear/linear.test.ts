// xent/linear: a linear layer and its loss, beside the same in f64.
import { createHash } from "node:crypto";
import { Worker } from "node:worker_threads";
import { describe, expect, test } from "vitest";
import { createXent, createXentSync, type LossOptions, WorkerError, type Xent } from "xent";
import { bytesOf, createLinear, type Linear, type LinearOptions, type LinearSpec, type WeightType } from "xent/linear";
import { copyBytes } from "../support/bytes.ts";
import { bitsOf } from "../support/example.ts";
import { type ExactRow, exactRow } from "../support/oracle.ts";
import { thrown } from "../support/thrown.ts";
import { variants } from "../support/variants.ts";

const U = 2 ** -24;
/** Products that are added in f32, at most. */
const BLOCK = 512;
const IGNORED = -100;

type Spec = LinearSpec<WeightType, "int32">;

function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32 - 0.5;
  };
}

/** A layer that holds reproducible numbers. */
function example(xent: Xent, spec: Spec, seed = 1): Linear<WeightType> {
  const layer = createLinear<WeightType>(xent, { gradient: true, ...spec });
  fill(layer, spec, seed);
  return layer;
}

function fill(layer: Linear<WeightType>, { features, classes, rows }: Spec, seed: number): void {
  const next = random(seed);
  const numbers = (length: number, size: number): number[] => Array.from({ length }, () => Math.fround(size * next()));
  layer.setFeatures(numbers(rows * features, 4));
  layer.setWeight(numbers(classes * features, 8 / Math.sqrt(features)));
  if (layer.bias) layer.setBias(numbers(classes, 2));
  layer.setLabels(Array.from({ length: rows }, () => Math.floor((next() + 0.5) * classes)));
}

/** What a layer's numbers are. */
function numbersOf({ weight }: Linear<WeightType>, type: WeightType): number[] {
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
  rows: (ExactRow & { scale: number; ignored: boolean })[];
  /** Of what logits and their gradient may be off, and what they are. */
  logitErrors: number[][];
  gradientErrors: number[][];
  h: number[];
  w: number[];
}

/** All of it in f64. */
function exact(layer: Linear<WeightType>, spec: Spec, options: LossOptions): Exact {
  const { rows, features, classes, weight = "float32" } = spec;
  const [h, w] = [[...layer.features], numbersOf(layer, weight)];
  const { sampleWeights, classWeights, ignoreIndex, temperature = 1, softcap = Infinity, reduction } = options;
  const labels = [...layer.labels];
  const counted = labels.filter((label) => label !== ignoreIndex);
  const normalizer = counted.reduce((sum, label) => sum + (classWeights?.[label] ?? 1), 0);
  const scale = reduction === "mean" ? 1 / normalizer : 1;
  const found: Exact = { rows: [], logitErrors: [], gradientErrors: [], h, w };
  for (let i = 0; i < rows; i++) {
    const x: number[] = [];
    const errors: number[] = [];
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
    const ignored = labels[i] === ignoreIndex || sampleWeights?.[i] === 0;
    const input = {
      x,
      target: labels[i] === ignoreIndex ? 0 : (labels[i] as number),
      sampleWeight: sampleWeights?.[i] ?? 1,
    };
    const row = exactRow(input, options);
    const most = Math.max(...errors);
    // The logarithm of a probability, and of the softcap's slope, change by so much for each logit.
    const slope = 3 / temperature + 2 / softcap;
    found.rows.push({ ...row, scale, ignored });
    found.logitErrors.push(errors);
    found.gradientErrors.push(row.parts.map((part) => part * (slope * most + 10 * U)));
  }
  return found;
}

/** Asserts that results lie as near as the contract in crates/linear/src/lib.rs says. */
function assertExact(layer: Linear<WeightType>, spec: Spec, options: LinearOptions): void {
  const { rows, features, classes, bias = false } = spec;
  const expected = exact(layer, spec, options);
  const { h, w } = expected;
  const result = layer.run({ ...options, gradient: true });
  const near = (got: number | undefined, wanted: number, bound: number, what: string): void => {
    if (!(Math.abs((got as number) - wanted) <= bound)) {
      throw new Error(`${what} of ${JSON.stringify(spec)}: ${got}, not ${wanted} within ${bound}`);
    }
  };
  let sum = 0;
  for (let i = 0; i < rows; i++) {
    const { loss, lossParts, logSumExp, ignored, gradient, parts } = expected.rows[i] as Exact["rows"][number];
    if (ignored) {
      expect(result.loss[i]).toBe(0);
      expect(result.logSumExp[i]).toBeNaN();
      continue;
    }
    const errors = expected.logitErrors[i] as number[];
    const ofLogits = parts.reduce((total, part, j) => total + part * (errors[j] as number), 0);
    near(result.loss[i], loss, 2 * ofLogits + 6 * U * lossParts + 2 ** -147, `loss ${i}`);
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
    if (bias) compare(biasGradient?.[j], rows, (i) => [...ofG(i, j), 1], 3, `db ${j}`);
  }
}

const TAILS = [1, 3, 4, 5, 7, 8, 9];
const TYPES: WeightType[] = ["float32", "float16", "bfloat16"];

describe.each(variants)("%s", (variant) => {
  test.each(TAILS)("loss and gradients are within the bounds, %i rows", (rows) => {
    using xent = createXentSync({ variant });
    for (const [n, features] of TAILS.entries()) {
      for (const [m, classes] of TAILS.entries()) {
        const spec = { rows, features, classes, bias: (n + m) % 2 === 0, weight: TYPES[(n + 2 * m + rows) % 3] };
        using layer = example(xent, spec, rows * 100 + n * 10 + m);
        assertExact(layer, spec, {});
      }
    }
  });

  test.each<Spec>([
    { rows: 5, features: 511, classes: 3 },
    { rows: 6, features: 512, classes: 65, bias: true },
    { rows: 7, features: 513, classes: 49 },
    { rows: 9, features: 1030, classes: 100, weight: "bfloat16" },
    { rows: 3, features: 33, classes: 1100, bias: true, weight: "float16" },
    { rows: 70, features: 24, classes: 130, chunkRows: 32 },
    { rows: 11, features: 270, classes: 40, chunkRows: 3 },
    { rows: 300, features: 9, classes: 17, bias: true },
  ])("and where products are several blocks, items or chunks: %o", (spec) => {
    using xent = createXentSync({ variant });
    using layer = example(xent, spec);
    assertExact(layer, spec, { reduction: "mean" });
  });

  test.each<LinearOptions>([
    { reduction: "mean", labelSmoothing: 0.1 },
    { ignoreIndex: IGNORED, reduction: "mean", zLoss: 0.01 },
    { temperature: 0.3, classWeights: [1, 2, 0.5, 1, 3, 1, 1, 0.25, 1], reduction: "mean" },
    { softcap: 5, sampleWeights: Array.from({ length: 13 }, (_, i) => i / 4) },
    { ignoreIndex: 4, labelSmoothing: 0.2, classWeights: [1, 2, 0.5, 1, 3, 1, 1, 0.25, 1], temperature: 2 },
  ])("with options of a batch: %o", (options) => {
    using xent = createXentSync({ variant });
    const spec = { rows: 13, features: 21, classes: 9, bias: true, chunkRows: 5 };
    using layer = example(xent, spec);
    if (options.ignoreIndex !== undefined) for (const row of [0, 5, 6, 12]) layer.labels[row] = options.ignoreIndex;
    assertExact(layer, spec, options);
  });

  test("weights of 16 bits have the bits that the same numbers in 32 have", () => {
    using xent = createXentSync({ variant });
    for (const weight of ["float16", "bfloat16"] as const) {
      const spec = { rows: 20, features: 515, classes: 77 };
      using narrow = example(xent, { ...spec, weight });
      using wide = example(xent, spec);
      wide.setWeight(numbersOf(narrow, weight));
      expect(everything(narrow)).toEqual(everything(wide));
    }
  });

  test("the gradients are those that finite differences give", () => {
    using xent = createXentSync({ variant });
    const spec = { rows: 12, features: 30, classes: 20, bias: true };
    using layer = example(xent, spec);
    const options = { reduction: "mean", labelSmoothing: 0.05, temperature: 1.3 } as const;
    const { temperatureGradient } = layer.run({ ...options, gradient: true });
    const gradients = [layer.featuresGradient, layer.weightGradient, layer.biasGradient].map((x) => [...(x ?? [])]);
    const step = 2 ** -7;
    for (const [n, name] of (["features", "weight", "bias"] as const).entries()) {
      const array = layer[name] as Float32Array;
      for (const i of [0, 1, array.length - 1]) {
        const kept = array[i] as number;
        array[i] = kept + step;
        const more = layer.run(options).mean;
        array[i] = kept - step;
        const less = layer.run(options).mean;
        array[i] = kept;
        expect((more - less) / 2 / step).toBeCloseTo((gradients[n] as number[])[i] as number, 4);
      }
    }
    const at = (temperature: number): number => layer.run({ ...options, temperature }).mean;
    const little = step / 8;
    expect((at(1.3 + little) - at(1.3 - little)) / 2 / little).toBeCloseTo(temperatureGradient, 4);
  });
});

/** Everything that a run gives, as bits. */
function everything(layer: Linear<WeightType>, options: LinearOptions = {}): unknown {
  const result = layer.run({ gradient: true, predictions: true, reduction: "mean", ...options });
  return gathered(layer, result as never);
}

function gathered(layer: Linear<WeightType>, result: Parameters<typeof bitsOf>[0]): unknown {
  const { featuresGradient, weightGradient, biasGradient } = layer;
  const gradients = Object.entries({ featuresGradient, weightGradient, biasGradient });
  return { ...bitsOf(result), ...Object.fromEntries(gradients.map(([name, x]) => [name, x && digest(x)])) };
}

function digest(array: Float32Array): string {
  return createHash("sha256").update(copyBytes(array)).digest("hex");
}

describe("threads", () => {
  const spec: Spec = { rows: 300, features: 530, classes: 700, bias: true, chunkRows: 100 };

  test.each(variants)("have the bits of one thread, in run and in runAsync: %s", async (variant) => {
    using alone = createXentSync({ variant });
    using one = example(alone, spec);
    const expected = everything(one);
    for (const threads of [2, 3, 8]) {
      using xent = await createXent({ threads, variant });
      using layer = example(xent, spec);
      expect(xent.threads).toBe(threads);
      expect(everything(layer)).toEqual(expected);
      layer.weightGradient?.fill(9);
      const result = await layer.runAsync({ gradient: true, predictions: true, reduction: "mean" });
      expect(gathered(layer, result)).toEqual(expected);
    }
  });

  test("give the loss of batches in between, and layers that are made later", async () => {
    using xent = await createXent({ threads: 3 });
    using batch = xent.createBatch({ rows: 500, classes: 1000 });
    const expected = Math.log(1000);
    expect(batch.run().mean).toBeCloseTo(expected, 6);
    const layers = Array.from({ length: 3 }, (_, i) => example(xent, { ...spec, rows: 100 * (i + 1) }));
    const first = layers.map((layer) => everything(layer));
    const both = await Promise.all([
      ...layers.map((layer) => layer.runAsync({ gradient: true, predictions: true, reduction: "mean" })),
      batch.runAsync(),
    ]);
    expect(both.at(-1)?.mean).toBeCloseTo(expected, 6);
    for (const [i, layer] of layers.entries()) expect(gathered(layer, both[i] as never)).toEqual(first[i]);
  });

  test("without a pool runAsync has the bits of run", async () => {
    using xent = createXentSync();
    using layer = example(xent, spec);
    const expected = everything(layer);
    const result = await layer.runAsync({ gradient: true, predictions: true, reduction: "mean" });
    expect(gathered(layer, result)).toEqual(expected);
  });
});

describe("a worker that fails", () => {
  const spec: Spec = { rows: 200, features: 300, classes: 3000, bias: true };
  const options = { gradient: true, predictions: true, reduction: "mean" } as const;

  // One that ends while this thread waits for it can not say so: see threads/faults.test.ts.
  test.each([
    ["throw", "run"],
    ["throw", "runAsync"],
    ["exit", "runAsync"],
  ] as const)("is an error, and the next run has the bits of one thread: %s in %s", async (fault, method) => {
    using alone = createXentSync();
    using one = example(alone, spec);
    const expected = everything(one);
    const armed = new Int32Array(new SharedArrayBuffer(4));
    const file = new URL("../support/fault-worker.mjs", import.meta.url);
    using xent = await createXent({
      threads: 3,
      createWorker: () => new Worker(file, { workerData: { armed, fault } }),
    });
    using layer = example(xent, spec);
    // The workers have their second kernel.
    expect(gathered(layer, await layer[method](options))).toEqual(expected);
    armed[0] = 1;
    await expect(async () => layer[method](options)).rejects.toThrow(WorkerError);
    expect(armed[0]).toBe(0);
    expect(gathered(layer, await layer[method](options))).toEqual(expected);
    expect(xent.threads).toBe(fault === "exit" ? 2 : 3);
  });
});

describe("rows", () => {
  const spec = { rows: 12, features: 10, classes: 11, chunkRows: 5, bias: true };

  test("that are ignored are not read: their gradient is 0, and the others' is as without them", () => {
    using xent = createXentSync();
    using layer = example(xent, spec);
    const ignored = [0, 3, 4, 11];
    for (const row of ignored) {
      layer.labels[row] = IGNORED;
      layer.features.fill(Number.NaN, row * 10, (row + 1) * 10);
    }
    layer.featuresGradient?.fill(7);
    const result = layer.run({ gradient: true, ignoreIndex: IGNORED, predictions: true });
    using rest = example(xent, { ...spec, rows: 8 });
    const kept = Array.from({ length: 12 }, (_, row) => row).filter((row) => !ignored.includes(row));
    rest.setWeight(layer.weight);
    rest.setBias(layer.bias as Float32Array);
    for (const [i, row] of kept.entries()) {
      rest.features.set(layer.features.subarray(row * 10, (row + 1) * 10), i * 10);
      rest.labels[i] = layer.labels[row] as number;
    }
    const without = rest.run({ gradient: true, predictions: true });
    expect(result.count).toBe(8);
    expect(result.sum).toBe(without.sum);
    expect([...(layer.weightGradient ?? [])]).toEqual([...(rest.weightGradient ?? [])]);
    expect([...(layer.biasGradient ?? [])]).toEqual([...(rest.biasGradient ?? [])]);
    for (const [i, row] of kept.entries()) {
      expect(result.loss[row]).toBe(without.loss[i]);
      expect(result.predictions[row]).toBe(without.predictions[i]);
      expect(layer.featuresGradient?.slice(row * 10, row * 10 + 10)).toEqual(
        rest.featuresGradient?.slice(i * 10, i * 10 + 10),
      );
    }
    for (const row of ignored) {
      expect(result.loss[row]).toBe(0);
      expect(result.predictions[row]).toBe(-1);
      expect(layer.featuresGradient?.slice(row * 10, row * 10 + 10)).toEqual(new Float32Array(10));
    }
  });

  test("of which all are ignored, or none there are, give zeros, or leave what is to be added to", () => {
    using xent = createXentSync();
    for (const rows of [0, 12]) {
      using layer = example(xent, { ...spec, rows });
      layer.labels.fill(IGNORED);
      for (const accumulate of [true, false]) {
        layer.weightGradient?.fill(3);
        layer.biasGradient?.fill(3);
        const result = layer.run({ gradient: true, reduction: "mean", ignoreIndex: IGNORED, accumulate });
        expect([result.sum, result.mean, result.count]).toEqual([0, 0, 0]);
        expect(new Set(layer.weightGradient)).toEqual(new Set([accumulate ? 3 : 0]));
        expect(new Set(layer.biasGradient)).toEqual(new Set([accumulate ? 3 : 0]));
        expect(new Set(layer.featuresGradient)).toEqual(new Set(rows === 0 ? [] : [0]));
        expect(result.temperatureGradient).toBe(-0);
      }
    }
  });

  test.each([Number.NaN, Infinity, -Infinity])(
    "with %d have losses and gradients that are NaN, and no others",
    (bad) => {
      using xent = createXentSync();
      using layer = example(xent, spec);
      const before = layer.run({ gradient: true });
      const gradient = layer.featuresGradient?.slice();
      layer.features[6 * 10 + 3] = bad;
      const after = layer.run({ gradient: true });
      for (let row = 0; row < 12; row++) {
        const of = (array: Float32Array | undefined) => array?.slice(row * 10, row * 10 + 10);
        expect(after.loss[row]).toBe(row === 6 ? Number.NaN : before.loss[row]);
        if (row === 6) expect(of(layer.featuresGradient)?.every(Number.isNaN)).toBe(true);
        else expect(of(layer.featuresGradient)).toEqual(of(gradient));
      }
      // A sum over the rows.
      expect(layer.weightGradient?.every(Number.isNaN)).toBe(true);
    },
  );

  test("with invalid labels are NaN where that is asked for, and else an error, before anything is written", () => {
    using xent = createXentSync();
    using layer = example(xent, spec);
    const before = layer.run({ gradient: true });
    const gradients = copyBytes(layer.weightGradient as Float32Array);
    layer.labels[2] = 11;
    expect(thrown(() => layer.run({ gradient: true }))).toEqual(
      "RangeError: Received a label value of 11 at row 2, which is outside the valid range of [0, 11)",
    );
    expect(copyBytes(layer.weightGradient as Float32Array)).toEqual(gradients);
    const after = layer.run({ invalidLabels: "nan" });
    for (let row = 0; row < 12; row++) expect(after.loss[row]).toBe(row === 2 ? Number.NaN : before.loss[row]);
  });

  test("have the next row's label with a shift, and the last one of a sequence none", () => {
    using xent = createXentSync();
    using layer = example(xent, { ...spec, shift: 1, sequence: 4 });
    using plain = example(xent, spec);
    for (let row = 0; row < 12; row++) {
      plain.labels[row] = row % 4 === 3 ? IGNORED : (layer.labels[row + 1] as number);
    }
    expect(everything(layer)).toEqual(everything(plain, { ignoreIndex: IGNORED }));
  });
});

describe("memory", () => {
  const spec = { rows: 40, features: 30, classes: 50, bias: true, chunkRows: 12 };

  test("gradients are added to with accumulate, and written without", () => {
    using xent = createXentSync();
    using layer = example(xent, { ...spec, chunkRows: 40 });
    const of = () => [layer.weightGradient as Float32Array, layer.biasGradient as Float32Array];
    layer.run({ gradient: true });
    const first = of().map((x) => x.slice());
    layer.run({ gradient: true, accumulate: true });
    for (const [i, x] of of().entries()) expect([...x]).toEqual(Array.from(first[i] ?? [], (y) => 2 * y));
    layer.run({ gradient: true });
    expect(of()).toEqual(first);
  });

  test("only the gradients that a layer was created with are there, with the same bits", () => {
    using xent = createXentSync();
    using all = example(xent, spec);
    all.run({ gradient: true });
    for (const name of ["features", "weight", "bias"] as const) {
      using layer = example(xent, { ...spec, gradient: [name] });
      layer.run({ gradient: true });
      for (const other of ["features", "weight", "bias"] as const) {
        const expected = name === other ? all[`${name}Gradient`] : undefined;
        expect(layer[`${other}Gradient`]).toEqual(expected);
      }
    }
  });

  test.each([1, 3])(
    "is what bytesOf says, and at most 4 MB beside the caller's arrays and a chunk: %i threads",
    async (threads) => {
      const large = { rows: 1000, features: 768, classes: 4000, gradient: true, bias: true };
      using xent = await createXent({ threads });
      const before = xent.memory.buffer.byteLength;
      using layer = createLinear(xent, large);
      const bytes = bytesOf(large, threads);
      // Memory grows by pages, of which one may have had room.
      expect(Math.abs(xent.memory.buffer.byteLength - before - bytes)).toBeLessThanOrEqual(65536);
      const { features, weight, labels, bias, featuresGradient, weightGradient, biasGradient, chunkRows } = layer;
      const arrays = [features, weight, labels, bias, featuresGradient, weightGradient, biasGradient];
      const own = arrays.reduce((sum, array) => sum + (array?.byteLength ?? 0), 0);
      expect(bytes - own - 4 * chunkRows * large.classes).toBeLessThan(2 ** 22);
    },
  );

  test("that does not suffice is an error that names the largest chunk that fits", () => {
    const big = { rows: 300, features: 100, classes: 20_000, gradient: true } as const;
    const maxBytes = bytesOf({ ...big, chunkRows: 90 }) + 2 ** 17;
    using xent = createXentSync({ maxBytes });
    using batch = xent.createBatch({ rows: 2, classes: 3 });
    const { logits } = batch;
    const error = thrown(() => createLinear(xent, big));
    const [, rows] = /^RangeError: .*"chunkRows" of (\d+) is the largest that fits/.exec(error) ?? [];
    expect(Number(rows)).toBeGreaterThan(80);
    // Nothing has moved, and nothing is lost.
    expect(logits.length).toBe(6);
    expect(() => createLinear(xent, { ...big, chunkRows: Number(rows) + 4 })).toThrow(RangeError);
    using layer = createLinear(xent, { ...big, chunkRows: Number(rows) });
    expect(layer.run({ gradient: true }).mean).toBeCloseTo(Math.log(20_000), 5);
    expect(() => createLinear(xent, { ...big, rows: 1e6 })).toThrow(/not even chunks of one row fit/);
  });

  test("that grows keeps what is in a layer, whose views are taken anew", () => {
    using xent = createXentSync();
    using layer = example(xent, spec);
    const expected = everything(layer);
    const { features } = layer;
    using batch = xent.createBatch({ rows: 1000, classes: 10_000 });
    expect(batch.rows).toBe(1000);
    expect(features.length).toBe(0);
    expect(everything(layer)).toEqual(expected);
  });

  test("is given back, and used again: zero", () => {
    using xent = createXentSync();
    example(xent, spec).dispose();
    const bytes = xent.memory.buffer.byteLength;
    for (let i = 0; i < 50; i++) {
      using layer = createLinear(xent, { ...spec, gradient: true });
      expect(layer.run({ gradient: true }).mean).toBeCloseTo(Math.log(50), 6);
      expect(new Set(layer.featuresGradient)).toEqual(new Set([0]));
      layer.features.fill(9);
    }
    expect(xent.memory.buffer.byteLength).toBe(bytes);
  });
});

describe("errors", () => {
  const spec = { rows: 4, features: 3, classes: 5 };

  test.each<[object, RegExp]>([
    [{ ...spec, features: 0 }, /RangeError: "features" expected an integer from 1/],
    [{ ...spec, classes: 0 }, /RangeError: "classes" expected an integer from 1/],
    [{ ...spec, weight: "float64" }, /RangeError: "weight" expected "float32", "float16" or "bfloat16"/],
    [{ ...spec, chunkRows: 257 }, /RangeError: "chunkRows" expected an integer from 1 to 256/],
    [{ ...spec, gradient: ["bias"] }, /RangeError: .*there is no bias/],
    [{ ...spec, gradient: "weight" }, /TypeError: "gradient" expected true, false or an array of parameters/],
    [{ ...spec, sequence: 3 }, /RangeError: "sequence" expected a divisor of 4 rows/],
    [{ ...spec, depth: 3 }, /TypeError: "spec" has no option "depth"/],
    [{ ...spec, module: {} }, /TypeError: "module" expected a WebAssembly.Module/],
  ])("of the specification %o", (given, message) => {
    using xent = createXentSync();
    expect(thrown(() => createLinear(xent, given as LinearSpec))).toMatch(message);
  });

  test("of what is no instance", () => {
    expect(() => createLinear({} as Xent, spec)).toThrow(/"xent" expected an instance of this version of xent/);
    using xent = createXentSync();
    xent.dispose();
    expect(() => createLinear(xent, spec)).toThrow("this Xent was disposed");
  });

  test("of options, and of arrays", () => {
    using xent = createXentSync();
    using plain = createLinear(xent, spec);
    expect(() => plain.run({ gradient: true })).toThrow(/"gradient" expected a layer with memory for it/);
    expect(() => plain.run({ accumulate: true })).toThrow('"accumulate" expected gradient: true');
    expect(() => plain.run({ rows: [0, 1] } as LinearOptions)).toThrow('"options" has no option "rows"');
    expect(() => plain.run({ classWeights: [1] })).toThrow(/"classWeights" expected one number for each of 5 classes/);
    expect(() => plain.setWeight(new Uint16Array(15))).toThrow(/whose numbers are bits/);
    expect(() => plain.setWeight(new Float32Array(16))).toThrow(/"source" takes 16 elements, of which 15 are left/);
    expect(() => plain.setBias([1])).toThrow("this layer has no bias: create it with bias: true");
    expect(() => plain.setLabels([0.5])).toThrow(TypeError);
  });

  test("of a layer that is disposed, or at work", async () => {
    using xent = createXentSync();
    const layer = example(xent, { ...spec, rows: 200, classes: 3000 });
    const pending = layer.runAsync();
    expect(() => layer.run()).toThrow("this layer is in the middle of runAsync()");
    expect(() => layer.setLabels([0])).toThrow("this layer is in the middle of runAsync()");
    layer.dispose();
    layer.dispose();
    await expect(pending).rejects.toThrow("this layer was disposed");
    expect(() => layer.features).toThrow("this layer was disposed");
    expect(() => layer.run()).toThrow("this layer was disposed");
  });
});
