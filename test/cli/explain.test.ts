// xent explain: the loss of one row, step by step.
import { describe, expect, test } from "vitest";
import type { LossOptions } from "xent";
import { xentCommand, xentJson } from "../support/cli.ts";
import { exactRow } from "../support/oracle.ts";
import { ulp } from "../support/ulp.ts";

interface Loss {
  value: number;
  digits: number | string;
  ulp: number | string;
}
interface Explanation {
  logits: number[];
  steps: Record<string, number> & { softmax: number[]; gradient: number[]; shifted: number[]; exp: number[] };
  kernel: Loss;
  stable: Loss;
  naive: Loss;
  gradient: number[];
  changes: { option: string; lossWithout: number; gradientWithout: number[] }[];
}

const ROW = ["2", "-5", "0.5", "-0.1"];
const EVERYTHING = "--softcap 4 --temperature 2 --class-weights 1,2,0.5,3 --smoothing 0.1 --z-loss 0.01".split(" ");

const cases: [name: string, args: string[], label: number, options: LossOptions][] = [
  ["no option", ROW, 0, {}],
  ["an unlikely label", ["0", "80", "-3"], 2, {}],
  ["a confident row", ["20", "0", "1", "-2.5e-1"], 0, {}],
  ["label smoothing", [...ROW, "--label-smoothing", "0.2"], 3, { labelSmoothing: 0.2 }],
  ["a z term", [...ROW, "--z-loss", "0.1"], 1, { zLoss: 0.1 }],
  ["a cap", [...ROW, "--softcap", "3"], 2, { softcap: 3 }],
  ["a temperature", [...ROW, "--temperature", "0.7"], 0, { temperature: 0.7 }],
  ["class weights", [...ROW, "--class-weights", "1,2,0.5,3"], 3, { classWeights: [1, 2, 0.5, 3] }],
  ["another label ignored", [...ROW, "--ignore-index", "-100"], 0, { ignoreIndex: -100 }],
  [
    "everything",
    [...ROW, ...EVERYTHING],
    1,
    { softcap: 4, temperature: 2, classWeights: [1, 2, 0.5, 3], labelSmoothing: 0.1, zLoss: 0.01 },
  ],
];

const relative = (got: number, exact: number): number => (got === exact ? 0 : Math.abs(got / exact - 1));

describe.each(cases)("explain with %s", (_, args, label, options) => {
  const { logits, steps, kernel, stable, naive, gradient, changes } = xentJson<Explanation>([
    ...["explain", ...args, "--label", `${label}`],
  ]);
  const exact = exactRow({ x: logits, target: label, sampleWeight: 1 }, options);

  test("prints the exact steps", () => {
    expect(relative(steps["loss"] as number, exact.loss)).toBeLessThan(1e-14);
    expect(relative(steps["logSumExp"] as number, exact.logSumExp)).toBeLessThan(1e-14);
    steps.gradient.forEach((value, j) => {
      expect(Math.abs(value - (exact.gradient[j] as number))).toBeLessThanOrEqual(1e-14 * (exact.parts[j] as number));
    });
    expect(steps.softmax.reduce((sum, p) => sum + p)).toBeCloseTo(1, 14);
  });

  test("prints the error of each way to compute the loss", () => {
    for (const { value, ulp: said } of [kernel, stable, naive]) {
      expect(Math.abs(Number(said) - ulp(value, exact.loss))).toBeLessThan(1e-3 + 1e-6 * Number(said));
    }
    expect(kernel.ulp).toBeLessThanOrEqual(8);
  });

  test("prints the gradient of the kernel", () => {
    gradient.forEach((value, j) => {
      expect(Math.abs(value - (exact.gradient[j] as number)) * 2 ** 24).toBeLessThan(64 * (exact.parts[j] as number));
    });
  });

  test("prints what each option changes", () => {
    expect(changes.map(({ option }) => option).sort()).toEqual(Object.keys(options).sort());
    for (const { option, lossWithout, gradientWithout } of changes) {
      const { [option as keyof LossOptions]: __, ...others } = options;
      const without = exactRow({ x: logits, target: label, sampleWeight: 1 }, others);
      expect(ulp(lossWithout, without.loss)).toBeLessThanOrEqual(8);
      gradientWithout.forEach((value, j) => {
        expect(value).toBeCloseTo(without.gradient[j] as number, 5);
      });
    }
  });
});

describe("the logits of explain", () => {
  const explained = (args: string[], input?: string): number[] =>
    xentJson<Explanation>(["explain", ...args], input === undefined ? {} : { input }).logits;

  test("may be arguments, a list with commas, or standard input, before or after the options", () => {
    const logits = [-1, 2, Math.fround(-3.1), 4];
    expect(explained(["-1", "2", "-3.1", "4", "--label", "0"])).toEqual(logits);
    expect(explained(["--label", "0", "-1", "2", "-3.1", "4"])).toEqual(logits);
    expect(explained(["-1,2,-3.1,4", "--label", "0"])).toEqual(logits);
    expect(explained(["--label", "0"], "-1 2 -3.1\n,\t4\n")).toEqual(logits);
    expect(explained(["[-1, 2,", "-3.1, 4]", "--label", "0"])).toEqual(logits);
    expect(explained(["--label", "0"], "[[-1  2 -3.1\n  4]]")).toEqual(logits);
    expect(explained(["-", "--label", "0"], "-1 2 -3.1 4")).toEqual(logits);
  });

  test.each(["0", "1"])("give NaN in all steps if one is inf, label %s", (label) => {
    const { steps, kernel } = xentJson<{ steps: Record<string, unknown>; kernel: { value: unknown; digits: unknown } }>(
      ["explain", "inf", "1", "--label", label],
    );
    expect([steps["sum"], steps["log"], steps["loss"], kernel.value]).toEqual(Array(4).fill("NaN"));
  });

  test("may be infinite, which JSON has as a string", () => {
    expect(explained(["0", "-inf", "1e0", "--label", "0"])).toEqual([0, "-Infinity", 1]);
  });

  test.each<[args: string, message: string]>([
    ["2 -5 --label 2", "xent: the label 2 is outside of the range [0, 2) of 2 logits"],
    ["2 -5 --label -1", "xent: the label -1 is outside of the range [0, 2) of 2 logits"],
    ["2 nan --label 0", "xent: nan is not a number"],
    ["2 -five --label 0", "xent: -five is not a number"],
    ["2 1e39 --label 0", "xent: 1e39 is more than f32 can hold"],
    ["2 1 --label 0 --soft 3", "xent: unknown option --soft"],
    ["2 1 --label 0 --class-weights 1,2,3", "xent: --class-weights: expected one for each of 2 logits, got 3"],
    ["--label 0", "xent: expected logits, got none"],
    ["2 1", "xent: required option '--label <y>' not specified"],
    ["2 1 --label 0x1", "xent: option '--label <y>' argument '0x1' is invalid. Expected an integer."],
    ["2 1 --label 0.5", "xent: option '--label <y>' argument '0.5' is invalid. Expected an integer."],
    [
      "2 1 --label 0 --smoothing 1",
      "xent: option '--smoothing, --label-smoothing <e>' argument '1' is invalid. Expected a number in [0, 1).",
    ],
    [
      "2 1 --label 0 --temperature 0",
      "xent: option '--temperature <t>' argument '0' is invalid. Expected a number > 0.",
    ],
  ])("are refused if an argument is wrong: %s", (args, message) => {
    expect(xentCommand(["explain", ...args.split(" ")])).toEqual({ status: 2, stdout: "", stderr: `${message}\n` });
  });
});

describe("the text of explain", () => {
  test.each([
    ["1e38 -1e38 3e38", true],
    ["1e38 -1e38 2e38", false],
  ])("tells whether the loss of %s is more than f32 can hold", (logits, isMore) => {
    const { stdout } = xentCommand(["explain", ...logits.split(" "), "--label", "1"]);
    expect(stdout.includes("the exact loss is more than f32 can hold: Infinity is right\n")).toBe(isMore);
  });

  const long = Array.from({ length: 3000 }, (_, j) => `${Math.sin(j) * 9}`).join(",");

  test.each([
    ["80 columns", 80],
    ["a narrow terminal", 48],
  ])("fits %s, and has no escapes without a terminal", (_, columns) => {
    for (const args of [[...ROW, ...EVERYTHING], ROW, [long], ["1e-30", "1e30", "-inf", ...EVERYTHING.slice(0, 4)]]) {
      const { stdout, status } = xentCommand(["explain", ...args, "--label", "0"], { columns });
      expect(status).toBe(0);
      expect(stdout).toMatch(/^[\n -~]+$/);
      expect(stdout.split("\n").filter((line) => line.length > columns)).toEqual([]);
    }
  });

  test("shows the label and the most likely classes of many", () => {
    const { stdout } = xentCommand(["explain", long, "--label", "5"]);
    expect(stdout.match(/^(\d+|y = \d+) /gm)).toHaveLength(20);
    expect(stdout).toContain("y = 5 ");
    expect(stdout).toContain("and 2980 classes with smaller logits; --json has all");
  });

  test("tells that an ignored label has no loss, even if it is no class", () => {
    const { stdout } = xentCommand(["explain", "1", "2", "--label", "-100", "--ignore-index", "-100"]);
    expect(stdout).toContain("the label -100 is ignored: loss and gradient are 0");
  });

  test("shows a loss that the plain f32 forms miss, and their errors", () => {
    const { kernel, stable, naive } = xentJson<Explanation>(["explain", "20", "0", "0", "--label", "0"]);
    expect(kernel.value).toBeCloseTo(4.1223e-9, 12);
    expect(kernel.digits).toBeGreaterThan(6);
    expect([stable.value, stable.digits, naive.value, naive.digits]).toEqual([0, 0, 0, 0]);
    expect(naive.ulp).toBeGreaterThan(1e6);
  });
});
