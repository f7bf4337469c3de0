// Which options exist, which values they accept, and what they mean. golden.test.ts checks how exact the results are.
import { afterAll, describe, expect, test } from "vitest";
import {
  type BatchSpec,
  createXent,
  createXentSync,
  type LossOptions,
  type LossResult,
  type XentOptions,
  type XentSyncOptions,
} from "xent";
import { bitsOf, EVERYTHING, exampleBatch, exampleRows } from "../support/example.ts";
import { thrown } from "../support/thrown.ts";
import { ulp } from "../support/ulp.ts";
import { variants } from "../support/variants.ts";

const SAFE = "an integer from -9007199254740991 to 9007199254740991";

describe("an option that does not exist is a TypeError that names it", () => {
  const xent = createXentSync();
  const { logits, labels } = exampleRows(2, 3);
  const batch = exampleBatch(xent, { rows: 2, classes: 3 });
  afterAll(() => xent.dispose());

  // Misspelt options, those of other libraries, and properties of every object.
  const loss = [
    "",
    "Gradient",
    "ignore_index",
    "ignoreClass",
    "weights",
    "toString",
    "constructor",
    "hasOwnProperty",
    "0",
  ];
  const instance = ["Threads", "workers", "Shared", "max", "memory", "toString"];
  const spec = ["Rows", "gradients", "inPlace", "toString"];

  const batchSpec = (name: string) => ({ rows: 2, classes: 3, [name]: undefined }) as unknown as BatchSpec;
  const forms: [string, string[], (name: string) => unknown, string?][] = [
    ["batch.run", loss, (name) => batch.run({ [name]: undefined } as LossOptions)],
    [
      "the one-call form",
      [...loss, "rows"],
      (name) => xent.sparseSoftmaxCrossEntropyWithLogits(logits, labels, { [name]: undefined } as LossOptions),
    ],
    ["createXentSync", instance, (name) => createXentSync({ [name]: undefined })],
    ["createBatch", spec, (name) => xent.createBatch(batchSpec(name)), "spec"],
  ];
  describe.each(forms)("%s", (_, names, call, title = "options") => {
    test.each(names)("%j", (name) =>
      expect(thrown(() => call(name))).toBe(`TypeError: "${title}" has no option "${name}"`),
    );
  });

  test("createXent rejects, and does not throw", async () => {
    await expect(createXent({ Threads: 2 } as XentOptions)).rejects.toThrow(
      new TypeError('"options" has no option "Threads"'),
    );
  });
});

describe("an option of a wrong type is a TypeError, one with a wrong value a RangeError", () => {
  const xent = createXentSync();
  const { logits, labels } = exampleRows(4, 3);
  const batch = exampleBatch(xent, { rows: 4, classes: 3 });
  afterAll(() => xent.dispose());

  const bothForms: [unknown, string][] = [
    [null, 'TypeError: "options" expected an object, got null'],
    ["mean", 'TypeError: "options" expected an object, got "mean"'],
    [true, 'TypeError: "options" expected an object, got true'],
    [{ gradient: "in-place" }, 'TypeError: "gradient" expected true or false, got "in-place"'],
    [{ gradient: 1 }, 'TypeError: "gradient" expected true or false, got 1'],
    [{ gradient: null }, 'TypeError: "gradient" expected true or false, got null'],
    [{ gradient: new Float32Array(1) }, 'TypeError: "gradient" expected true or false, got Float32Array'],
    [{ predictions: 0 }, 'TypeError: "predictions" expected true or false, got 0'],
    [{ reduction: null }, 'TypeError: "reduction" expected "none", "sum" or "mean", got null'],
    [{ reduction: 1 }, 'TypeError: "reduction" expected "none", "sum" or "mean", got 1'],
    [{ reduction: "Mean" }, 'RangeError: "reduction" expected "none", "sum" or "mean", got "Mean"'],
    [{ reduction: "" }, 'RangeError: "reduction" expected "none", "sum" or "mean", got ""'],
    [{ ignoreIndex: "1" }, 'TypeError: "ignoreIndex" expected an integer, got "1"'],
    [{ ignoreIndex: null }, 'TypeError: "ignoreIndex" expected an integer, got null'],
    [{ ignoreIndex: -100n }, 'TypeError: "ignoreIndex" expected an integer, got -100n'],
    [{ ignoreIndex: 0.5 }, `RangeError: "ignoreIndex" expected ${SAFE}, got 0.5`],
    [{ ignoreIndex: Number.NaN }, `RangeError: "ignoreIndex" expected ${SAFE}, got NaN`],
    [{ ignoreIndex: 2 ** 53 }, `RangeError: "ignoreIndex" expected ${SAFE}, got 9007199254740992`],
    [{ labelSmoothing: 1 }, 'RangeError: "labelSmoothing" expected a number in [0, 1), got 1'],
    [{ labelSmoothing: -0.1 }, 'RangeError: "labelSmoothing" expected a number in [0, 1), got -0.1'],
    [{ labelSmoothing: "0" }, 'TypeError: "labelSmoothing" expected a number in [0, 1), got "0"'],
    [{ zLoss: -1 }, 'RangeError: "zLoss" expected a finite number >= 0, got -1'],
    [{ zLoss: null }, 'TypeError: "zLoss" expected a finite number >= 0, got null'],
    [{ softcap: 0 }, 'RangeError: "softcap" expected a finite number > 0, got 0'],
    [{ softcap: Number.NaN }, 'RangeError: "softcap" expected a finite number > 0, got NaN'],
    [{ temperature: 0 }, 'RangeError: "temperature" expected a finite number > 0, got 0'],
    [{ temperature: Infinity }, 'RangeError: "temperature" expected a finite number > 0, got Infinity'],
    [{ invalidLabels: "ignore" }, 'RangeError: "invalidLabels" expected "throw" or "nan", got "ignore"'],
    [{ classWeights: [1, 1] }, 'RangeError: "classWeights" expected one number for each of 3 classes, got 2'],
    [
      { classWeights: 1 },
      'TypeError: "classWeights" expected a Float32Array or Float64Array, or an array of numbers, got 1',
    ],
    [
      { classWeights: ["1", 1, 1] },
      'TypeError: "classWeights" expected numbers, but entry 0 is something else, got "1"',
    ],
    [{ sampleWeights: [1] }, 'RangeError: "sampleWeights" expected one number for each of 4 rows, got 1'],
  ];
  test.each(bothForms)("%o", (options, message) => {
    expect(thrown(() => batch.run(options as LossOptions))).toBe(message);
    expect(thrown(() => xent.sparseSoftmaxCrossEntropyWithLogits(logits, labels, options as LossOptions))).toBe(
      message,
    );
  });

  test.each<[unknown, string]>([
    [3, 'TypeError: "rows" expected [begin, end], got 3'],
    [null, 'TypeError: "rows" expected [begin, end], got null'],
    [Int32Array.of(0, 1), 'TypeError: "rows" expected [begin, end], got Int32Array'],
    [[1], 'TypeError: "rows" expected [begin, end], got Array'],
    [[0, 1, 2], 'TypeError: "rows" expected [begin, end], got Array'],
    [["0", 1], 'TypeError: "rows[0]" expected an integer, got "0"'],
    [[0, undefined], 'TypeError: "rows[1]" expected an integer, got undefined'],
    [[-1, 2], 'RangeError: "rows[0]" expected an integer from 0 to 4, got -1'],
    [[0.5, 2], 'RangeError: "rows[0]" expected an integer from 0 to 4, got 0.5'],
    [[5, 5], 'RangeError: "rows[0]" expected an integer from 0 to 4, got 5'],
    [[2, 5], 'RangeError: "rows[1]" expected an integer from 2 to 4, got 5'],
    [[3, 2], 'RangeError: "rows[1]" expected an integer from 3 to 4, got 2'],
    [[0, Number.NaN], 'RangeError: "rows[1]" expected an integer from 0 to 4, got NaN'],
  ])("rows: %j", (rows, message) => expect(thrown(() => batch.run({ rows } as LossOptions))).toBe(message));

  test.each<[unknown, string]>([
    [null, 'TypeError: "options" expected an object, got null'],
    ["relaxed", 'TypeError: "options" expected an object, got "relaxed"'],
    [{ variant: "simd" }, 'RangeError: "variant" expected "auto", "simd128" or "relaxed", got "simd"'],
    [{ variant: 1 }, 'TypeError: "variant" expected "auto", "simd128" or "relaxed", got 1'],
    [{ shared: 1 }, 'TypeError: "shared" expected true or false, got 1'],
    [{ maxBytes: "1" }, 'TypeError: "maxBytes" expected an integer, got "1"'],
    [{ maxBytes: 65536 }, 'RangeError: "maxBytes" expected an integer from 131072 to 4294967296, got 65536'],
    [{ maxBytes: 131072.5 }, 'RangeError: "maxBytes" expected an integer from 131072 to 4294967296, got 131072.5'],
    [{ maxBytes: 2 ** 32 + 1 }, 'RangeError: "maxBytes" expected an integer from 131072 to 4294967296, got 4294967297'],
    [{ maxBytes: Infinity }, 'RangeError: "maxBytes" expected an integer from 131072 to 4294967296, got Infinity'],
  ])("of an instance: %j", async (options, message) => {
    expect(thrown(() => createXentSync(options as XentSyncOptions))).toBe(message);
    expect(await createXent(options as XentOptions).then(String, String)).toBe(message);
  });

  test.each<[unknown, string]>([
    [undefined, 'TypeError: "spec" expected an object, got undefined'],
    [null, 'TypeError: "spec" expected an object, got null'],
    [4, 'TypeError: "spec" expected an object, got 4'],
    [{ rows: 4 }, 'TypeError: "classes" expected an integer, got undefined'],
    [{ classes: 4 }, 'TypeError: "rows" expected an integer, got undefined'],
    [{ rows: "4", classes: 3 }, 'TypeError: "rows" expected an integer, got "4"'],
    [{ rows: 4, classes: 3n }, 'TypeError: "classes" expected an integer, got 3n'],
    [{ rows: -1, classes: 3 }, 'RangeError: "rows" expected an integer from 0 to 4294967295, got -1'],
    [{ rows: 1.5, classes: 3 }, 'RangeError: "rows" expected an integer from 0 to 4294967295, got 1.5'],
    [{ rows: 2 ** 32, classes: 3 }, 'RangeError: "rows" expected an integer from 0 to 4294967295, got 4294967296'],
    [
      { rows: 4, classes: 3, gradient: "inplace" },
      'RangeError: "gradient" expected true, false or "in-place", got "inplace"',
    ],
    [{ rows: 4, classes: 3, gradient: 1 }, 'TypeError: "gradient" expected true, false or "in-place", got 1'],
    [{ rows: 4, classes: 3, gradient: null }, 'TypeError: "gradient" expected true, false or "in-place", got null'],
  ])("of a batch: %o", (spec, message) => expect(thrown(() => xent.createBatch(spec as BatchSpec))).toBe(message));

  test.each([0, -1, 1.5, Number.NaN, 2 ** 31])("of a batch: %d classes", (classes) => {
    expect(thrown(() => xent.createBatch({ rows: 0, classes }))).toMatch(
      /^RangeError: "classes" expected an integer from 1 to \d+, got /,
    );
  });

  test("undefined means the default", () => {
    const options = {
      gradient: undefined,
      reduction: undefined,
      ignoreIndex: undefined,
      predictions: undefined,
      rows: undefined,
    };
    expect(bitsOf(batch.run(options as never))).toEqual(bitsOf(batch.run()));
    expect(batch.run()).not.toHaveProperty("gradient");
    expect(
      createXentSync({ variant: undefined, maxBytes: undefined, shared: undefined } as never).memory.buffer,
    ).toBeInstanceOf(ArrayBuffer);
  });
});

describe.each(variants)("%s", (variant) => {
  const xent = createXentSync({ variant });
  afterAll(() => xent.dispose());

  /** The common result of both forms. */
  function run(logits: Float32Array, labels: Int32Array, classes: number, options?: LossOptions): LossResult {
    const result = xent.sparseSoftmaxCrossEntropyWithLogits(logits, labels, options);
    using batch = xent.createBatch({ rows: labels.length, classes, gradient: options?.gradient ?? false });
    batch.logits.set(logits);
    batch.labels.set(labels);
    expect(bitsOf(batch.run(options))).toEqual(bitsOf(result));
    return result;
  }

  describe("reduction and ignoreIndex decide which rows count, and the factor of the gradient:", () => {
    test.each<[string, LossOptions, number[], { normalizer: number; factor: number }]>([
      ["none", {}, [0, 1, 2, 3], { normalizer: 4, factor: 1 }],
      ["none", { reduction: "none" }, [0, 1, 2, 3], { normalizer: 4, factor: 1 }],
      ["sum", { reduction: "sum" }, [0, 1, 2, 3], { normalizer: 4, factor: 1 }],
      ["mean", { reduction: "mean" }, [0, 1, 2, 3], { normalizer: 4, factor: 1 / 4 }],
      ["none, one ignored", { ignoreIndex: 2 }, [0, 1, 2, 3], { normalizer: 3, factor: 1 }],
      ["sum, two ignored", { reduction: "sum", ignoreIndex: 1 }, [0, 1, 1, 3], { normalizer: 2, factor: 1 }],
      ["mean, two ignored", { reduction: "mean", ignoreIndex: 1 }, [1, 0, 3, 1], { normalizer: 2, factor: 1 / 2 }],
      [
        "mean, three ignored by -100",
        { reduction: "mean", ignoreIndex: -100 },
        [-100, -100, 3, -100],
        { normalizer: 1, factor: 1 },
      ],
      [
        "mean, none ignored by -100",
        { reduction: "mean", ignoreIndex: -100 },
        [0, 1, 2, 3],
        { normalizer: 4, factor: 1 / 4 },
      ],
      ["mean, all ignored", { reduction: "mean", ignoreIndex: 2 }, [2, 2, 2, 2], { normalizer: 0, factor: 0 }],
      ["sum, all ignored", { reduction: "sum", ignoreIndex: 2 }, [2, 2, 2, 2], { normalizer: 0, factor: 0 }],
    ])("%s", (_, options, labels, { normalizer, factor }) => {
      // Equal logits: each of the four classes has probability 1/4.
      const result = run(new Float32Array(16).fill(3), Int32Array.from(labels), 4, { ...options, gradient: true });
      const counts = labels.map((label) => label !== options.ignoreIndex);
      expect(result.normalizer).toBe(normalizer);
      for (const [row, loss] of result.loss.entries())
        expect(ulp(loss, counts[row] ? Math.log(4) : 0)).toBeLessThanOrEqual(4);
      expect(result.sum).toBeCloseTo(normalizer * Math.log(4), 6);
      expect(result.mean).toBe(normalizer === 0 ? 0 : result.sum / normalizer);
      for (const [at, entry] of (result.gradient as Float32Array).entries()) {
        const row = at >> 2;
        const exact = counts[row] ? factor * (1 / 4 - Number(at % 4 === labels[row])) : 0;
        expect(ulp(entry, exact), `gradient at ${at}: ${entry}, exact ${exact}`).toBeLessThanOrEqual(5);
      }
    });

    test("an ignored row is 0 for any logits, and keeps its log-sum-exp", () => {
      const logits = Float32Array.of(Number.NaN, 1, Infinity, 1, -Infinity, -Infinity, 0, 0, 1e30, -1e30);
      const result = run(logits, new Int32Array(5).fill(-100), 2, { ...EVERYTHING, ignoreIndex: -100 });
      expect([...result.loss]).toEqual([0, 0, 0, 0, 0]);
      expect([...(result.gradient as Float32Array)]).toEqual(new Array(10).fill(0));
      expect([...result.logSumExp]).toEqual([
        Number.NaN,
        Number.NaN,
        Number.NaN,
        Math.fround(Math.LN2),
        Math.fround(1e30),
      ]);
      expect([...(result.predictions as Int32Array)]).toEqual([-1, -1, -1, 0, 0]);
      expect([result.sum, result.mean, result.normalizer, result.correct]).toEqual([0, 0, 0, 0]);
    });

    test("the reduction changes only the gradient", () => {
      const { logits, labels } = exampleRows(20, 7);
      const all = (["none", "sum", "mean"] as const).map((reduction) => {
        const { gradient, ...rest } = run(logits, labels, 7, { ...EVERYTHING, reduction, ignoreIndex: 3 });
        expect(gradient?.length).toBe(140);
        return bitsOf(rest);
      });
      expect(all[1]).toEqual(all[0]);
      expect(all[2]).toEqual(all[0]);
    });

    test("with rows, the others neither count nor are added", () => {
      using batch = exampleBatch(xent, { rows: 10, classes: 4, gradient: true });
      batch.logits.fill(0);
      batch.labels.set([0, 1, -1, 3, 0, -1, 2, 3, 0, 1]);
      const { normalizer, sum, mean, gradient } = batch.run({
        gradient: true,
        reduction: "mean",
        ignoreIndex: -1,
        rows: [1, 6],
      });
      expect(normalizer).toBe(3);
      expect(sum).toBeCloseTo(3 * Math.log(4), 6);
      expect(mean).toBe(sum / 3);
      expect(gradient?.[1]).toBeCloseTo(-3 / 4 / 3, 6);
      expect(batch.run({ ignoreIndex: -1, rows: [2, 3] })).toMatchObject({ sum: 0, mean: 0, normalizer: 0 });
    });
  });

  describe("predictions", () => {
    test.each<[string, number[], number, LossOptions, { predictions: number; correct: number }]>([
      ["the largest logit, right", [1, 5, 2], 1, {}, { predictions: 1, correct: 1 }],
      ["the largest logit, wrong", [1, 5, 2], 2, {}, { predictions: 1, correct: 0 }],
      ["the first of equals", [4, 7, 7], 1, {}, { predictions: 1, correct: 1 }],
      ["the first of all", [0, 0, 0], 2, {}, { predictions: 0, correct: 0 }],
      ["-0 equals 0", [-0, 0, -1], 0, {}, { predictions: 0, correct: 1 }],
      ["beside -inf", [-Infinity, -Infinity, -9], 2, {}, { predictions: 2, correct: 1 }],
      ["none beside NaN", [1, Number.NaN, 5], 2, {}, { predictions: -1, correct: 0 }],
      ["none with inf", [1, Infinity, 5], 1, {}, { predictions: -1, correct: 0 }],
      ["none where all is -inf", [-Infinity, -Infinity, -Infinity], 0, {}, { predictions: -1, correct: 0 }],
      ["right but ignored", [1, 5, 2], 1, { ignoreIndex: 1 }, { predictions: 1, correct: 0 }],
      ["none, and -1 ignored", [1, Number.NaN, 5], -1, { ignoreIndex: -1 }, { predictions: -1, correct: 0 }],
    ])("%s", (_, logits, label, options, expected) => {
      // Each row alone, and before a row with a correct prediction.
      const two = run(Float32Array.of(...logits, 0, 0, 1), Int32Array.of(label, 2), 3, {
        ...options,
        predictions: true,
      });
      expect({ predictions: two.predictions?.[0], correct: two.correct }).toEqual({
        ...expected,
        correct: expected.correct + 1,
      });
      // In a row of many classes, behind smaller logits.
      const wide = new Float32Array(1000).fill(-Infinity);
      wide.set(logits, 997);
      const none = expected.predictions === -1;
      const far = run(wide, Int32Array.of(label < 0 ? label : 997 + label), 1000, {
        ...(options.ignoreIndex === undefined
          ? {}
          : { ignoreIndex: options.ignoreIndex < 0 ? -1 : 997 + options.ignoreIndex }),
        predictions: true,
      });
      expect(far.predictions?.[0]).toBe(none ? -1 : 997 + expected.predictions);
      expect(far.correct).toBe(expected.correct);
    });

    test("correct counts the rows whose prediction is the label", () => {
      const { logits, labels } = exampleRows(1000, 4);
      const { predictions, correct } = run(logits, labels, 4, { predictions: true, ignoreIndex: 2 });
      const right = labels.filter((label, row) => label !== 2 && label === predictions?.[row]).length;
      expect(right).toBeGreaterThan(100);
      expect(correct).toBe(right);
    });
  });

  test.each<[LossOptions, string[]]>([
    [{}, []],
    [{ gradient: true }, ["gradient"]],
    [{ predictions: true }, ["correct", "predictions"]],
    [EVERYTHING, ["correct", "gradient", "predictions"]],
  ])("with %j, a result has only what was asked for", (options, more) => {
    const { logits, labels } = exampleRows(3, 4);
    const always = ["count", "logSumExp", "loss", "mean", "normalizer", "sum"];
    expect(Object.keys(run(logits, labels, 4, options)).sort()).toEqual([...always, ...more].sort());
    expect(Object.keys(xent.sparseSoftmaxCrossEntropyWithLogits([], [], options)).sort()).toEqual(
      [...always, ...more].sort(),
    );
  });

  describe("the sum adds losses before they are rounded, in f64:", () => {
    const classes = 3;
    const options = { ignoreIndex: 1 };
    const added = (numbers: ArrayLike<number>): number =>
      Array.from(numbers).reduce((total, number) => total + number, 0);

    // A loss that is rounded to f32 is off by half an ulp at most: 2^-24 of it. Those of f64 logits are not rounded.
    test.each([
      ["float32", 2 ** -24],
      ["float64", 1e-13],
    ] as const)("of many rows of %s", (type, tolerance) => {
      const { logits, labels } = exampleRows(100_003, classes);
      const rows = type === "float64" ? Float64Array.from(logits) : logits;
      const { loss, sum, mean, normalizer } = xent.sparseSoftmaxCrossEntropyWithLogits(rows, labels, options);
      const expected = added(loss);
      expect(Math.abs(sum - expected) / expected).toBeLessThan(tolerance);
      expect(normalizer).toBe(labels.filter((label) => label !== 1).length);
      expect(mean).toBe(sum / normalizer);
    });

    test.each(["float32", "float64"] as const)("row by row, %s", (type) => {
      const ROWS = 1003;
      const { logits, labels } = exampleRows(ROWS, classes);
      using batch = xent.createBatch({ rows: ROWS, classes, logits: type });
      batch.setLogits(logits);
      batch.setLabels(labels);
      const { loss, sum } = batch.run({ ...options, copy: true });
      const sumOf = (begin: number, end: number): number => batch.run({ ...options, rows: [begin, end] }).sum;
      // The sum of one row is its loss, and that of two has one rounding.
      const unrounded = Float64Array.from({ length: ROWS }, (_, row) => sumOf(row, row + 1));
      expect(type === "float64" ? unrounded : Float32Array.from(unrounded)).toEqual(loss);
      if (type === "float32") expect([...unrounded]).not.toEqual([...loss]);
      for (let row = 1; row < ROWS; row++) {
        expect(sumOf(row - 1, row + 1)).toBe((unrounded[row - 1] as number) + (unrounded[row] as number));
      }
      expect(Math.abs(sum - added(unrounded)) / sum).toBeLessThan(1e-14);
    });
  });
});
