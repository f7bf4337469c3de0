// xent compare against NumPy and PyTorch in f64: golden/evaluators.json.
import { readFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { beforeAll, describe, expect, test } from "vitest";
import { bytesOf, npy } from "../support/array-files.ts";
import { xentJson } from "../support/cli.ts";
import { cliFolder } from "../support/cli-folder.ts";
import { golden } from "../support/evaluators.ts";

interface Estimate {
  mean: number;
  standardError: number;
}

interface Comparison {
  base: Estimate & { dtype: string; perplexity: number; correct: number };
  other: Estimate & { dtype: string; perplexity: number; correct: number };
  rows: number;
  counted: number;
  difference: Estimate & { perplexityRatio: number };
  divergence: Estimate & {
    median: number;
    percentile99: number;
    largest: { value: number; row: number; file?: string };
    notFinite: number;
    quantiles: string;
  };
  agreement: Estimate & { rows: number };
  labelProbability: {
    change: Estimate;
    rootMeanSquareChange: number;
    largestIncrease: { value: number; row: number };
    largestDecrease: { value: number; row: number };
  };
  files: { base: string; other: string; difference: Estimate }[];
}

const { shape, expected } = golden;
const [N, T, C] = shape;
const wanted = expected.compare;
const { folder, run, write, path } = cliFolder("compare");
const json = (...args: string[]): Comparison => xentJson(["compare", "--threads", "2", ...args], { cwd: folder });

/** Bounds for losses in f32, and for statistics of their differences. */
const near = (got: number, value: number, within = 1e-6): void =>
  expect(Math.abs(got / value - 1)).toBeLessThan(within);

beforeAll(() => {
  const [x, o] = [Float32Array.from(golden.logits), Float32Array.from(golden.other)];
  const labels = Int32Array.from(golden.labels);
  write("x.npy", npy("float32", shape, x));
  write("o.npy", npy("float32", shape, o));
  write("o64.npy", npy("float64", shape, Float64Array.from(o)));
  write("y.npy", npy("int32", [N, T], labels));
  write("m.npy", npy("|b1", [N, T], Uint8Array.from(golden.mask)));
  const across = (values: Float32Array): Float32Array =>
    Float32Array.from(values, (_, i) => {
      const [n, c, t] = [Math.floor(i / (C * T)), Math.floor(i / T) % C, i % T];
      return values[(n * T + t) * C + c] as number;
    });
  write("x-across.npy", npy("float32", [N, C, T], across(x)));
  write("o-across.npy", npy("float32", [N, C, T], across(o)));
  for (let n = 0; n < N; n++) {
    write(`x${n}.npy`, npy("float32", [T, C], x.subarray(n * T * C, (n + 1) * T * C)));
    write(`o${n}.npy`, npy("float32", [T, C], o.subarray(n * T * C, (n + 1) * T * C)));
    write(`x${n}.y.npy`, npy("int32", [T], labels.subarray(n * T, (n + 1) * T)));
  }
});

function expectGolden(comparison: Comparison): void {
  const { base, other, difference, divergence, agreement, labelProbability } = comparison;
  near(base.mean, expected.mean);
  near(base.standardError, expected.standardError);
  near(base.perplexity, Math.exp(expected.mean));
  near(other.mean, wanted.other);
  near(difference.mean, wanted.difference, 1e-5);
  near(difference.standardError, wanted.differenceError, 1e-5);
  near(difference.perplexityRatio, Math.exp(wanted.difference));
  near(divergence.mean, wanted.divergence.mean, 1e-5);
  near(divergence.standardError, wanted.divergence.standardError, 1e-5);
  near(divergence.median, wanted.divergence.median, 1e-5);
  near(divergence.percentile99, wanted.divergence.percentile99, 1e-5);
  near(divergence.largest.value, wanted.divergence.largest, 1e-5);
  expect(divergence.quantiles).toBe("exact");
  expect(agreement.rows).toBe(wanted.agreement);
  expect(agreement.mean).toBe(wanted.agreement / (N * T));
  near(labelProbability.change.mean, wanted.change.mean, 1e-4);
  near(labelProbability.change.standardError, wanted.change.standardError, 1e-5);
  near(labelProbability.rootMeanSquareChange, wanted.change.rootMeanSquare, 1e-5);
  near(labelProbability.largestDecrease.value, wanted.change.least, 1e-5);
  near(labelProbability.largestIncrease.value, wanted.change.most, 1e-5);
}

describe("two models", () => {
  test.each<[string, string[]]>([
    ["whole", ["x.npy", "o.npy"]],
    ["in small batches", ["x.npy", "o.npy", "--batch-rows", "3"]],
    ["of different types", ["x.npy", "o64.npy"]],
    ["with their classes on another axis", ["x-across.npy", "o-across.npy", "--axis", "1"]],
  ])("give the statistics of NumPy and PyTorch: %s", (_, args) => {
    const comparison = json(...args, "--labels", "y.npy");
    expectGolden(comparison);
    expect(comparison.divergence.largest.row).toBe(wanted.divergence.row);
    expect(comparison.labelProbability.largestDecrease.row).toBe(wanted.change.leastRow);
    expect(comparison.labelProbability.largestIncrease.row).toBe(wanted.change.mostRow);
  });

  test("may be a raw file and one that states its type, in either order", () => {
    write("half.npy", npy("float16", [1, 2], Uint16Array.of(0, 0x3c00)));
    write("raw.bin", bytesOf(Float32Array.of(0, 1)));
    write("zero.txt", "0");
    for (const [files, types] of [
      [
        ["raw.bin", "half.npy", "--dtype", "float32"],
        ["float32", "float16"],
      ],
      [
        ["half.npy", "raw.bin", "--dtype", "float32"],
        ["float16", "float32"],
      ],
      [
        ["half.npy", "raw.bin", "--other-dtype", "float32"],
        ["float16", "float32"],
      ],
      [
        ["raw.bin", "half.npy", "--other-dtype", "float64"],
        ["float32", "float16"],
      ],
    ] as const) {
      const { base, other, divergence } = json(...files, "--classes", "2", "--labels", "zero.txt");
      expect([base.dtype, other.dtype, divergence.mean]).toEqual([...types, 0]);
    }
  });

  test("use all threads from 16 MiB of logits on, also in lists of files", () => {
    write("many.bin", Buffer.alloc(2 ** 23));
    write("more.bin", Buffer.alloc(2 ** 23));
    write("many.txt", "0\n".repeat(2048));
    const lists = ["--base", "many.bin", "--other", "more.bin", "--classes", "1024", "--labels", "many.txt"];
    const { threads } = xentJson<{ threads: number }>(["compare", ...lists], { cwd: folder });
    expect(threads).toBe(availableParallelism());
  });

  test("may be in several files, with a result for each row and cluster", () => {
    const args = ["--base", "x0.npy", "x1.npy", "x2.npy", "x3.npy", "--other", "o0.npy", "o1.npy", "o2.npy", "o3.npy"];
    const comparison = json(...args, "--labels", "{path}.y.npy", "--per-row", "rows.csv");
    expectGolden(comparison);
    expect(comparison.files.map(({ base, other }) => [base, other])).toEqual(
      [0, 1, 2, 3].map((n) => [`x${n}.npy`, `o${n}.npy`]),
    );
    const row = wanted.divergence.row;
    expect(comparison.divergence.largest).toMatchObject({ row: row % T, file: `x${Math.floor(row / T)}.npy` });
    const lines = readFileSync(path("rows.csv"), "utf8").trimEnd().split("\n");
    expect(lines[0]).toBe(
      "file,row,label,base_loss,other_loss,divergence,base_prediction,other_prediction,label_probability_change",
    );
    expect(lines).toHaveLength(1 + N * T);
    near(Number(lines[1 + row]?.split(",")[5]), wanted.divergence.largest, 1e-5);
    for (const group of ["file", "sequence"]) {
      const { difference } = json(...args, "--labels", "{path}.y.npy", "--group", group);
      near(difference.standardError, wanted.differenceBySequence, 1e-5);
    }
  });

  test("may have a temperature for both, and a mask", () => {
    const { divergence } = json("x.npy", "o.npy", "--labels", "y.npy", "--temperature", "2");
    near(divergence.mean, wanted.divergenceAtTemperature2, 1e-5);
    const masked = json("x.npy", "o.npy", "--labels", "y.npy", "--mask", "m.npy");
    expect(masked.counted).toBe(expected.masked.count);
    near(masked.base.mean, expected.masked.mean);
  });

  test("diverge by exactly 0 if they are the same, and by more if they are almost the same", () => {
    const same = json("x.npy", "x.npy", "--labels", "y.npy");
    expect(same.divergence).toMatchObject({ mean: 0, median: 0, percentile99: 0 });
    expect(same.difference).toMatchObject({ mean: 0, standardError: 0 });
    expect(same.agreement.rows).toBe(N * T);
    // Half the variance of the change under the model, far below what p log(p / q) leaves in f32.
    write(
      "near.npy",
      npy(
        "float64",
        shape,
        Float64Array.from(golden.logits, (x, i) => x + (i % 2) * 2 ** -14),
      ),
    );
    const { mean } = json("x.npy", "near.npy", "--labels", "y.npy").divergence;
    expect(mean).toBeGreaterThan(1e-11);
    expect(mean).toBeLessThan(2 ** -29);
  });

  test("are refused if they do not match, and the error names both", () => {
    const error = (...args: string[]): string => run("compare", ...args, "--labels", "y.npy").stderr;
    expect(error("x.npy", "o0.npy")).toBe(
      "xent: o0.npy: expected logits of shape [4, 8, 5] as in x.npy, found [8, 5]\n",
    );
    expect(error("x.npy")).toMatch(/^xent: expected two files of logits, BASE and OTHER/);
    expect(error("--base", "x0.npy", "x1.npy", "--other", "o0.npy")).toBe(
      "xent: --base and --other: expected the same number of files, got 2 and 1\n",
    );
    expect(error("--base", "x0.npy", "x1.npy", "--other", "x1.npy", "x0.npy")).toBe(
      "xent: --other: x1.npy is compared with x0.npy: give both lists in the same order\n",
    );
    expect(error("x.npy", "o.npy", "--per-row", "o.npy")).toMatch(/^xent: --per-row: o\.npy: /);
    expect(error("x.npy", "o.npy", "--html", "o.npy")).toMatch(/^xent: --html: o\.npy: /);
  });

  test("are refused if their rows have another order, and the error names both shapes", () => {
    const zeros = (name: string, sizes: number[]): void =>
      write(name, npy("float32", sizes, new Float32Array(sizes.reduce((product, size) => product * size, 1))));
    for (const [name, sizes] of [
      ["b.npy", [2, 3, 5]],
      ["t.npy", [3, 2, 5]],
      ["flat.npy", [6, 5]],
      ["b1.npy", [4, 5, 2, 3]],
      ["t1.npy", [4, 5, 3, 2]],
    ] as const)
      zeros(name, [...sizes]);
    write("six.txt", "0 ".repeat(6));
    write("many.txt", "0 ".repeat(24));
    const compared = (labels: string, ...args: string[]): string => run("compare", ...args, "--labels", labels).stderr;
    expect(compared("six.txt", "b.npy", "t.npy")).toBe(
      "xent: t.npy: expected logits of shape [2, 3, 5] as in b.npy, found [3, 2, 5]\n",
    );
    expect(compared("many.txt", "b1.npy", "t1.npy", "--axis", "1")).toBe(
      "xent: t1.npy: expected logits of shape [4, 5, 2, 3] as in b1.npy, found [4, 5, 3, 2]\n",
    );
    // A flat file says nothing about sequences.
    for (const files of [
      ["b.npy", "flat.npy"],
      ["flat.npy", "t.npy"],
    ])
      expect(compared("six.txt", ...files)).toBe("");
    for (const option of [
      ["--shift", "1"],
      ["--group", "sequence"],
    ]) {
      expect(compared("six.txt", "b.npy", "flat.npy", ...option)).toBe(
        "xent: flat.npy: has sequences of 6 rows, by its shape [6, 5], but b.npy of 3, by [2, 3, 5]: give --sequence\n",
      );
      expect(compared("six.txt", "b.npy", "flat.npy", "--sequence", "3", ...option)).toBe("");
    }
  });

  test("name the file whose logits have no finite divergence, which may be the base", () => {
    write("nan.npy", npy("float32", [2, 2], Float32Array.of(0, NaN, 0, NaN)));
    write("zero.npy", npy("float32", [2, 2], new Float32Array(4)));
    write("zeros.txt", "0 0");
    const args = ["compare", "nan.npy", "zero.npy", "--labels", "zeros.txt"];
    const { stdout, stderr } = run(...args);
    expect(stderr.split("\n")[1]).toBe(
      "xent: nan.npy and zero.npy: 2 rows have no finite divergence; the largest is NaN, row 0",
    );
    expect(stdout).toMatch(/^ {2}median +NaN\n {2}99 % +NaN$/m);
    expect(json(...args.slice(1)).divergence).toMatchObject({ mean: "NaN", median: "NaN", percentile99: "NaN" });
  });

  test("have help that mentions only options of the command", () => {
    expect(run("compare", "--help").stdout).not.toContain("softcap");
  });

  test("leave the cells of a file blank if none of its rows counts", () => {
    for (const name of ["n0", "n1", "m0", "m1"]) write(`${name}.npy`, npy("float32", [1, 2], Float32Array.of(0, 1)));
    write("n0.txt", "0");
    write("n1.txt", "1");
    const lists = ["--base", "n0.npy", "n1.npy", "--other", "m0.npy", "m1.npy", "--labels", "{path}.txt"];
    const { stdout } = run("compare", ...lists, "--ignore-index", "1");
    expect(stdout).toMatch(/^n1\.npy +0 *$/m);
  });

  test("may have rows without a finite divergence, which are counted and the first is named", () => {
    const masked = Float32Array.from(golden.other);
    masked[3 * C + (((golden.labels[3] as number) + 1) % C)] = -Infinity;
    write("masked.npy", npy("float32", shape, masked));
    const { divergence } = json("x.npy", "masked.npy", "--labels", "y.npy");
    expect(divergence).toMatchObject({ notFinite: 1, mean: "Infinity", largest: { value: "Infinity", row: 3 } });
    expect(run("compare", "x.npy", "masked.npy", "--labels", "y.npy").stderr).toBe(
      "xent: masked.npy: 1 row has no finite divergence; the largest is Infinity, row 3\n",
    );
  });
});
