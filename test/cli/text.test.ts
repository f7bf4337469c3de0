// Numbers in text files and arguments: read correctly, or refused with an error that names the file.
import { describe, expect, test } from "vitest";
import { npy } from "../support/array-files.ts";
import { cliFolder } from "../support/cli-folder.ts";

const { write, run, evaluate } = cliFolder("text");

const utf16 = (text: string, isBig: boolean): Buffer => {
  const bytes = Buffer.from(`\ufeff${text}`, "utf16le");
  return isBig ? bytes.swap16() : bytes;
};

describe("a text of labels", () => {
  test.each<[string, string | Buffer]>([
    ["commas", "2,0,1"],
    ["commas and spaces", "2, 0, 1\n"],
    ["lines of commas", "2,0\r\n1\r\n"],
    ["a byte order mark of UTF-8", "\ufeff2 0 1"],
    ["UTF-16, as Windows PowerShell writes it", utf16("2\r\n0\r\n1\r\n", false)],
    ["UTF-16, big endian", utf16("2\r\n0\r\n1\r\n", true)],
    ["numpy.savetxt", "2.000000000000000000e+00\n0.000000000000000000e+00\n1.000000000000000000e+00\n"],
    ["pandas", "2.0\n0.0\n1.0\n"],
    ["exponents", "20e-1 0e5 0.1E1"],
    ["a sign", "+2 -0 +1"],
  ])("with %s is read", (_, content) => {
    write("labels.txt", "2 0 1");
    const { sum } = JSON.parse(evaluate("--json").stdout);
    write("labels.txt", content);
    const { status, stdout } = evaluate("--json");
    expect(status).toBe(0);
    expect(JSON.parse(stdout).sum).toBe(sum);
  });

  test.each([
    ["2,,1", "a comma without a number on each side, after 1 number"],
    ["2,0,1,", "a comma without a number on each side, after 3 numbers"],
    [",2,0,1", "a comma without a number on each side, after 0 numbers"],
    ["2,\n0,\n1", "a comma without a number on each side, after 1 number"],
    ["2 0 1\n,", "a comma without a number on each side, after 3 numbers"],
    ["2;0;1", 'row 0 has "2;0;1", which is not an integer'],
    ["2 0.5 1", 'row 1 has "0.5", which is not an integer'],
    ["2 15e-1 1", 'row 1 has "15e-1", which is not an integer'],
    ["2 1.00000000000000000000001 1", 'row 1 has "1.00000000000000000000001", which is not an integer'],
    ["2 1e-400 1", 'row 1 has "1e-400", which is not an integer'],
    ["2 nan 1", 'row 1 has "nan", which is not an integer'],
    ["2 0x1 1", 'row 1 has "0x1", which is not an integer'],
    ["# labels\n2 0 1", 'row 0 has "#", which is not an integer'],
    ["label\n2\n0\n1", 'row 0 has "label", which is not an integer'],
    ["2 1e99 1", "row 1 has label 1e99, which is outside of the range [0, 4)"],
  ])("%j is refused", (content, message) => {
    write("labels.txt", content);
    expect(evaluate()).toEqual({ status: 1, stdout: "", stderr: `xent: labels.txt: ${message}\n` });
  });

  test("in UTF-16 without a byte order mark is refused", () => {
    write("labels.txt", Buffer.from("2 0 1", "utf16le"));
    expect(evaluate().stderr).toBe('xent: labels.txt: row 0 has "2\\u0000", which is not an integer\n');
  });

  test("may have a comma at the end of a chunk", () => {
    for (const [gap, status] of [
      [",", 0],
      [" ,", 0],
      [",,", 1],
      [",\n", 1],
    ] as const) {
      write("labels.txt", `0${" ".repeat(65_536 - 2)}1${gap}2`);
      expect(evaluate().status, JSON.stringify(gap)).toBe(status);
    }
  });
});

test("a line of labels may have any length, and a comma in it belongs to its last label", () => {
  const rows = 100_000;
  write(
    "many.npy",
    npy(
      "float32",
      [rows, 2],
      Float32Array.from({ length: 2 * rows }, (_, i) => i % 3),
    ),
  );
  const labels = Array.from({ length: rows - 1 }, (_, i) => (i % 5 < 2 ? 1 : 0));
  const evaluated = (text: string) => {
    write("many.txt", text);
    const { status, stdout, stderr } = evaluate("--logits", "many.npy", "--labels", "many.txt", "--json");
    return { status, sum: status === 0 ? JSON.parse(stdout).sum : undefined, stderr };
  };
  const lines = evaluated(`${labels.join("\n")}\n1\n`);
  expect(lines).toMatchObject({ status: 0, stderr: "" });
  expect(evaluated(`${labels.join(" ")} 1`)).toEqual(lines);
  expect(evaluated(`${labels.join(" ")} , 1`)).toEqual(lines);
  for (const end of ["\n", "\r", "\r\n", " \n  "]) {
    expect(evaluated(`${labels.join(" ")}${end}, 1`).stderr, JSON.stringify(end)).toBe(
      `xent: many.txt: a comma without a number on each side, after ${rows - 1} numbers\n`,
    );
  }
});

test("weights may be separated by commas, and each comma needs two numbers", () => {
  write("w.txt", "1,2.5\n3,4\n");
  write("same.txt", "1 2.5 3 4");
  const [commas, spaces] = ["w.txt", "same.txt"].map(
    (file) => JSON.parse(evaluate("--class-weights", file, "--json").stdout).sum,
  );
  expect(commas).toBe(spaces);
  write("w.txt", "1,,3,4");
  expect(evaluate("--class-weights", "w.txt").stderr).toBe(
    "xent: w.txt: a comma without a number on each side, after 1 number\n",
  );
});

describe("a row of logits", () => {
  test.each([
    [["1,2,3"], [1, 2, 3]],
    [["[1, 2, 3]"], [1, 2, 3]],
    [
      ["[1", "2", "3]"],
      [1, 2, 3],
    ],
    [
      ["[1.", "2.", "3.]"],
      [1, 2, 3],
    ],
    [
      ["1,", "2,", "3"],
      [1, 2, 3],
    ],
    [["[1 2\n 3]"], [1, 2, 3]],
    [["[[1 2 3]]"], [1, 2, 3]],
    [["1\n2\n3\n"], [1, 2, 3]],
    [["1,2, 3,4"], [1, 2, 3, 4]],
    [
      ["1,2,", "3,4"],
      [1, 2, 3, 4],
    ],
    // One row in several lines: by brackets, by a comma at the end of a line, by a shorter last line.
    [["[1 2\n 3 4]"], [1, 2, 3, 4]],
    [["1, 2,\n3, 4"], [1, 2, 3, 4]],
    [["1 2\n3"], [1, 2, 3]],
  ])("%j is read", (args, logits) => {
    expect(JSON.parse(run("explain", ...args, "--label", "0", "--json").stdout).logits).toEqual(logits);
  });

  test.each([
    [["[[1,2],[3,4]]"], "expected one row: numbers in one pair of brackets, or in none"],
    [["[1,2]", "[3,4]"], "expected one row: numbers in one pair of brackets, or in none"],
    [["[1,2"], "expected one row: numbers in one pair of brackets, or in none"],
    [["1,2]"], "expected one row: numbers in one pair of brackets, or in none"],
    [["1,,2"], "expected a number on both sides of each comma"],
    [["1,2,"], "expected a number on both sides of each comma"],
    [[",1,2"], "expected a number on both sides of each comma"],
    [["1,5", "2,5"], "expected one row: commas between all numbers or between none, got 1,5 2,5"],
    [["1,5,2 2,5"], "expected one row: commas between all numbers or between none, got 1,5,2 2,5"],
    [["1 2\n3 4\n"], "expected one row, got 2 lines of 2 numbers"],
    [["1,2,3\r\n4,5,6\r\n\r\n7,8,9"], "expected one row, got 3 lines of 3 numbers"],
    [["0x10", "1"], "0x10 is not a number"],
    [["[]"], "expected logits, got none"],
  ])("%j is refused", (args, message) => {
    expect(run("explain", ...args, "--label", "0")).toEqual({ status: 2, stdout: "", stderr: `xent: ${message}\n` });
  });

  test("has class weights that are read in the same way", () => {
    expect(run("explain", "1", "2", "--label", "0", "--class-weights", "1,,2").stderr).toBe(
      "xent: expected a number on both sides of each comma\n",
    );
  });
});
