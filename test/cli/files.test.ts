import { describe, expect, test } from "vitest";
import { createXentSync, Totals } from "xent";
import { bytesOf, npy, safetensors } from "../support/array-files.ts";
import { xentJson } from "../support/cli.ts";
import {
  arrayFolder,
  CLASSES,
  type Float,
  file,
  LOGITS,
  labels,
  ROWS,
  SHAPE,
  tensor,
  values,
  zip,
} from "../support/cli-arrays.ts";
import { exampleRows } from "../support/example.ts";
import { bfloat16Bits, float16Bits } from "../support/half.ts";

const { folder, write, writeSpec, evaluate } = arrayFolder();

function sumOf(logits: Float): number {
  const batch = createXentSync().createBatch({ rows: ROWS, classes: CLASSES, logits });
  (batch.logits as Float64Array).set(LOGITS[logits] as Float64Array);
  batch.labels.set(labels);
  return new Totals().addRows(batch.run().loss, new Float32Array(ROWS).fill(1), 0).sum;
}

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
  ])("in %s (%s) give the same losses, to the bit, in one batch and in many", (spec, type, content, args = []) => {
    writeSpec(spec, content);
    const command = ["evaluate", "--threads", "1", "--logits", spec, "--labels", "labels.npy", ...args];
    for (const batch of [[], ["--batch-rows", "5"]]) {
      const { sum, logits } = xentJson<{ sum: number; logits: { dtype: string } }>([...command, ...batch], {
        cwd: folder,
      });
      expect({ sum, dtype: logits.dtype }).toEqual({ sum: sumOf(type), dtype: type });
    }
  });

  test("of many classes may be compressed in many pieces", () => {
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
  ])("in %s (%s) give the same losses, to the bit", (spec, type, content) => {
    writeSpec(spec, content);
    const command = ["evaluate", "--threads", "1", "--logits", "logits.npy", "--labels", spec, "--batch-rows", "5"];
    const { sum, labels } = xentJson<{ sum: number; labels: { dtype: string } }>(command, { cwd: folder });
    expect({ sum, dtype: labels.dtype }).toEqual({ sum: sumOf("float32"), dtype: type });
  });

  test("may have any value of their type if they are ignored", () => {
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
  // A masked class is not among them.
  bad[9 * CLASSES + (((labels[9] as number) + 1) % CLASSES)] = -Infinity;
  const message = "xent: bad.npy: 3 rows have no finite loss; the first is row 3: NaN at class 2\n";

  test("are counted, the first is named, and the status is 0", () => {
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
