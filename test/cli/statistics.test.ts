// The statistics of xent evaluate against NumPy and PyTorch in f64: golden/evaluators.json.
import { readFileSync } from "node:fs";
import { zipSync } from "fflate";
import { beforeAll, describe, expect, test } from "vitest";
import { Calibration } from "../../packages/cli/src/calibration.ts";
import { bytesOf, npy } from "../support/array-files.ts";
import { xentJson } from "../support/cli.ts";
import { cliFolder } from "../support/cli-folder.ts";
import { golden } from "../support/evaluators.ts";

interface Statistics {
  mean: number;
  counted: number;
  perplexity: number;
  standardError: number;
  perplexityStandardError: number;
  group: { by: string; count: number };
  files: {
    name: string;
    rows: number;
    counted: number;
    mean: number;
    perplexity: number;
    standardError: number;
    correct: number;
  }[];
  macro: { files: number; mean: number; perplexity: number; accuracy: number };
  topK: { k: number; correct: number; accuracy: number }[];
  calibration: { expectedCalibrationError: number; bins: { rows: number }[] };
  bitsPerByte: number;
  notices: { looksLike: string }[];
}

const { shape, expected } = golden;
const [N, T, C] = shape;
const { folder, run, write, path } = cliFolder("statistics");
const json = (...args: string[]): Statistics => xentJson(["evaluate", "--threads", "1", ...args], { cwd: folder });
const whole = ["--logits", "x.npy", "--labels", "y.npy"];
const parts = ["0.npy", "1.npy", "2.npy", "3.npy", "--labels", "{path}.y.npy"];

/** Losses are f32. */
const near = (got: number, wanted: number): void => expect(Math.abs(got / wanted - 1)).toBeLessThan(2e-7);

beforeAll(() => {
  const x = Float32Array.from(golden.logits);
  const [labels, mask] = [Int32Array.from(golden.labels), Uint8Array.from(golden.mask)];
  write("x.npy", npy("float32", shape, x));
  write("y.npy", npy("int32", [N, T], labels));
  write("y.bin", Buffer.from(BigInt64Array.from(golden.labels, BigInt).buffer));
  write("m.npy", npy("|b1", [N, T], mask));
  write("w.npy", npy("float32", [C], Float32Array.from(golden.weights)));
  const across = Float32Array.from(x, (_, i) => {
    const [n, c, t] = [Math.floor(i / (C * T)), Math.floor(i / T) % C, i % T];
    return x[(n * T + t) * C + c] as number;
  });
  write("across.npy", npy("float32", [N, C, T], across));
  for (let n = 0; n < N; n++) {
    write(`${n}.npy`, npy("float32", [T, C], x.subarray(n * T * C, (n + 1) * T * C)));
    write(`${n}.y.npy`, npy("int32", [T], labels.subarray(n * T, (n + 1) * T)));
    write(`${n}.m.npy`, npy("uint8", [T], mask.subarray(n * T, (n + 1) * T)));
  }
});

describe("the standard error", () => {
  test("is that of the mean over rows, and of the perplexity by the delta method", () => {
    const { mean, perplexity, standardError, perplexityStandardError, group } = json(...whole);
    near(mean, expected.mean);
    near(standardError, expected.standardError);
    expect(perplexityStandardError).toBe(perplexity * standardError);
    expect(group).toEqual({ by: "row", count: N * T });
    expect(run("evaluate", ...whole).stdout).toMatch(
      /^mean loss +1\.76\d+ nat ± 0\.331\nperplexity +5\.81\d+ ± 1\.93$/m,
    );
  });

  test("is clustered by sequence or file with --group, with the same bits for any batch size", () => {
    const bySequence = json(...whole, "--group", "sequence");
    near(bySequence.standardError, expected.bySequence);
    expect(bySequence.group).toEqual({ by: "sequence", count: N });
    expect(json(...whole, "--group", "sequence", "--batch-rows", "3").standardError).toBe(bySequence.standardError);
    near(json(...parts, "--group", "file").standardError, expected.bySequence);
    // The error comes before the labels, which do not exist, are opened.
    expect(run("evaluate", "x.npy", "--labels", "none.npy", "--group", "file").stderr).toBe(
      "xent: --group file: expected at least two with a row that counts, found 1\n",
    );
    for (const of of [["0.npy"], ["x.npy", "--sequence", String(N * T)]]) {
      for (const command of [["evaluate"], ["compare", of[0] as string]]) {
        expect(run(...command, ...of, "--labels", "none.npy", "--group", "sequence").stderr).toBe(
          "xent: --group sequence: expected at least two with a row that counts, found 1\n",
        );
      }
    }
  });

  test("takes class weights into account", () => {
    const { mean, standardError } = json(...whole, "--class-weights", "w.npy");
    near(mean, expected.weighted.mean);
    near(standardError, expected.weighted.standardError);
  });
});

describe("rows", () => {
  test.each(["m.npy", "m.txt"])("count only where the mask is not 0: %s", (mask) => {
    write("m.txt", golden.mask.join(" "));
    const { mean, counted, standardError } = json(...whole, "--mask", mask, "--group", "sequence");
    expect(counted).toBe(expected.masked.count);
    near(mean, expected.masked.mean);
    near(standardError, expected.masked.bySequence);
  });

  test("count by the array mask of a file with several arrays, or by the one that is named", () => {
    const array = (data: readonly number[]): Uint8Array => npy("|b1", [N, T], Uint8Array.from(data));
    const content = { "labels.npy": array(golden.labels.map(() => 1)), "m.npy": array(golden.mask) };
    write("all.npz", zipSync({ ...content, "mask.npy": array(golden.mask) }));
    write("none.npz", zipSync(content));
    for (const command of [
      ["evaluate", "--logits"],
      ["compare", "x.npy"],
    ]) {
      const args = [...command, "x.npy", "--labels", "y.npy", "--mask"];
      for (const mask of ["all.npz", "none.npz:m"]) {
        expect(JSON.parse(run(...args, mask, "--json").stdout).counted).toBe(expected.masked.count);
      }
      expect(run(...args, "none.npz").stderr).toBe(
        'xent: none.npz: has no array "mask": choose one of labels, m as none.npz:name\n',
      );
    }
  });

  test("count where the mask is any integer but 0, in any format of labels", () => {
    const far = [-1, 2 ** 31 - 1, -(2 ** 31)];
    const mask = Int32Array.from(golden.mask, (value, i) => (value ? (far[i % 3] as number) : 0));
    const large = BigUint64Array.from(golden.mask, (value) => (value ? 2n ** 32n : 0n));
    write("m.i32", bytesOf(mask));
    write("far.npy", npy("int32", [N, T], mask));
    write("unsigned.npy", npy("uint32", [N, T], new Uint32Array(mask.buffer)));
    write("large.npy", npy("uint64", [N, T], large));
    write("far.txt", mask.join(" "));
    for (const file of ["m.i32", "far.npy", "unsigned.npy", "large.npy", "far.txt"]) {
      const { mean, counted } = json(...whole, "--mask", file);
      expect([file, counted]).toEqual([file, expected.masked.count]);
      near(mean, expected.masked.mean);
    }
  });

  test("that are masked may have any label", () => {
    const labels = Int32Array.from(golden.labels, (label, row) => (golden.mask[row] ? label : -77));
    write("any.npy", npy("int32", [N, T], labels));
    near(json("--logits", "x.npy", "--labels", "any.npy", "--mask", "m.npy").mean, expected.masked.mean);
  });

  test("are refused with a mask of another length or type", () => {
    write("short.npy", npy("|b1", [3], Uint8Array.of(1, 0, 1)));
    expect(run("evaluate", ...whole, "--mask", "short.npy").stderr).toBe(
      "xent: short.npy: 3 mask values do not fit the 32 rows of x.npy\n",
    );
    write("half.npy", npy("float32", [N, T], new Float32Array(N * T)));
    expect(run("evaluate", ...whole, "--mask", "half.npy").stderr).toBe(
      "xent: half.npy: expected integers or bool, found float32\n",
    );
    expect(run("evaluate", "--logits", "x.npy", "--labels", "m.npy").stderr).toBe(
      "xent: m.npy: expected integers, found bool\n",
    );
  });

  test("take the mask of the shifted label", () => {
    const shifted = json(...whole, "--mask", "m.npy", "--shift", "1");
    const counted = golden.mask.filter((value, row) => value && row % T > 0).length;
    expect(shifted.counted).toBe(counted);
  });

  test.each([["1"], ["-2"]])("may have the classes in another axis: %s", (axis) => {
    const args = ["--logits", "across.npy", "--axis", axis, "--labels", "y.bin", "--labels-dtype", "int64"];
    const { mean, standardError, topK } = json(...args, "--group", "sequence", "--top-k", "2", "--batch-rows", "9");
    near(mean, expected.mean);
    near(standardError, expected.bySequence);
    expect(topK).toMatchObject([{ k: 2, correct: expected.topK[2] }]);
  });

  test("are refused with an axis that does not exist", () => {
    expect(run("evaluate", ...whole, "--axis", "3").stderr).toBe(
      "xent: x.npy: has no axis 3: its shape is [4, 8, 5]\n",
    );
  });
});

describe("files", () => {
  test("are reported one by one, with their macro average", () => {
    const { files, macro, mean } = json(...parts);
    near(mean, expected.mean);
    expect(files.map(({ name, rows, counted, correct }) => ({ name, rows, counted, correct }))).toEqual(
      expected.files.map(({ correct }, i) => ({ name: `${i}.npy`, rows: T, counted: T, correct })),
    );
    for (const [i, file] of files.entries()) {
      const wanted = expected.files[i] as (typeof expected.files)[number];
      near(file.mean, wanted.mean);
      near(file.perplexity, wanted.perplexity);
      near(file.standardError, wanted.standardError);
    }
    const macroMean = expected.files.reduce((sum, file) => sum + file.mean, 0) / N;
    near(macro.mean, macroMean);
    near(macro.perplexity, Math.exp(macroMean));
  });

  test("have no mean if no row counts, and then do not change the macro average", () => {
    write("none.npy", npy("float32", [2, C], new Float32Array(2 * C)));
    write("none.y.npy", npy("int32", [2], Int32Array.of(-1, -1)));
    const { files, macro } = json("0.npy", "none.npy", "--labels", "{path}.y.npy", "--ignore-index", "-1");
    expect(files[1]).toMatchObject({ rows: 2, counted: 0, mean: "NaN" });
    expect(macro.files).toBe(1);
    near(macro.mean, expected.files[0]?.mean as number);
  });

  test("are printed as a table", () => {
    const { stdout } = run("evaluate", ...parts);
    expect(stdout).toMatch(/^file +rows +counted +mean loss +± +perplexity +accuracy$/m);
    expect(stdout).toMatch(/^0\.npy +8 +8 +1\.57425 +0\.398 +4\.82714 +25\.00 %$/m);
    expect(stdout).toMatch(/^all rows \(micro\) +32 +32 +1\.76097 +0\.331 /m);
    expect(stdout).toMatch(/^mean of files \(macro\) /m);
  });

  test("have their rows in order in --per-row", () => {
    run("evaluate", ...parts, "--per-row", "rows.csv", "--mask", "{path}.m.npy");
    const lines = readFileSync(path("rows.csv"), "utf8").trimEnd().split("\n");
    expect(lines[0]).toBe("file,row,label,loss,prediction");
    expect(lines).toHaveLength(1 + N * T);
    expect(lines[1 + T]).toMatch(/^1\.npy,0,/);
    const counted = lines.slice(1).filter((line) => line.split(",")[3] !== "");
    expect(counted).toHaveLength(expected.masked.count);
    run("evaluate", ...parts, "--per-row", "parts.npy");
    run("evaluate", ...whole, "--per-row", "whole.npy");
    expect(readFileSync(path("parts.npy"))).toEqual(readFileSync(path("whole.npy")));
  });
});

describe("statistics", () => {
  test("of --top-k and --calibration are those of PyTorch", () => {
    const { topK, calibration } = json(...whole, "--top-k", "4,1,2", "--calibration", "--batch-rows", "5");
    expect(topK.map(({ k, correct }) => [k, correct])).toEqual([1, 2, 4].map((k) => [k, expected.topK[k]]));
    near(calibration.expectedCalibrationError, expected.calibration[15] as number);
    expect(calibration.bins).toHaveLength(15);
    expect(calibration.bins.reduce((sum, { rows }) => sum + rows, 0)).toBe(N * T);
    near(json(...parts, "--calibration", "5").calibration.expectedCalibrationError, expected.calibration[5] as number);
  });

  test("are right for float16, for logits far from 0, and with other options", () => {
    write(
      "far.npy",
      npy(
        "float64",
        shape,
        Float64Array.from(golden.logits, (x) => x + 1e6),
      ),
    );
    const halves = Float64Array.from(golden.logits, (x) => x * 256);
    write("many.npy", npy("float64", shape, halves));
    const far = json("--logits", "far.npy", "--labels", "y.npy", "--calibration", "--top-k", "1,2,4");
    near(far.calibration.expectedCalibrationError, expected.calibration[15] as number);
    expect(far.topK.map(({ correct }) => correct)).toEqual([expected.topK[1], expected.topK[2], expected.topK[4]]);
    const cooled = json("--logits", "many.npy", "--labels", "y.npy", "--calibration", "--temperature", "256");
    near(cooled.calibration.expectedCalibrationError, expected.calibration[15] as number);
    const smoothed = json(
      ...whole,
      "--calibration",
      "--smoothing",
      "0.1",
      "--z-loss",
      "0.1",
      "--class-weights",
      "w.npy",
    );
    // Computed from the log-sum-exp, whose rounding to f32 is relative to the size of the logits.
    expect(Math.abs(smoothed.calibration.expectedCalibrationError - (expected.calibration[15] as number))).toBeLessThan(
      1e-6,
    );
  });

  test("of --top-k prefer the first of equal logits, as predictions do", () => {
    write("equal.npy", npy("float32", [4, 4], new Float32Array(16)));
    write("equal.y.npy", npy("int32", [4], Int32Array.of(0, 1, 2, 3)));
    const { topK } = json("--logits", "equal.npy", "--labels", "equal.y.npy", "--top-k", "1,2,3,9");
    expect(topK.map(({ correct }) => correct)).toEqual([1, 2, 3, 4]);
  });

  test("of --bytes take a number, or the size of a file", () => {
    near(json(...whole, "--bytes", "100").bitsPerByte, expected.bitsPerByte100);
    for (let n = 0; n < N; n++) write(`${n}.text`, "x".repeat(25));
    near(json(...parts, "--bytes", "{path}.text").bitsPerByte, expected.bitsPerByte100);
    expect(run("evaluate", ...whole, "--bytes", "0").status).toBe(2);
    expect(run("evaluate", ...whole, "--bytes", "nowhere.text").stderr).toBe(
      "xent: nowhere.text: no such file or directory\n",
    );
  });

  test("count a confidence at the edge of two bins in the lower one", () => {
    // In f64, 7 / 25 * 25 is more than 7.
    for (let bins = 1; bins <= 200; bins++) {
      const calibration = new Calibration(bins);
      for (let k = 1; k <= bins; k++) calibration.add(k / bins, true);
      expect(calibration.result.bins.map(({ rows }) => rows)).toEqual(Array(bins).fill(1));
    }
  });

  test("may be in a report that is written beside --totals", () => {
    expect(run("evaluate", ...whole, "--totals", "beside.totals", "--html", "beside.html")).toMatchObject({
      status: 0,
      stderr: "",
    });
  });

  test("are refused with --totals if its file can not hold them", () => {
    for (const option of [["--top-k", "1"], ["--calibration"], ["--group", "sequence"]]) {
      expect(run("evaluate", ...whole, "--totals", "x.totals", ...option)).toMatchObject({
        status: 2,
        stderr: `xent: ${option[0]}: not with --totals: that file has only sums\n`,
      });
    }
    expect(run("evaluate", ...whole, "--top-k", "0").status).toBe(2);
    expect(run("evaluate", ...whole, "--top-k", "1,").status).toBe(2);
    expect(run("evaluate", ...whole, "--calibration", "0").status).toBe(2);
  });
});

describe("a notice", () => {
  const softmax = (log: boolean): Float32Array =>
    Float32Array.from(golden.logits, (x, i) => {
      const row = golden.logits.slice(i - (i % C), i - (i % C) + C);
      const p = Math.exp(x) / row.reduce((sum, other) => sum + Math.exp(other), 0);
      return log ? Math.log(p) : p;
    });

  test.each([
    ["probabilities", false],
    ["log-probabilities", true],
  ] as const)("is given where all rows are %s, and not where one is not", (name, log) => {
    const values = softmax(log);
    write("p.npy", npy("float32", shape, values));
    const { status, stderr } = run("evaluate", "--logits", "p.npy", "--labels", "y.npy");
    expect({ status, stderr }).toEqual({
      status: 0,
      stderr: expect.stringMatching(new RegExp(`^xent: p\\.npy: .*\\b${name}\\b.*\\n$`)),
    });
    expect(json("--logits", "p.npy", "--labels", "y.npy").notices).toMatchObject([{ looksLike: name }]);
    values[values.length - 1] = 0.75;
    write("p.npy", npy("float32", shape, values));
    expect(run("evaluate", "--logits", "p.npy", "--labels", "y.npy").stderr).toBe("");
  });
});
