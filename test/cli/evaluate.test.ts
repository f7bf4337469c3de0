// xent evaluate: whole files, batches and options.
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import {
  closeSync,
  ftruncateSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  watch,
  writeFileSync,
  writeSync,
} from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createXentSync, type LossOptions, type LossResult } from "xent";
import { npy, npyHeader } from "../support/array-files.ts";
import { binary, overriding, xentCommand, xentJson } from "../support/cli.ts";
import { exampleRows } from "../support/example.ts";
import { bfloat16Bits, float16Bits } from "../support/half.ts";

interface Evaluation {
  rows: number;
  ignored: number;
  counted: number;
  sum: number;
  normalizer: number;
  mean: number;
  perplexity: number;
  bitsPerToken: number;
  correct: number;
  accuracy: number;
  notFinite: { rows: number; first?: { row: number; reason: string } };
  seconds?: number;
  threads?: number;
}

const ROWS = 60;
const CLASSES = 37;
const FILES = ["--logits", "logits.npy", "--labels", "labels.npy"];
const folder = mkdtempSync(join(tmpdir(), "xent-cli-"));
const { logits, labels } = exampleRows(ROWS, CLASSES);

const write = (name: string, content: string | Buffer): void => writeFileSync(join(folder, name), content);
const evaluated = (...args: string[]): Evaluation =>
  xentJson(overriding(["evaluate", "--threads", "1", ...FILES, ...args]), { cwd: folder });

/** The result of the library for the same rows. */
function expected(options: LossOptions, spec: { shift?: number; sequence?: number } = {}): LossResult {
  const batch = createXentSync().createBatch({ rows: ROWS, classes: CLASSES, ...spec });
  batch.logits.set(logits);
  batch.labels.set(labels);
  return batch.run({ predictions: true, ...options });
}

/** The command adds losses that are rounded to f32; the sum of so few is exact in f64. */
const sumOf = ({ loss }: LossResult): number => loss.reduce((total, value) => total + value, 0);

beforeAll(() => {
  write("logits.npy", npy("float32", [ROWS, CLASSES], logits));
  write("labels.npy", npy("int32", [ROWS], labels));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe("the logits of a language model", () => {
  const data = fileURLToPath(new URL("../../packages/examples/data/smollm2-brown-16", import.meta.url));
  const exact = JSON.parse(readFileSync(`${data}.expected.json`, "utf8"));
  const args = ["evaluate", "--logits", `${data}.logits.npy`, "--labels", `${data}.labels.npy`];

  test("have the expected mean, perplexity, bits and accuracy", () => {
    const evaluation = xentJson<Evaluation>(args);
    expect(Math.abs(evaluation.mean / exact.mean - 1)).toBeLessThan(1e-7);
    expect(Math.abs(evaluation.perplexity / exact.perplexity - 1)).toBeLessThan(1e-6);
    expect(evaluation.bitsPerToken).toBe(evaluation.mean / Math.LN2);
    const { rows, counted, ignored, correct, accuracy, notFinite } = evaluation;
    expect({ rows, counted, ignored, correct, accuracy, notFinite }).toEqual({
      rows: 16,
      counted: 16,
      ignored: 0,
      correct: exact.correct,
      accuracy: exact.correct / 16,
      notFinite: { rows: 0 },
    });
  });

  test("are printed as text without --json, and without a progress bar if there is no terminal", () => {
    const { stdout, stderr } = xentCommand(args);
    expect(stderr).toBe("");
    expect(stdout).toMatch(/^[\n -~±]+$/);
    expect(stdout).toMatch(/^mean loss +3\.03869\d+ nat ± 0\.723$/m);
    expect(stdout).toMatch(/^accuracy +37\.50 %, 6 right$/m);
  });
});

describe("batches", () => {
  const results = (...args: string[]): object => {
    const { seconds, threads, ...others } = evaluated(...args);
    return others;
  };

  test.each(["1", "7", "59", "1000"])("of %s rows have the result of one batch, to the bit", (rows) => {
    expect(results("--batch-rows", rows)).toEqual(results());
  });

  test("give the same result with several threads", () => {
    expect(results("--batch-rows", "8", "--threads", "2")).toEqual(results());
    expect(results("--threads", "3")).toEqual(results());
  });

  test("use all threads from 16 MiB of logits on, and one thread below", () => {
    expect(evaluated("--threads", "auto").threads).toBe(1);
    const rows = 2 ** 12;
    write("many.bin", Buffer.alloc(2 ** 24));
    write("many.txt", "0\n".repeat(rows));
    const args = ["evaluate", "--logits", "many.bin", "--classes", `${2 ** 22 / rows}`, "--labels", "many.txt"];
    const { threads, mean } = xentJson<{ threads: number; mean: number }>(args, { cwd: folder });
    expect([threads, mean]).toEqual([availableParallelism(), expect.closeTo(Math.log(1024), 6)]);
  });

  test.each([
    ["1", 0],
    ["2", 2],
    ["3", 3],
  ])("use as many workers as --threads %s, and the main thread reads", (threads, workers) => {
    const counting = `
      import threads from "node:worker_threads";
      let workers = 0;
      threads.Worker = class extends threads.Worker { constructor(...args) { super(...args); workers++; } };
      process.on("exit", () => console.error(workers));`;
    const preload = `data:text/javascript,${encodeURIComponent(counting)}`;
    const args = ["--import", preload, binary, "evaluate", ...FILES, "--threads", threads, "--json"];
    const { stdout, stderr } = spawnSync(process.execPath, args, { cwd: folder, encoding: "utf8" });
    expect({ workers: Number(stderr), threads: JSON.parse(stdout).threads }).toEqual({
      workers,
      threads: Number(threads),
    });
  });
});

describe("options", () => {
  test.each<[name: string, args: string[], options: LossOptions]>([
    ["none", [], {}],
    ["label smoothing", ["--label-smoothing", "0.1"], { labelSmoothing: 0.1 }],
    ["a z term", ["--z-loss", "0.01"], { zLoss: 0.01 }],
    ["a cap and a temperature", ["--softcap", "5", "--temperature", "1.5"], { softcap: 5, temperature: 1.5 }],
    ["an ignored label", ["--ignore-index", `${labels[3]}`], { ignoreIndex: labels[3] as number }],
  ])("give the result of the library: %s", (_, args, options) => {
    const result = expected(options);
    const { normalizer, correct } = result;
    const sum = sumOf(result);
    expect(evaluated("--batch-rows", "16", ...args)).toMatchObject({
      sum,
      normalizer,
      mean: sum / normalizer,
      counted: normalizer,
      ignored: ROWS - normalizer,
      correct,
    });
  });

  test.each(["weights.npy", "float16.npy", "bfloat16.npy", "weights.txt", "weights.f32"])(
    "read class weights from %s",
    (file) => {
      const weights = Float32Array.from({ length: CLASSES }, (_, j) => 0.25 + (j % 5) / 4);
      if (file === "float16.npy") write(file, npy("float16", [CLASSES], Uint16Array.from(weights, float16Bits)));
      else if (file === "bfloat16.npy")
        write(file, npy("bfloat16", [CLASSES], Uint16Array.from(weights, bfloat16Bits)));
      else if (file.endsWith(".npy")) write(file, npy("float32", [CLASSES], weights));
      else write(file, file.endsWith(".txt") ? weights.join("\n") : Buffer.from(weights.buffer));
      const result = expected({ classWeights: weights });
      const { normalizer } = result;
      const evaluation = evaluated("--class-weights", file, "--batch-rows", "9");
      expect(evaluation.normalizer).toBe(normalizer);
      expect(evaluation.mean).toBe(sumOf(result) / normalizer);
    },
  );

  test("shift labels within the last axis but one, or within sequences that are given", () => {
    write("texts.npy", npy("float32", [4, ROWS / 4, CLASSES], logits));
    for (const args of [
      ["--logits", "texts.npy", "--shift", "2"],
      ["--shift", "2", "--sequence", "15"],
    ]) {
      const result = expected({}, { shift: 2, sequence: 15 });
      const evaluation = evaluated(...args, "--batch-rows", "7");
      expect(evaluation.counted).toBe(result.normalizer);
      expect(evaluation.sum).toBe(sumOf(result));
    }
  });

  test("choose the build of the kernel", () => {
    expect(evaluated("--variant", "simd128")).toMatchObject({ variant: "simd128" });
  });
});

describe("--per-row", () => {
  test("writes the losses as .npy, which are those of the library to the bit", () => {
    const { loss } = expected({});
    evaluated("--per-row", "out.npy", "--batch-rows", "11");
    const written = readFileSync(join(folder, "out.npy"));
    // The header is that of NumPy, except for one blank.
    expect(written.subarray(128)).toEqual(Buffer.from(loss.buffer, loss.byteOffset, loss.byteLength));
    expect(written.toString("latin1", 0, 128)).toContain(`'descr': '<f4', 'fortran_order': False, 'shape': (${ROWS},)`);
  });

  test("writes label, loss and prediction as .csv, and no loss for rows that are ignored", () => {
    const ignoreIndex = labels[3] as number;
    const { loss, predictions = [] } = expected({ ignoreIndex });
    evaluated("--per-row", "out.csv", "--batch-rows", "11", "--ignore-index", `${ignoreIndex}`);
    const lines = Array.from(loss, (value, row) => {
      const result = labels[row] === ignoreIndex ? "," : `${labels[row]},${value}`;
      return `${row},${result},${predictions[row]}\n`;
    });
    expect(readFileSync(join(folder, "out.csv"), "utf8")).toBe(`row,label,loss,prediction\n${lines.join("")}`);
  });
});

describe("Ctrl-C", () => {
  test.runIf(process.platform !== "win32")("ends cleanly: status 130, and no file is left behind", async () => {
    const place = mkdtempSync(join(folder, "interrupted-"));
    // 4 GB of zeros, of which the disk keeps none.
    for (const [name, header, bytes] of [
      ["logits.npy", npyHeader("float32", [1_000_000, 1000]), 4e9],
      ["labels.bin", Buffer.alloc(0), 4e6],
    ] as const) {
      const file = openSync(join(place, name), "w");
      writeSync(file, header);
      ftruncateSync(file, header.length + bytes);
      closeSync(file);
    }
    const before = readdirSync(place);
    const watcher = watch(place);
    const args = ["evaluate", "--logits", "logits.npy", "--labels", "labels.bin", "--per-row", "out.npy"];
    const child = spawn(process.execPath, [binary, ...args, "--batch-rows", "10"], { cwd: place });
    let stderr = "";
    child.stderr.on("data", (chunk) => {
      stderr += chunk;
    });
    await once(watcher, "change");
    watcher.close();
    expect(readdirSync(place)).toHaveLength(3);
    child.kill("SIGINT");
    const [status] = await once(child, "close");
    expect({ status, stderr, left: readdirSync(place) }).toEqual({
      status: 130,
      stderr: "xent: interrupted\n",
      left: before,
    });
  });
});
