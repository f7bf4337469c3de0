// Shapes that do not match, and .npy files of other programs than NumPy.
import { describe, expect, test } from "vitest";
import { bytesOf, npy, safetensors } from "../support/array-files.ts";
import { cliFolder } from "../support/cli-folder.ts";

const { write, run, evaluate } = cliFolder("arrays");

const evaluated = (...args: string[]): { sum: number; mean: number; labels: { dtype: string } } => {
  const { status, stdout, stderr } = run("evaluate", "--threads", "1", ...args, "--json");
  expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
  return JSON.parse(stdout);
};

describe("labels", () => {
  const values = Float32Array.from({ length: 30 }, (_, i) => ((i * 7) % 11) - 4);
  const classes = Int32Array.of(0, 1, 2, 3, 4, 0);
  /** By the formula. */
  const mean =
    Array.from(classes, (label, row) => {
      const logits = [...values.subarray(5 * row, 5 * row + 5)];
      return Math.log(logits.reduce((sum, x) => sum + Math.exp(x), 0)) - (logits[label] as number);
    }).reduce((sum, loss) => sum + loss) / 6;

  test.each([[[6]], [[2, 3]], [[2, 3, 1]]])("of shape %j fit logits of shape [2, 3, 5]", (shape) => {
    write("x.npy", npy("float32", [2, 3, 5], values));
    write("y.npy", npy("int32", shape, classes));
    expect(evaluated("--logits", "x.npy", "--labels", "y.npy").mean).toBeCloseTo(mean, 6);
  });

  test.each([[[3, 2]], [[3, 2, 1]], [[1, 6]], [[6, 1]], [[2, 1, 3]], [[1, 2, 3]], [[2, 3, 1, 1]]])(
    "of shape %j do not fit them, and the error names both shapes",
    (shape) => {
      write("x.npy", npy("float32", [2, 3, 5], values));
      write("y.npy", npy("int32", shape, classes));
      write("y.safetensors", safetensors({ labels: { type: "int32", shape, data: classes } }));
      for (const [file, name] of [
        ["y.npy", "y.npy"],
        ["y.safetensors", "y.safetensors:labels"],
      ] as const) {
        expect(run("evaluate", "--logits", "x.npy", "--labels", file)).toEqual({
          status: 1,
          stdout: "",
          stderr: `xent: ${name}: labels of shape [${shape.join(", ")}] do not fit the logits of shape [2, 3, 5] of x.npy: expected [2, 3] or [6]\n`,
        });
      }
    },
  );

  test("of shape [6] and [6, 1] fit logits of shape [6, 5], those of [2, 3] do not", () => {
    write("x.npy", npy("float32", [6, 5], values));
    for (const shape of [[6], [6, 1]]) {
      write("y.npy", npy("int32", shape, classes));
      expect(evaluated("--logits", "x.npy", "--labels", "y.npy").mean).toBeCloseTo(mean, 6);
    }
    write("y.npy", npy("int32", [2, 3], classes));
    expect(evaluate("--logits", "x.npy", "--labels", "y.npy").stderr).toBe(
      "xent: y.npy: labels of shape [2, 3] do not fit the logits of shape [6, 5] of x.npy: expected [6]\n",
    );
  });

  test("class weights of another shape are refused", () => {
    write("w.npy", npy("float32", [2, 2], new Float32Array(4).fill(1)));
    expect(evaluate("--class-weights", "w.npy").stderr).toBe(
      "xent: w.npy: expected weights of shape [4], found [2, 2]\n",
    );
    write("w.npy", npy("float32", [1, 4], new Float32Array(4).fill(1)));
    expect(evaluate("--class-weights", "w.npy").status).toBe(0);
  });
});

/** A .npy with this text as its header. */
function npyOf(header: string, data: ArrayBufferView, version = 1): Buffer {
  const text = Buffer.from(header, "latin1");
  const length = Buffer.alloc(version === 1 ? 2 : 4);
  if (version === 1) length.writeUInt16LE(text.length);
  else length.writeUInt32LE(text.length);
  return Buffer.concat([Buffer.from([0x93, ...Buffer.from("NUMPY"), version, 0]), length, text, bytesOf(data)]);
}

/** With the bytes of each number the other way round. */
function swapped(data: ArrayBufferView & { readonly BYTES_PER_ELEMENT: number }): Buffer {
  const bytes = Buffer.from(bytesOf(data));
  for (let at = 0; at < bytes.length; at += data.BYTES_PER_ELEMENT) {
    bytes.subarray(at, at + data.BYTES_PER_ELEMENT).reverse();
  }
  return bytes;
}

describe("a .npy", () => {
  const labels = Int32Array.of(2, 0, 1);
  const long = BigInt64Array.of(2n, 0n, 1n);
  const right = (): number => {
    write("labels.txt", "2 0 1");
    return evaluated("--logits", "logits.npy", "--labels", "labels.txt").sum;
  };

  test.each<[string, Buffer]>([
    // npy-matlab's constructNPYheader, NPZ.jl's npzwrite: column-major, whatever the number of axes.
    ["npy-matlab", npyOf("{'descr': '<i4', 'fortran_order': True, 'shape': (3,1), }   \n", labels)],
    ["NPZ.jl", npyOf("{'descr': '<i8', 'fortran_order': True, 'shape': (3,), }      \n", long)],
    ["a row", npyOf("{'descr': '<i4', 'fortran_order': True, 'shape': (3, 1)}\n", labels)],
    ["double quotes", npyOf('{"descr": "<i4", "fortran_order": False, "shape": (3,)}\n', labels)],
    ["spaces", npyOf("  {  'descr'  :'<i4' ,'fortran_order':False,   'shape' : ( 3 , ) , }  \n", labels)],
    ["no spaces", npyOf("{'descr':'<i4','fortran_order':False,'shape':(3,)}", labels)],
    ["another order", npyOf("{'shape': (3,), 'descr': '<i4', 'fortran_order': False, }\n", labels)],
    ["Python 2", npyOf("{'descr': '<i8', 'fortran_order': False, 'shape': (3L, 1L), }\n", long)],
    ["a name of a type", npyOf("{'descr': 'int32', 'fortran_order': False, 'shape': (3,), }\n", labels)],
    ["a letter of a type", npyOf("{'descr': 'i', 'fortran_order': False, 'shape': (3,), }\n", labels)],
    ["a type of this machine", npyOf("{'descr': '=i4', 'fortran_order': False, 'shape': (3,), }\n", labels)],
    ["version 2", npyOf("{'descr': '<i4', 'fortran_order': False, 'shape': (3,), }\n", labels, 2)],
    ["version 3", npyOf("{'descr': '<i4', 'fortran_order': False, 'shape': (3,), }\n", labels, 3)],
    ["big endian", npyOf("{'descr': '>i4', 'fortran_order': False, 'shape': (3,), }\n", swapped(labels))],
    ["big endian, 64 bits", npyOf("{'descr': '>i8', 'fortran_order': False, 'shape': (3,), }\n", swapped(long))],
    [
      "big endian, 8 bits",
      npyOf("{'descr': '>u1', 'fortran_order': False, 'shape': (3,), }\n", Uint8Array.from(labels)),
    ],
  ])("as written by %s has the labels that were saved", (_, content) => {
    write("Y.NPY", content);
    expect(evaluated("--logits", "logits.npy", "--labels", "Y.NPY").sum).toBe(right());
  });

  test.each<[string, string, ArrayBufferView & { readonly BYTES_PER_ELEMENT: number }]>([
    ["float16", ">f2", Uint16Array.from({ length: 12 }, (_, i) => 0x3c00 + 40 * i)],
    ["float32", ">f4", Float32Array.from({ length: 12 }, (_, i) => Math.sqrt(i))],
    ["float64", ">f8", Float64Array.from({ length: 12 }, (_, i) => Math.sqrt(i))],
  ])("of big-endian %s has the logits that were saved, for any batch size", (type, descr, data) => {
    write("labels.txt", "2 0 1");
    write("little.npy", npy(type, [3, 4], data));
    write("big.npy", npyOf(`{'descr': '${descr}', 'fortran_order': False, 'shape': (3, 4), }\n`, swapped(data)));
    for (const batches of [[], ["--batch-rows", "1"]]) {
      const [big, little] = ["big.npy", "little.npy"].map(
        (file) => evaluated("--logits", file, "--labels", "labels.txt", ...batches).sum,
      );
      expect(big).toBe(little);
    }
  });

  test.each([
    ["{'descr': '<i4', 'fortran_order': True, 'shape': (2, 3), }", "in Fortran order"],
    ["{'descr': '|O', 'fortran_order': False, 'shape': (3,), }", "unsupported type |O"],
    ["{'descr': '<c8', 'fortran_order': False, 'shape': (3,), }", "unsupported type <c8"],
    ["{'descr': 'l', 'fortran_order': False, 'shape': (3,), }", "unsupported type l"],
    ["{'descr': '>V2', 'fortran_order': False, 'shape': (3,), }", "unsupported type >V2"],
    ["{'descr': 'toString', 'fortran_order': False, 'shape': (3,), }", "unsupported type toString"],
    ["{'descr': [('a', '<i4')], 'fortran_order': False, 'shape': (3,), }", "expected an array of plain numbers"],
    ["{'descr': '<i4', 'fortran_order': 'True', 'shape': (3,), }", "expected an array of plain numbers"],
    ["{'descr': '<i4', 'fortran_order': False, 'shape': (3), }", "expected an array of plain numbers"],
    ["{'descr': '<i4', 'fortran_order': False, 'shape': [3], }", "expected an array of plain numbers"],
    ["{'descr': '<i4', 'fortran_order': False, 'shape': (-3,), }", "expected an array of plain numbers"],
    ["{'descr': '<i4\", 'fortran_order': False, 'shape': (3,), }", "expected an array of plain numbers"],
    ["{'descr': '<i4', 'descr': '<i4', 'shape': (3,), }", "expected an array of plain numbers"],
  ])("of another kind is refused: %s", (header, message) => {
    write("y.npy", npyOf(header, labels));
    const { status, stderr } = evaluate("--labels", "y.npy");
    expect(status).toBe(1);
    expect(stderr).toContain(`xent: y.npy: ${message}`);
  });
});

test.each(["x.npy", "x.npz", "x.safetensors", "x.bin", "y.npy", "y.txt"])(
  "the error says that a file is a Git LFS pointer: %s",
  (name) => {
    write(name, `version https://git-lfs.github.com/spec/v1\noid sha256:${"0".repeat(64)}\nsize 12345\n`);
    const option = name.startsWith("x") ? "--logits" : "--labels";
    expect(evaluate(option, name, "--classes", "4")).toEqual({
      status: 1,
      stdout: "",
      stderr: `xent: ${name}: is a Git LFS pointer, not the file itself: fetch that with git lfs pull\n`,
    });
  },
);
