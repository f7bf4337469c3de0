// The benchmark: the oracle that checks its results, and the folder that it writes to.
import { describe, expect, test } from "vitest";
import { folderOf, measurements } from "../../scripts/bench/machine.mjs";
import { oracle } from "../../scripts/bench/oracle.mjs";
import { goldenCases } from "../support/golden.ts";

const TOLERANCE = 1e-12;

describe("the oracle has the golden values of", () => {
  for (const { name, shape, logits, options, targets, labels, loss, gradient, gradientOf } of goldenCases("options")) {
    const {
      axis = -1,
      classWeights,
      sampleWeights,
      ...others
    } = options as { axis?: number } & Record<string, unknown>;
    const index = axis < 0 ? axis + shape.length : axis;
    const classes = shape[index] as number;
    const inner = shape.slice(index + 1).reduce((a, b) => a * b, 1);
    const data = {
      rows: loss.length,
      classes,
      inner,
      logits,
      labels,
      targets,
      classWeights,
      sampleWeights,
      options: others,
    };
    test(name, () => {
      const got = oracle(data);
      expectClose(got.loss, loss);
      if (gradient && gradientOf === "sum") expectClose(got.gradient, gradient);
    });
  }
});

function expectClose(got: Float64Array, exact: number[]): void {
  expect(got.length).toBe(exact.length);
  for (const [i, value] of exact.entries()) {
    if (Number.isFinite(value))
      expect(Math.abs((got[i] as number) - value)).toBeLessThanOrEqual(TOLERANCE * Math.max(1, Math.abs(value)));
    else expect(got[i]).toBe(value);
  }
}

describe("the documentation's measurements are replaced", () => {
  const choices = { peers: { default: "" }, cases: { default: [""] } };
  const whole = { out: undefined, native: true, peers: "", cases: [""] };

  test("by a whole run", () => expect(folderOf(whole, choices)).toBe(measurements));

  for (const [name, part] of Object.entries({
    "of JavaScript's peers": { native: false },
    "of some peers": { peers: "xent" },
    "of some cases": { cases: ["softcap"] },
  })) {
    test(`not by one ${name}`, () => expect(folderOf({ ...whole, ...part }, choices)).not.toBe(measurements));
  }
});
