// xent evaluate and its files: every format has the same result, and what is wrong with a file is said.
import { execFileSync, spawnSync } from "node:child_process";
import {
  closeSync,
  existsSync,
  ftruncateSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { zipSync } from "fflate";
import { afterAll, describe, expect, test } from "vitest";
import { createXentSync, Totals } from "xent";
import { bytesOf, npy, npyHeader, safetensors, withHeader } from "../support/array-files.ts";
import { binary, type Ended, overriding, xentCommand, xentJson } from "../support/cli.ts";
import { exampleRows } from "../support/example.ts";
import { bfloat16Bits, float16Bits } from "../support/half.ts";

const ROWS = 12;
const CLASSES = 5;
const SHAPE = [ROWS, CLASSES];
const folder = mkdtempSync(join(tmpdir(), "xent-cli-"));
const { labels } = exampleRows(ROWS, CLASSES);
// Numbers that all types have.
const values = exampleRows(ROWS, CLASSES).logits.map((x) => Math.round(4 * x) / 4);
const LOGITS = {
  float32: values,
  float64: Float64Array.from(values),
  float16: Uint16Array.from(values, float16Bits),
  bfloat16: Uint16Array.from(values, bfloat16Bits),
};
type Float = keyof typeof LOGITS;

afterAll(() => rmSync(folder, { recursive: true, force: true }));

const write = (name: string, content: string | Uint8Array): void => writeFileSync(join(folder, name), content);

/** The name without the array in it. */
function writeSpec(spec: string, content: string | Uint8Array): void {
  write(spec.replace(/:.*$/, ""), content);
}

function sumOf(logits: Float): number {
  const batch = createXentSync().createBatch({ rows: ROWS, classes: CLASSES, logits });
  (batch.logits as Float64Array).set(LOGITS[logits] as Float64Array);
  batch.labels.set(labels);
  return new Totals().addRows(batch.run().loss, new Float32Array(ROWS).fill(1), 0).sum;
}

function evaluate(...args: string[]): Ended {
  return xentCommand(overriding(["evaluate", "--threads", "1", ...args]), { cwd: folder });
}

write("logits.npy", npy("float32", SHAPE, values));
write("labels.npy", npy("int32", [ROWS], labels));

const file = (type: Float, shape: readonly number[] = SHAPE): Buffer => npy(type, shape, LOGITS[type]);
const zip = (content: Record<string, Uint8Array>, level: 0 | 6): Uint8Array => zipSync(content, { level });
const tensor = (type: Float) => ({ type, shape: SHAPE, data: LOGITS[type] });
const other = { type: "int64", shape: [3], data: new BigInt64Array(3) };

describe("logits", () => {
  test.each<[spec: string, type: Float, content: Uint8Array, args?: string[]]>([
    ["a.npy", "float32", file("float32")],
    ["a.npy", "float64", file("float64")],
    ["a.npy", "float16", file("float16")],
    ["a.npy", "bfloat16", file("bfloat16")],
    ["bits.npy", "bfloat16", npy("uint16", SHAPE, LOGITS.bfloat16), ["--dtype", "bfloat16"]],
    ["bits.npy", "float16", npy("uint16", SHAPE, LOGITS.float16), ["--dtype", "float16"]],
    ["texts.npy", "float32", file("float32", [2, 3, 2, CLASSES])],
    ["stored.npz", "float32", zip({ "other.npy": npy("int64", [3], other.data), "logits.npy": file("float32") }, 0)],
    ["deflated.npz", "float32", zip({ "x.npy": file("float32") }, 6)],
    ["deflated.npz:b", "float16", zip({ "a.npy": file("float32"), "b.npy": file("float16") }, 6)],
    ["a.safetensors", "float32", safetensors({ other, logits: tensor("float32") })],
    ["a.safetensors:h", "float16", safetensors({ other, h: tensor("float16") })],
    ["a.safetensors", "bfloat16", safetensors({ only: tensor("bfloat16") })],
    ["a.safetensors", "float64", safetensors({ only: tensor("float64") })],
    ["a.bin", "float32", bytesOf(values), ["--classes", "5"]],
    ["a.raw", "float16", bytesOf(LOGITS.float16), ["--classes", "5", "--dtype", "float16"]],
    ["a.f32", "float32", bytesOf(values), ["--classes", "5"]],
  ])("in %s (%s) have the same losses, to the bit, in one batch and in many", (spec, type, content, args = []) => {
    writeSpec(spec, content);
    const command = ["evaluate", "--threads", "1", "--logits", spec, "--labels", "labels.npy", ...args];
    for (const batch of [[], ["--batch-rows", "5"]]) {
      const { sum, logits } = xentJson<{ sum: number; logits: { dtype: string } }>([...command, ...batch], {
        cwd: folder,
      });
      expect({ sum, dtype: logits.dtype }).toEqual({ sum: sumOf(type), dtype: type });
    }
  });

  test("of many classes may be deflated in many pieces", () => {
    const { logits, labels } = exampleRows(40, 30_000);
    write(
      "large.npz",
      zip({ "logits.npy": npy("float32", [40, 30_000], logits), "labels.npy": npy("int32", [40], labels) }, 6),
    );
    write("large.npy", npy("float32", [40, 30_000], logits));
    const sums = ["large.npz", "large.npy"].map(
      (name) =>
        xentJson<{ sum: number }>(["evaluate", "--logits", name, "--labels", "large.npz", "--batch-rows", "7"], {
          cwd: folder,
        }).sum,
    );
    expect(sums[0]).toBe(sums[1]);
  });
});

describe("labels", () => {
  const types = {
    int8: Int8Array,
    uint8: Uint8Array,
    int16: Int16Array,
    uint16: Uint16Array,
    int32: Int32Array,
    uint32: Uint32Array,
    int64: BigInt64Array,
    uint64: BigUint64Array,
  };
  const integers = Object.entries(types).map(([type, Type]): [string, string, Uint8Array] => {
    const isBig = type.endsWith("64");
    const data = isBig ? (Type as typeof BigInt64Array).from(labels, BigInt) : (Type as typeof Int32Array).from(labels);
    return ["b.npy", type, npy(type, [ROWS], data)];
  });
  const int32 = npy("int32", [ROWS, 1], labels);

  test.each<[spec: string, type: string, content: string | Uint8Array]>([
    ...integers,
    ["b.npz", "int32", zip({ "x.npy": file("float32"), "labels.npy": int32 }, 6)],
    [
      "b.safetensors:y",
      "int32",
      safetensors({ x: tensor("float32"), y: { type: "int32", shape: [ROWS], data: labels } }),
    ],
    ["b.bin", "int32", bytesOf(labels)],
    ["b.i32", "int32", bytesOf(labels)],
    ["b.txt", "text", labels.join("\n")],
    ["b.txt", "text", ` ${labels.join(" \t\r\n")}\n\n`],
  ])("in %s (%s) have the same losses, to the bit", (spec, type, content) => {
    writeSpec(spec, content);
    const command = ["evaluate", "--threads", "1", "--logits", "logits.npy", "--labels", spec, "--batch-rows", "5"];
    const { sum, labels } = xentJson<{ sum: number; labels: { dtype: string } }>(command, { cwd: folder });
    expect({ sum, dtype: labels.dtype }).toEqual({ sum: sumOf("float32"), dtype: type });
  });

  test("that are ignored may have any value of their type", () => {
    write(
      "far.npy",
      npy(
        "int64",
        [ROWS],
        BigInt64Array.from(labels, (label, i) => (i % 3 ? BigInt(label) : -(2n ** 40n))),
      ),
    );
    const args = ["--logits", "logits.npy", "--labels", "far.npy", "--ignore-index", `${-(2 ** 40)}`];
    expect(xentJson(["evaluate", ...args], { cwd: folder })).toMatchObject({ counted: 8, ignored: 4 });
  });
});

describe("logits that are not finite", () => {
  const bad = values.slice();
  bad[3 * CLASSES + 2] = Number.NaN;
  bad[7 * CLASSES + 1] = Infinity;
  bad[8 * CLASSES + (labels[8] as number)] = -Infinity;
  // A class that is masked is none of them.
  bad[9 * CLASSES + (((labels[9] as number) + 1) % CLASSES)] = -Infinity;
  const message = "xent: bad.npy: 3 rows have no finite loss; the first is row 3: NaN at class 2\n";

  test("are counted and the first is named, and are no error", () => {
    write("bad.npy", npy("float32", SHAPE, bad));
    const { status, stdout, stderr } = evaluate("--logits", "bad.npy", "--labels", "labels.npy", "--json");
    expect({ status, stderr }).toEqual({ status: 0, stderr: message });
    expect(JSON.parse(stdout)).toMatchObject({
      mean: "NaN",
      notFinite: { rows: 3, first: { row: 3, reason: "NaN at class 2" } },
    });
  });

  test.each<[row: number, class_: number, type: Float, reason: string]>([
    [3, 2, "float32", "NaN at class 2"],
    [7, 1, "float64", "Infinity at class 1"],
    [7, 1, "float16", "Infinity at class 1"],
    [3, 2, "bfloat16", "NaN at class 2"],
    [8, labels[8] as number, "bfloat16", `-Infinity at its label ${labels[8]}`],
  ])("are an error with --strict, in row %s, class %s of %s", (row, class_, type, reason) => {
    const logits = LOGITS[type].slice();
    const value = bad[row * CLASSES + class_] as number;
    const bits = type === "float16" ? float16Bits : bfloat16Bits;
    logits[row * CLASSES + class_] = type.endsWith("16") ? bits(value) : value;
    write("strict.npy", npy(type, SHAPE, logits));
    expect(evaluate("--logits", "strict.npy", "--labels", "labels.npy", "--strict", "--batch-rows", "2")).toEqual({
      status: 1,
      stdout: "",
      stderr: `xent: strict.npy: row ${row} has no finite loss: ${reason}\n`,
    });
  });
});

describe("a file that is not what it should be", () => {
  const GOOD = ["--logits", "logits.npy", "--labels", "labels.npy"];
  const wrongLabels = (row: number, label: number): Int32Array => labels.with(row, label);
  const cut = zip({ "x.npy": file("float32") }, 6);
  const lzma = zip({ "x.npy": file("float32") }, 6);
  lzma[Buffer.from(lzma).indexOf("PK\x01\x02") + 10] = 14;
  const tensors = safetensors({ x: tensor("float32") });
  /** With a header of these texts, and 240 bytes of data. */
  const safetensorsOf = (entries: Record<string, string>): Buffer => {
    const header = `{${Object.entries(entries).map(([name, entry]) => `"${name}":${entry}`)}}`;
    return withHeader(header, Buffer.alloc(240));
  };

  test.each<[name: string, content: string | Uint8Array, message: string, args?: string[]]>([
    ["x.npy", file("float32").subarray(0, 300), "truncated: [12, 5] float32 take 240 bytes, it has 172"],
    [
      "x.npy",
      Buffer.concat([file("float32"), Buffer.alloc(4)]),
      "too long: [12, 5] float32 take 240 bytes, it has 244",
    ],
    ["x.npy", npyHeader("float32", SHAPE).subarray(0, 50), "truncated: its header needs 118 bytes, but 40 are left"],
    ["x.npy", "not NumPy at all", "not a .npy file: it does not begin with \\x93NUMPY"],
    [
      "x.npy",
      npy("float32", SHAPE, values, true),
      "in Fortran order: save numpy.ascontiguousarray(a), or from Julia and MATLAB the array with its axes reversed",
    ],
    ["x.npy", npy("<c8", [6, 5], values), "unsupported type <c8"],
    ["x.npy", npy("int32", [ROWS], labels), "expected logits of type float16, bfloat16, float32, float64, found int32"],
    ["x.npy", npy("float32", [0, 5], new Float32Array()), "has no rows: its shape is [0, 5]"],
    ["x.npy", npy("float32", [5, 0], new Float32Array()), "expected logits of shape [rows, classes], found [5, 0]"],
    ["x.npy", file("float32").fill(4, 6, 7), "unsupported version 4 of .npy"],
    [
      "x.npy",
      Buffer.from(file("float32").toString("latin1").replace("(12, 5)", "(12 5) "), "latin1"),
      "expected an array of plain numbers, found {'descr': '<f4', 'fortran_order': False, 'shape': (12 5) , }",
    ],
    ["x.npy", file("float32"), "expected 7 classes, found 5: its shape is [12, 5]", ["--classes", "7"]],
    ["x.npy", file("float32"), "expected float16, found float32", ["--dtype", "float16"]],
    ["x.npy", file("float32"), "12 rows are not a whole number of sequences of 5", ["--sequence", "5"]],
    [
      "x.bin",
      bytesOf(values),
      "truncated: 240 bytes are not a whole number of rows of 7 float32 (28 bytes each)",
      ["--classes", "7"],
    ],
    [
      "x.npz",
      cut.subarray(0, 90),
      "End of central directory record signature not found. Either not a zip file, or file is truncated.",
    ],
    [
      "x.npz",
      zip({ "a.npy": file("float32"), "b.npy": file("float32") }, 6),
      'has no array "logits": choose one of a, b as x.npz:name',
    ],
    ["x.safetensors", Buffer.from([9, 0, 0, 0, 0, 0, 0, 0, 1]), "truncated: its header needs 9 bytes, but 1 are left"],
    ["x.npz", lzma, "unsupported compression method: 14"],
    ["x.npz", zip({}, 6), "has no arrays"],
    [
      "x.safetensors",
      Buffer.from("\0\0\0\0\0\0\0\x40{}", "latin1"),
      "not a .safetensors file: a header of 4611686018427387904 bytes",
    ],
    [
      "x.safetensors",
      Buffer.concat([tensors, Buffer.alloc(3)]),
      `too long: its tensors end at byte ${tensors.length}, the file at ${tensors.length + 3}`,
    ],
    ...[
      '"shape":"ab"',
      '"shape":[-6,-10]',
      '"shape":[1.5,40]',
      '"data_offsets":["0","240"]',
      '"data_offsets":[-240,0]',
    ].map((wrong): [string, Buffer, string] => [
      "x.safetensors",
      safetensorsOf({ logits: `{"dtype":"F32","shape":[12,5],"data_offsets":[0,240],${wrong}}` }),
      "not a .safetensors file: invalid header",
    ]),
    [
      "x.safetensors",
      Buffer.from('\x10\0\0\0\0\0\0\0{"a":{"shape":1}}', "latin1"),
      "not a .safetensors file: invalid header",
    ],
    ["x.safetensors", Buffer.from("\x02\0\0\0\0\0\0\0{]", "latin1"), "not a .safetensors file: invalid header"],
  ])("is named, with what is wrong: logits %s", (name, content, message, args = []) => {
    write(name, content);
    expect(evaluate("--labels", "labels.npy", "--logits", name, ...args)).toEqual({
      status: 1,
      stdout: "",
      stderr: `xent: ${name}: ${message}\n`,
    });
  });

  test("is named with its array: bytes in a zip that are not those that were saved", () => {
    const damaged = zip({ "x.npy": file("float32") }, 0);
    const place = Buffer.from(damaged).indexOf(bytesOf(values));
    damaged[place] = (damaged[place] as number) ^ 1;
    write("damaged.npz", damaged);
    expect(evaluate("--labels", "labels.npy", "--logits", "damaged.npz")).toEqual({
      status: 1,
      stdout: "",
      stderr: "xent: damaged.npz:x: damaged: CRC-32 mismatch\n",
    });
  });

  test.each<[begin: number, end: number]>([
    [10, 250],
    [0, 240],
    [244, 484],
    [240, 0],
  ])("is named with its array: a tensor at bytes %d to %d, where byte 240 is next", (begin, end) => {
    const entry = (from: number, to: number): string => `{"dtype":"F32","shape":[12,5],"data_offsets":[${from},${to}]}`;
    write("overlap.safetensors", safetensorsOf({ logits: entry(0, 240), other: entry(begin, end) }));
    const { status, stderr } = evaluate("--labels", "labels.npy", "--logits", "overlap.safetensors");
    expect(status).toBe(1);
    expect(stderr).toMatch(
      /^xent: overlap\.safetensors:\w+: at bytes \d+ to \d+ of the data: expected it at byte \d+\n$/,
    );
  });

  test.each<[name: string, type: string, content: string | Uint8Array]>([
    ["x.safetensors:t", "F8_E4M3", safetensors({ t: { type: "F8_E4M3", shape: [240], data: values } })],
  ])("is named, with what is wrong: %s of %s", (spec, type, content) => {
    writeSpec(spec, content);
    expect(evaluate("--labels", "labels.npy", "--logits", spec).stderr).toBe(
      `xent: ${spec}: unsupported type ${type}\n`,
    );
  });

  test("may be cut within its array: safetensors", () => {
    const whole = safetensors({ logits: tensor("float32") });
    write("cut.safetensors", whole.subarray(0, -1));
    expect(evaluate("--labels", "labels.npy", "--logits", "cut.safetensors").stderr).toBe(
      `xent: cut.safetensors:logits: truncated: it ends at byte ${whole.length}, the file at ${whole.length - 1}\n`,
    );
  });

  test.each<[name: string, content: string | Uint8Array, message: string, args?: string[]]>([
    ["y.npy", npy("int32", [ROWS], wrongLabels(7, 5)), "row 7 has label 5, which is outside of the range [0, 5)"],
    ["y.npy", npy("int32", [ROWS], wrongLabels(0, -1)), "row 0 has label -1, which is outside of the range [0, 5)"],
    [
      "y.npy",
      npy(
        "int64",
        [ROWS],
        BigInt64Array.from(labels, (label, i) => (i === 11 ? -(2n ** 63n) : BigInt(label))),
      ),
      "row 11 has label -9223372036854775808, which is outside of the range [0, 5)",
    ],
    [
      "y.npy",
      npy("int32", [ROWS], wrongLabels(7, 9)),
      "row 5 has, shifted by 2, label 9, which is outside of the range [0, 5)",
      ["--shift", "2"],
    ],
    ["y.npy", npy("int32", [11], labels.subarray(1)), "11 labels do not fit the 12 rows of logits.npy"],
    ["y.npy", npy("float32", [ROWS], values.subarray(0, ROWS)), "expected integers, found float32"],
    ["y.txt", "0 1 2 3 4 0 1\n", "7 labels do not fit the 12 rows of logits.npy"],
    ["y.txt", `${labels.join(" ")} 0`, "more than 12 labels do not fit the 12 rows of logits.npy"],
    ["y.txt", "0 1\n2 3.5 1", 'row 3 has "3.5", which is not an integer'],
    ["y.txt", "0 1 2\0 3", 'row 2 has "2\\u0000", which is not an integer'],
    ["y.txt", "x".repeat(1e6), 'row 0 has "xxxxxxxxxxxxxxxxxxxxxxxxxxxxx…", which is not an integer'],
    [
      "y.txt",
      `0 ${"9".repeat(400)}`,
      "row 1 has label 99999999999999999999999999999…, which is outside of the range [0, 5)",
    ],
    [
      "y.npy",
      npy("uint64", [ROWS], new BigUint64Array(ROWS).fill(2n ** 64n - 1n, 3)),
      "row 3 has label 18446744073709551615, which is outside of the range [0, 5)",
    ],
    ["y.npy", npy("int32", [1], labels.subarray(0, 1)), "1 label does not fit the 12 rows of logits.npy"],
    ["y.txt", "3 ".repeat(ROWS), "all 12 rows are ignored: there is nothing to average", ["--ignore-index", "3"]],
    ["y.bin", Buffer.alloc(13), "truncated: 13 bytes are not a whole number of int32 (4 bytes each)"],
  ])("is named, with row and value: labels %s", (name, content, message, args = []) => {
    write(name, content);
    const per = ["--per-row", "left.csv", "--batch-rows", "4"];
    expect(evaluate("--logits", "logits.npy", "--labels", name, ...per, ...args)).toEqual({
      status: 1,
      stdout: "",
      stderr: `xent: ${name}: ${message}\n`,
    });
    expect(readdirSync(folder).filter((entry) => entry.startsWith("left"))).toEqual([]);
  });

  test.each<[content: string, message: string]>([
    ["1 2 3", "expected one weight for each of 5 classes, found 3"],
    ["1 2 3 x 5", "the weight of class 3 is NaN"],
  ])("is named: class weights %s", (content, message) => {
    write("w.txt", content);
    expect(evaluate(...GOOD, "--class-weights", "w.txt").stderr).toBe(`xent: w.txt: ${message}\n`);
  });

  test("is named: class weights that leave nothing to average", () => {
    write("w.txt", "0 0 0 0 0");
    expect(evaluate(...GOOD, "--class-weights", "w.txt")).toEqual({
      status: 1,
      stdout: "",
      stderr: "xent: w.txt: the weights of all labels add up to 0: there is no mean\n",
    });
  });

  test.each<[path: string, message: string, args: string[]]>([
    ...["none.npy", "none.npz", "none.safetensors", "none.bin"].map((path): [string, string, string[]] => [
      path,
      "no such file or directory",
      [...GOOD, "--classes", "5", "--logits", path],
    ]),
    ["none.txt", "no such file or directory", [...GOOD, "--labels", "none.txt"]],
    ["none.txt", "no such file or directory", [...GOOD, "--class-weights", "none.txt"]],
    ["none/out.npy", "no such file or directory", [...GOOD, "--per-row", "none/out.npy"]],
    ["logits.npy/x.npy", "not a directory", [...GOOD, "--logits", "logits.npy/x.npy"]],
    ...["folder.npy", "folder.npz", "folder.safetensors", "folder.bin"].map((path): [string, string, string[]] => [
      path,
      "is a directory",
      [...GOOD, "--classes", "5", "--logits", path],
    ]),
    ["folder.txt", "is a directory", [...GOOD, "--labels", "folder.txt"]],
    ["folder.npy", "is a directory", [...GOOD, "--per-row", "folder.npy"]],
  ])("is named where it cannot be opened: %s: %s", (path, message, args) => {
    if (path.startsWith("folder")) mkdirSync(join(folder, path), { recursive: true });
    expect(evaluate(...args)).toEqual({ status: 1, stdout: "", stderr: `xent: ${path}: ${message}\n` });
  });

  test("is named where its rows do not fit into memory", () => {
    const place = openSync(join(folder, "wide.npy"), "w");
    const header = npyHeader("float32", [1, 2 ** 30]);
    writeSync(place, header);
    ftruncateSync(place, header.length + 2 ** 32);
    closeSync(place);
    write("one.txt", "0");
    const { status, stderr } = evaluate("--logits", "wide.npy", "--labels", "one.txt");
    expect(status).toBe(1);
    expect(stderr).toMatch(/^xent: wide\.npy: one row of 1073741824 float32 do not fit into memory: .*\n$/);
  });

  test.runIf(process.platform !== "win32")("is named where it is a pipe, which may never have anything", () => {
    for (const pipe of ["pipe.npy", "pipe.npz", "pipe.txt"]) {
      execFileSync("mkfifo", [join(folder, pipe)]);
      const option = pipe === "pipe.txt" ? "--labels" : "--logits";
      const { status, stderr } = evaluate(...GOOD, option, pipe);
      expect({ status, stderr }).toEqual({ status: 1, stderr: `xent: ${pipe}: is not a regular file\n` });
    }
  });

  test("is not overwritten by the losses of its rows", () => {
    const before = readFileSync(join(folder, "logits.npy"));
    expect(evaluate(...GOOD, "--per-row", "./logits.npy")).toEqual({
      status: 2,
      stdout: "",
      stderr: "xent: --per-row: ./logits.npy: would overwrite an input file\n",
    });
    expect(readFileSync(join(folder, "logits.npy"))).toEqual(before);
  });

  test.runIf(existsSync("/dev/full"))("may be standard output, on a disk that is full", () => {
    const full = openSync("/dev/full", "w");
    const { status, stderr } = spawnSync(process.execPath, [binary, "evaluate", ...GOOD], {
      cwd: folder,
      stdio: ["ignore", full, "pipe"],
      encoding: "utf8",
    });
    closeSync(full);
    expect({ status, stderr }).toEqual({
      status: 1,
      stderr: "xent: standard output: ENOSPC: no space left on device, write\n",
    });
  });

  test.each<[args: string[], message: string]>([
    [["--logits", "logits.npy"], "xent: required option '--labels <file>' not specified"],
    [[...GOOD, "--thread", "2"], "xent: unknown option '--thread'\n(Did you mean --threads?)"],
    [
      [...GOOD, "--threads", "0"],
      `xent: option '--threads <n>' argument '0' is invalid. Expected an integer from 1 to 255, or "auto".`,
    ],
    [[...GOOD, "--per-row", "out.txt"], "xent: --per-row: out.txt: expected a name that ends in .npy or .csv"],
    [
      ["--logits", "logits.pt", "--labels", "labels.npy"],
      "xent: logits.pt: unknown file type: expected .npy, .npz, .safetensors, .bin or .raw",
    ],
    [["--logits", "a.bin", "--labels", "labels.npy"], "xent: a.bin: has no shape: give --classes"],
  ])("is not the same as a command that is wrong, which is status 2: %j", (args, message) => {
    expect(evaluate(...args)).toEqual({ status: 2, stdout: "", stderr: `${message}\n` });
  });
});
