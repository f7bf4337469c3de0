// "-" stands for standard input, which is read from a copy: users see neither its path nor its name.
import { readFileSync } from "node:fs";
import { zipSync } from "fflate";
import { describe, expect, test } from "vitest";
import { npy } from "../support/array-files.ts";
import { xentCommand, xentProcess } from "../support/cli.ts";
import { cliFolder, logits } from "../support/cli-folder.ts";

const { folder, path, write, evaluate } = cliFolder("standard-input");
const piped = (input: string | Uint8Array, ...args: string[]) => xentCommand(args, { cwd: folder, input });
/** Logits of one row that are probabilities, which a notice reports. */
const halves = npy("float32", [1, 2], Float32Array.of(0.5, 0.5));
const LABELS = npy("int64", [3], BigInt64Array.of(0n, 1n, 2n));
const WITH_LABELS = ["evaluate", "--logits", "logits.npy", "--labels", "-"];
const WITH_LOGITS = ["evaluate", "--logits", "-", "--labels", "labels.txt"];
/** Two arrays of logits, of which b is the right one. */
const LOGITS = zipSync({ "a.npy": halves, "b.npy": logits });
const utf16 = (text: string): Buffer => Buffer.from(`\ufeff${text}`, "utf16le");

function npz(...names: string[]): Uint8Array {
  return zipSync(Object.fromEntries(names.map((name) => [`${name}.npy`, LABELS])));
}

describe("standard input", () => {
  test.each([
    ["labels as text", WITH_LABELS, "0 1 2"],
    ["labels in a .npy", WITH_LABELS, LABELS],
    ["labels in an .npz", WITH_LABELS, npz("labels", "others")],
    ["the array of an .npz that is named", [...WITH_LABELS.slice(0, -1), "-:b"], npz("a", "b")],
    ["labels as UTF-16", WITH_LABELS, utf16("0 1 2")],
    ["labels as UTF-16, big endian", WITH_LABELS, utf16("0\r\n1\r\n2\r\n").swap16()],
    ["logits", WITH_LOGITS, logits],
    ["logits that no option names", ["evaluate", "-", "--labels", "labels.txt"], logits],
    ["an array of logits that no option names", ["evaluate", "-:b", "--labels", "labels.txt"], LOGITS],
    ["an array in a list", ["evaluate", "--logits", "-:b", "--labels", "labels.txt"], LOGITS],
  ])("may be %s", (_, args, input) => {
    const { mean } = JSON.parse(evaluate("--json").stdout);
    expect(JSON.parse(piped(input, ...args, "--json").stdout)).toMatchObject({ mean });
  });

  test("can be only one file", () => {
    for (const labels of ["-", "-:b"]) {
      const { status, stderr } = piped("", "evaluate", "--logits", "-", "--labels", labels);
      expect({ status, stderr }).toEqual({ status: 2, stderr: "xent: -: only one file can be standard input\n" });
    }
  });

  test("may have an array for each list of a comparison, but not for both", () => {
    const labels = ["--labels", "labels.txt", "--json"];
    for (const files of [
      ["logits.npy", "-:b"],
      ["--base", "logits.npy", "--other", "-:b"],
    ]) {
      const { stdout } = piped(LOGITS, "compare", ...files, ...labels);
      expect(JSON.parse(stdout)).toMatchObject({ other: { name: "standard input:b" }, divergence: { mean: 0 } });
    }
  });

  test("may be raw labels that begin like UTF-16", () => {
    write("labels.txt", "0 1 65279");
    const raw = Buffer.from(Int32Array.of(65279, 48, 49).buffer);
    const { stderr } = piped(raw, ...WITH_LABELS);
    expect(stderr).toBe("xent: standard input: row 0 has label 65279, which is outside of the range [0, 4)\n");
  });

  test("is not for the workers of a queue", () => {
    for (const labels of ["-", "-:b"]) {
      const { status, stderr } = piped("", ...WITH_LABELS.slice(0, -1), labels, "--queue", "redis://127.0.0.1:1");
      expect({ status, stderr }).toEqual({
        status: 2,
        stderr: "xent: -: workers of --queue cannot read standard input\n",
      });
    }
  });

  test.each([
    ["0 1 9", "row 2 has label 9, which is outside of the range [0, 4)"],
    ["0 1", "2 labels do not fit the 3 rows of logits.npy"],
    ["0,,1", "a comma without a number on each side, after 1 number"],
    ["1.5", 'row 0 has "1.5", which is not an integer'],
    ["?", "truncated: 1 bytes are not a whole number of int32 (4 bytes each)"],
    [logits, "expected integers, found float32"],
    [logits.subarray(0, 6), "truncated: its header needs 8 bytes, but 6 are left"],
    ["PK", "End of central directory record signature not found. Either not a zip file, or file is truncated."],
    ["\x01\0\0\0\0\0\0\0{?", "not a .safetensors file: invalid header"],
    [npz("a", "b"), 'has no array "labels": choose one of a, b as -:name'],
  ])("has its name in errors: %j", (input, message) => {
    const { status, stderr } = piped(input, ...WITH_LABELS);
    expect({ status, stderr }).toEqual({ status: 1, stderr: `xent: standard input: ${message}\n` });
  });

  test("has its name in errors of other files", () => {
    write("labels.txt", "0 1");
    const { stderr } = piped(logits, ...WITH_LOGITS);
    expect(stderr).toBe("xent: labels.txt: 2 labels do not fit the 3 rows of standard input\n");
  });

  test("names the folder if it cannot be copied", () => {
    const { status, stderr } = xentProcess(WITH_LABELS, { cwd: folder, env: { TMPDIR: path("none") } });
    expect({ status, stderr }).toEqual({
      status: 1,
      stderr: `xent: standard input: cannot be copied to ${path("none")}: no such file or directory\n`,
    });
  });

  test("has its name in results, notices and reports", () => {
    write("labels.txt", "0");
    const { stdout, stderr } = piped(halves, ...WITH_LOGITS, "--html", "input.html", "--json");
    expect(JSON.parse(stdout)).toMatchObject({
      logits: { name: "standard input" },
      files: [{ name: "standard input" }],
      notices: [{ file: "standard input" }],
    });
    expect(stderr).toMatch(/^xent: standard input: .*\n$/);
    expect(readFileSync(path("input.html"), "utf8")).toContain("xent: standard input<");
    expect(JSON.parse(piped(npz("labels"), ...WITH_LABELS, "--json").stdout)).toMatchObject({
      labels: { name: "standard input" },
    });
  });

  test("has its name in each row of several files", () => {
    write("labels.txt", "0");
    write("standard input.txt", "0");
    write("halves.npy", halves);
    write("halves.txt", "0");
    const files = ["evaluate", "-", "halves.npy", "--labels", "{path}.txt"];
    const { stderr } = piped(halves, ...files, "--per-row", "rows.csv");
    expect(stderr).toContain("xent: standard input: ");
    expect(readFileSync(path("rows.csv"), "utf8")).toMatch(/^file,.*\nstandard input,.*\nhalves\.npy,.*\n$/);
  });

  test("has its name in a comparison", () => {
    write("other.npy", logits);
    const { stdout } = piped(logits, "compare", "-", "other.npy", "--labels", "labels.txt", "--json");
    expect(JSON.parse(stdout)).toMatchObject({ base: { name: "standard input" }, other: { name: "other.npy" } });
    const lists = ["--base", "logits.npy", "--other", "-", "--labels", "labels.txt", "--json"];
    expect(JSON.parse(piped(logits, "compare", ...lists).stdout)).toMatchObject({ other: { name: "standard input" } });
  });
});
