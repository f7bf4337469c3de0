// Shards of the classes and of the rows as files: xent partials, xent evaluate --totals and several files, xent merge.
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createXentSync, decodePartials, decodeTotals, encodePartials } from "xent";
import { npy, safetensors } from "../support/array-files.ts";
import { overriding, xentCommand, xentJson } from "../support/cli.ts";
import { generate } from "../support/golden.ts";
import { evenCuts } from "../support/shards.ts";

interface Summary {
  sum: number;
  mean: number;
  counted: number;
  correct: number;
  normalizer: number;
}

const ROWS = 500;
const CLASSES = 3000;
const folder = mkdtempSync(join(tmpdir(), "xent-cli-shards-"));
const { logits, labels } = generate(
  { rows: ROWS, classes: CLASSES, seed: 9, bits: 16, shift: 12, boost: 9, ignoreEvery: 7 },
  -100,
);
const weights = Float32Array.from({ length: CLASSES }, (_, i) => 0.5 + (i % 13) / 8);
const json = <T>(...args: string[]): T => xentJson<T>(args, { cwd: folder });
const run = (...args: string[]) => xentCommand(args, { cwd: folder });
const path = (name: string): string => join(folder, name);
const options = ["--ignore-index", "-100", "--smoothing", "0.1", "--class-weights", "weights.npy", "--z-loss", "1e-4"];

beforeAll(() => {
  writeFileSync(path("logits.npy"), npy("float32", [ROWS, CLASSES], logits));
  writeFileSync(path("labels.npy"), npy("int32", [ROWS], labels));
  writeFileSync(path("weights.npy"), npy("float32", [CLASSES], weights));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe("shards of the classes", () => {
  const cuts = evenCuts(CLASSES, 3);
  const files = ["2.part", "0.part", "1.part"];
  const partials = (shard: number, ...more: string[]) =>
    run(
      ...overriding([
        ...[
          "partials",
          "--logits",
          `classes-${shard}.npy`,
          "--labels",
          "labels.npy",
          "--class-offset",
          `${cuts[shard]}`,
        ],
        ...["--classes-total", `${CLASSES}`, "--output", `${shard}.part`, "--batch-rows", "77", ...options, ...more],
      ]),
    );

  beforeAll(() => {
    for (const shard of [0, 1, 2]) {
      const [begin, end] = [cuts[shard] as number, cuts[shard + 1] as number];
      const rows = Array.from({ length: ROWS }, (_, row) => [
        ...logits.subarray(row * CLASSES + begin, row * CLASSES + end),
      ]);
      writeFileSync(path(`classes-${shard}.npy`), npy("float32", [ROWS, end - begin], Float32Array.from(rows.flat())));
      expect(partials(shard)).toEqual({ status: 0, stdout: "", stderr: "" });
    }
  });

  test("merge into the loss of the whole file", () => {
    const whole = json<Summary>(
      "evaluate",
      "--logits",
      "logits.npy",
      "--labels",
      "labels.npy",
      ...options,
      "--per-row",
      "whole.npy",
    );
    const merged = json<{ rows: number; summary: Summary }>(
      "merge",
      ...files,
      "--per-row",
      "merged.npy",
      "--output",
      "all.part",
    );
    expect(merged).toMatchObject({ rows: ROWS, classes: [[0, CLASSES]], classesTotal: CLASSES, files: 3 });
    const { counted, correct, normalizer, mean } = merged.summary;
    expect({ counted, correct, normalizer }).toEqual({
      ...{ counted: whole.counted, correct: whole.correct, normalizer: whole.normalizer },
    });
    expect(Math.abs(mean / whole.mean - 1)).toBeLessThan(1e-8);
    const losses = (name: string) => new Float32Array(Uint8Array.from(readFileSync(path(name))).buffer, 128);
    for (const [row, loss] of losses("merged.npy").entries()) {
      expect(Math.abs(loss - (losses("whole.npy")[row] as number))).toBeLessThanOrEqual(4e-7 * loss);
    }
    expect(decodePartials(readFileSync(path("all.part"))).rows).toBe(ROWS);
    expect(json<{ summary: Summary }>("merge", "all.part").summary).toEqual(merged.summary);
  });

  test("give the same bytes when they are merged step by step", () => {
    expect(run("merge", "0.part", "2.part", "--output", "some.part")).toMatchObject({ status: 0, stderr: "" });
    expect(run("merge", "0.part", "2.part", "--output", "some.part").stdout).toContain(
      "[0, 1000) and [2000, 3000) of 3000",
    );
    run("merge", "some.part", "1.part", "--output", "steps.part");
    run("merge", ...files, "--output", "all.part");
    expect(readFileSync(path("steps.part"))).toEqual(readFileSync(path("all.part")));
  });

  test("are refused if they do not match, and the error names them", () => {
    const error = (...args: string[]) => run("merge", ...args).stderr;
    expect(error("0.part", "1.part")).toBe(
      "xent: only [0, 2000) of 3000 classes are present: use --output to merge the rest later\n",
    );
    expect(error("0.part", "1.part", "0.part")).toBe("xent: 0.part: is given twice: its rows would count twice\n");
    writeFileSync(path("cut.part"), readFileSync(path("1.part")).subarray(0, 5000));
    expect(error("0.part", "cut.part")).toMatch(
      /^xent: cut\.part: expected XENTPART, got a truncated file: 5000 of \d+ bytes\n$/,
    );
    const next = readFileSync(path("1.part"));
    next[8] = 4;
    writeFileSync(path("next.part"), next);
    expect(error("next.part")).toBe(
      "xent: next.part: expected XENTPART, got version 4; this release of xent reads versions 1 to 3\n",
    );
    expect(error("logits.npy")).toMatch(/^xent: logits\.npy: neither partials nor totals of xent: it begins with /);
    expect(error("nowhere.part")).toBe("xent: nowhere.part: no such file or directory\n");
    expect(run("merge").status).toBe(2);
  });

  test("are refused if they are of a divergence, which has no perplexity", () => {
    using xent = createXentSync();
    using batch = xent.createBatch({ rows: 1, classes: 3, targets: "logits" });
    writeFileSync(path("kl.part"), encodePartials(batch.partials({ classOffset: 0, classesTotal: 3 })));
    expect(run("merge", "kl.part", "--output", "kl.merged").stderr).toMatch(
      /^xent: kl\.part: partials of a divergence/,
    );
    expect(readdirSync(folder)).not.toContain("kl.merged");
  });

  test("are refused if options contradict the files", () => {
    const before = readdirSync(folder);
    expect(partials(2, "--class-offset", "2500")).toEqual({
      status: 2,
      stdout: "",
      stderr: "xent: classes-2.npy: its 1000 classes, from 2500 on, do not fit into --classes-total 3000\n",
    });
    expect(partials(2, "--classes-total", "3001").stderr).toBe(
      "xent: weights.npy: expected one weight for each of 3001 classes, found 3000\n",
    );
    expect(run("partials", "--logits", "a.npy").status).toBe(2);
    expect(readdirSync(folder)).toEqual(before);
  });
});

describe("shards of the rows", () => {
  const cuts = evenCuts(ROWS, 4);
  const names = [0, 1, 2, 3].map((i) => `rows-${i}`);
  const files = names.map((name) => `${name}.safetensors`);
  const args = [...files, "--labels", "{file}:labels", ...options];
  let whole: Summary;

  beforeAll(() => {
    for (const [i, name] of names.entries()) {
      const [begin, end] = [cuts[i] as number, cuts[i + 1] as number];
      const tensors = {
        logits: { type: "float32", shape: [end - begin, CLASSES], data: logits.slice(begin * CLASSES, end * CLASSES) },
        labels: { type: "int32", shape: [end - begin], data: labels.slice(begin, end) },
      };
      writeFileSync(path(`${name}.safetensors`), safetensors(tensors));
    }
    whole = json<Summary>("evaluate", "--logits", "logits.npy", "--labels", "labels.npy", ...options);
  });

  const numbers = ({ sum, mean, counted, correct, normalizer }: Summary) => ({
    sum,
    mean,
    counted,
    correct,
    normalizer,
  });

  test("give the bits of one file, in any order and for any batch size", () => {
    expect(numbers(json<Summary>("evaluate", ...args))).toEqual(numbers(whole));
    const other = [
      ...files.slice(1),
      files[0] as string,
      "--labels",
      "{file}:labels",
      ...options,
      "--batch-rows",
      "13",
    ];
    expect(json<Summary>("evaluate", ...other)).toMatchObject({ ...numbers(whole), shards: 4, rows: ROWS });
  });

  test("give the same bits when they are evaluated separately and merged", () => {
    const totals = names.map((name) => {
      json("evaluate", `${name}.safetensors`, "--labels", "{file}:labels", ...options, "--totals", `${name}.totals`);
      return `${name}.totals`;
    });
    const { summary } = json<{ summary: Summary }>("merge", ...totals.reverse(), "--output", "all.totals");
    expect(numbers(summary)).toEqual(numbers(whole));
    expect(decodeTotals(readFileSync(path("all.totals"))).sum).toBe(whole.sum);
    expect(run("merge", ...totals).stdout).toContain("mean loss");
    expect(run("merge", "all.totals", "--per-row", "x.npy")).toMatchObject({ status: 2 });
    expect(run("merge", "all.totals", "logits.npy").status).toBe(1);
  });

  test("are refused if their labels are not named, or if classes differ", () => {
    const error = (...all: string[]) => run("evaluate", ...all).stderr;
    expect(error("--labels", "labels.npy")).toBe("xent: no logits: give --logits, or name them\n");
    expect(error(...files, "--labels", "labels.npy")).toBe(
      "xent: --labels: labels.npy: for 4 files, say where the labels of each are: labels/{name}.npy, {path}.txt or {file}:labels\n",
    );
    writeFileSync(path("narrow.npy"), npy("float32", [2, 5], new Float32Array(10)));
    writeFileSync(path("narrow.txt"), "1 2");
    writeFileSync(path("rows-0.txt"), Array.from(labels.subarray(0, cuts[1]), String).join("\n"));
    expect(error("rows-0.safetensors", "narrow.npy", "--labels", "{path}.txt", "--ignore-index", "-100")).toBe(
      "xent: narrow.npy: expected 3000 classes as in rows-0.safetensors:logits, found 5\n",
    );
  });

  test("name the file of a row without a finite loss", () => {
    writeFileSync(path("a.npy"), npy("float32", [2, 3], new Float32Array(6)));
    writeFileSync(path("b.npy"), npy("float32", [2, 3], Float32Array.of(0, 0, 0, 0, NaN, 0)));
    for (const name of ["a", "b"]) writeFileSync(path(`${name}.txt`), "1 2");
    expect(run("evaluate", "a.npy", "b.npy", "--labels", "{path}.txt").stderr).toBe(
      "xent: b.npy: 1 row has no finite loss; the first is row 1: NaN at class 1\n",
    );
  });
});
