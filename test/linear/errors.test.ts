// Errors of xent/linear.
import { describe, expect, test } from "vitest";
import { createXentSync, type Xent } from "xent";
import { createLinear, type LinearOptions, type LinearSpec } from "xent/linear";
import { example } from "../support/linear.ts";
import { thrown } from "../support/thrown.ts";

describe("errors", () => {
  const spec = { rows: 4, features: 3, classes: 5 };

  test.each<[object, RegExp]>([
    [{ ...spec, features: 0 }, /RangeError: "features" expected an integer from 1/],
    [{ ...spec, classes: 0 }, /RangeError: "classes" expected an integer from 1/],
    [{ ...spec, weight: "float64" }, /RangeError: "weight" expected "float32", "float16" or "bfloat16"/],
    [{ ...spec, chunkRows: 257 }, /RangeError: "chunkRows" expected an integer from 1 to 256/],
    [{ ...spec, gradient: ["bias"] }, /RangeError: .*which has no bias/],
    [{ ...spec, gradient: "weight" }, /TypeError: "gradient" expected true, false or an array of parameters/],
    [{ ...spec, sequence: 3 }, /RangeError: "sequence" expected a divisor of 4 rows/],
    [{ ...spec, depth: 3 }, /TypeError: "spec" has no option "depth"/],
    [{ ...spec, module: {} }, /TypeError: "module" expected a WebAssembly.Module/],
  ])("of the specification %o", (given, message) => {
    using xent = createXentSync();
    expect(thrown(() => createLinear(xent, given as LinearSpec))).toMatch(message);
  });

  test("of a first argument that is not an instance", () => {
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
    expect(() => plain.setWeight(new Float32Array(16))).toThrow(/"source" takes 16 elements, but only 15 fit/);
    expect(() => plain.setBias([1])).toThrow("this layer has no bias: create it with bias: true");
    expect(() => plain.setLabels([0.5])).toThrow(TypeError);
    // A weight of [features, classes], as Keras has it.
    const transposed = Array.from({ length: 3 }, () => [1, 2, 3, 4, 5]);
    expect(() => plain.setWeight(transposed)).toThrow('"source" of sizes [3, 5] does not fit rows of 3 numbers');
    expect(() => plain.setFeatures([Float32Array.of(1, 2)])).toThrow("sizes [1, 2] does not fit rows of 3 numbers");
    using biased = createLinear(xent, { ...spec, bias: true, targets: true });
    expect(() => biased.setBias([[1], [2], [3], [4], [5]])).toThrow("sizes [5, 1] does not fit rows of 5 numbers");
    expect(() => biased.setTargets([[1, 0, 0]])).toThrow('"source" of sizes [1, 3] does not fit rows of 5 numbers');
  });

  test("of a layer that was disposed, or is in the middle of a job", async () => {
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
