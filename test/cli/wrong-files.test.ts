// Files that xent evaluate can not use: the error names the file and what is wrong with it.
import { execFileSync, spawnSync } from "node:child_process";
import {
  closeSync,
  existsSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { bytesOf, npy, npyHeader, safetensors, withHeader } from "../support/array-files.ts";
import { binary } from "../support/cli.ts";
import { arrayFolder, file, labels, ROWS, SHAPE, tensor, values, zip } from "../support/cli-arrays.ts";

const { folder, write, writeSpec, evaluate } = arrayFolder();

describe("the error", () => {
  const GOOD = ["--logits", "logits.npy", "--labels", "labels.npy"];
  const wrongLabels = (row: number, label: number): Int32Array => labels.with(row, label);
  const cut = zip({ "x.npy": file("float32") }, 6);
  const lzma = zip({ "x.npy": file("float32") }, 6);
  lzma[Buffer.from(lzma).indexOf("PK\x01\x02") + 10] = 14;
  const tensors = safetensors({ x: tensor("float32") });
  /** A file with these entries in its header, and 240 bytes of data. */
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
    // The ending states a type.
    ...[[], ["--dtype", "float32"]].map((dtype): [string, Buffer, string, string[]] => [
      "x.i32",
      bytesOf(values),
      "expected logits of type float16, bfloat16, float32, float64, found int32",
      ["--classes", "5", ...dtype],
    ]),
    ["x.f32", bytesOf(values), "expected float16, found float32", ["--classes", "5", "--dtype", "float16"]],
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
  ])("names the file and what is wrong: logits %s", (name, content, message, args = []) => {
    write(name, content);
    expect(evaluate("--labels", "labels.npy", "--logits", name, ...args)).toEqual({
      status: 1,
      stdout: "",
      stderr: `xent: ${name}: ${message}\n`,
    });
  });

  test("names the array of a zip whose bytes were damaged", () => {
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
  ])("names the tensor at bytes %d to %d, where byte 240 is next", (begin, end) => {
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
  ])("names the file and the type that is not supported: %s of %s", (spec, type, content) => {
    writeSpec(spec, content);
    expect(evaluate("--labels", "labels.npy", "--logits", spec).stderr).toBe(
      `xent: ${spec}: unsupported type ${type}\n`,
    );
  });

  test("names the tensor of a truncated safetensors file", () => {
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
    ["y.f32", bytesOf(values.subarray(0, ROWS)), "expected integers, found float32"],
    ["y.i32", bytesOf(labels), "expected int64, found int32", ["--labels-dtype", "int64"]],
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
  ])("names the file, the row and the value: labels %s", (name, content, message, args = []) => {
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
  ])("names the file of class weights: %s", (content, message) => {
    write("w.txt", content);
    expect(evaluate(...GOOD, "--class-weights", "w.txt").stderr).toBe(`xent: w.txt: ${message}\n`);
  });

  test("names a file whose ending states the type of no weights and of no mask", () => {
    write("w.i32", bytesOf(Int32Array.of(1, 1, 1, 1, 1)));
    expect(evaluate(...GOOD, "--class-weights", "w.i32").stderr).toBe(
      "xent: w.i32: expected weights of type float16, bfloat16, float32, float64, found int32\n",
    );
    write("m.f32", bytesOf(values.subarray(0, ROWS)));
    expect(evaluate(...GOOD, "--mask", "m.f32").stderr).toBe("xent: m.f32: expected integers or bool, found float32\n");
  });

  test("names the file of class weights that add up to 0", () => {
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
  ])("names a file that can not be opened: %s: %s", (path, message, args) => {
    if (path.startsWith("folder")) mkdirSync(join(folder, path), { recursive: true });
    expect(evaluate(...args)).toEqual({ status: 1, stdout: "", stderr: `xent: ${path}: ${message}\n` });
  });

  test("names a file whose rows do not fit into memory", () => {
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

  test.runIf(process.platform !== "win32")("names a pipe, which is not read", () => {
    for (const pipe of ["pipe.npy", "pipe.npz", "pipe.txt"]) {
      execFileSync("mkfifo", [join(folder, pipe)]);
      const option = pipe === "pipe.txt" ? "--labels" : "--logits";
      const { status, stderr } = evaluate(...GOOD, option, pipe);
      expect({ status, stderr }).toEqual({ status: 1, stderr: `xent: ${pipe}: is not a regular file\n` });
    }
  });

  test("names an input that --per-row would replace", () => {
    const before = readFileSync(join(folder, "logits.npy"));
    expect(evaluate(...GOOD, "--per-row", "./logits.npy")).toEqual({
      status: 2,
      stdout: "",
      stderr: "xent: --per-row: ./logits.npy: would overwrite an input file\n",
    });
    expect(readFileSync(join(folder, "logits.npy"))).toEqual(before);
  });

  test.runIf(existsSync("/dev/full"))("names standard output on a full disk", () => {
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
  ])("has status 2 if the command line is wrong: %j", (args, message) => {
    expect(evaluate(...args)).toEqual({ status: 2, stdout: "", stderr: `${message}\n` });
  });
});
