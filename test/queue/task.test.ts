// Tasks and answers from a queue: valid ones are read, forged ones are refused.
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { encodeTotals, Totals } from "xent";
import { contentOf } from "../../packages/cli/src/content.ts";
import type { FileFlags } from "../../packages/cli/src/files.ts";
import { Root } from "../../packages/cli/src/root.ts";
import { readResult, readTask, taskOf } from "../../packages/cli/src/task.ts";
import { thrown } from "../support/thrown.ts";

const pair = { logits: "0.npy", labels: "0.txt" };
const content = { size: 100, sha256: "0".repeat(64) };
const flags: FileFlags = { shift: 0, variant: "simd128", labelSmoothing: 0.1 };
const { id, data } = taskOf(pair, flags, [content, content], [1, 2], false);

describe("a task", () => {
  test("is the same after JSON", () => {
    expect(readTask(JSON.parse(JSON.stringify(data)))).toEqual(data);
    expect(data).toEqual({
      ...{ protocol: 2, pair, contents: [content, content], verify: false },
      flags: { shift: 0, variant: "simd128", labelSmoothing: 0.1 },
    });
  });

  test("contains only the options that a task may have", () => {
    const more = { ...flags, perRow: "x.csv", totals: "x", threads: 3, json: true };
    expect(taskOf(pair, more as FileFlags, [content, content], [1, 2], false)).toEqual({ id, data });
  });

  test.each<[string, object]>([
    ["a file to write", { flags: { ...data.flags, perRow: "../.ssh/authorized_keys.csv" } }],
    ["a flag that is misspelt", { flags: { ...data.flags, temprature: 3 } }],
    ["a shift in quotes", { flags: { ...data.flags, shift: "0" } }],
    ["no shift", { flags: { variant: "simd128" } }],
    ["no rows in a batch", { flags: { ...data.flags, batchRows: 0 } }],
    ["half a row in a batch", { flags: { ...data.flags, batchRows: 0.5 } }],
    ["no rows of a sequence", { flags: { ...data.flags, sequence: 0 } }],
    ["temperature 0", { flags: { ...data.flags, temperature: 0 } }],
    ["smoothing 1", { flags: { ...data.flags, labelSmoothing: 1 } }],
    ["a negative z-loss", { flags: { ...data.flags, zLoss: -1 } }],
    ["a number that is null", { flags: { ...data.flags, softcap: null } }],
    ["another build", { flags: { ...data.flags, variant: "auto" } }],
    ["an invalid type", { flags: { ...data.flags, dtype: "toString" } }],
    ["an invalid path", { pair: { logits: ["0.npy"], labels: "0.txt" } }],
    ["an empty path", { pair: { logits: "", labels: "0.txt" } }],
    ["a path with a zero", { pair: { logits: "0.npy\0.txt", labels: "0.txt" } }],
    ["a third file", { pair: { ...pair, output: "x" } }],
    ["a file without its content", { contents: [content] }],
    ["weights without their content", { flags: { ...data.flags, classWeights: "w.npy" } }],
    ["an invalid checksum", { contents: [content, { ...content, sha256: "0" }] }],
    ["a negative size", { contents: [content, { ...content, size: -1 }] }],
    ["an unknown property", { command: "rm" }],
    ["a name that every object has", { toString: 1 }],
    ["a prototype", { flags: JSON.parse('{"shift":0,"variant":"simd128","__proto__":{"perRow":"x.csv"}}') }],
  ])("with %s is refused", (_, change) => {
    expect(thrown(() => readTask({ ...data, ...change }))).toMatch(/^Error: invalid task: [^\n]*$/);
  });

  test.each([null, undefined, 3, "task", [], {}, [data]].map((value) => [value]))("%j is refused", (value) => {
    expect(thrown(() => readTask(value))).toMatch(/^Error: invalid task: [^\n]*$/);
  });

  test("of another version is refused with an error that says so", () => {
    expect(thrown(() => readTask({ protocol: 3, anything: "else" }))).toBe(
      "Error: invalid task: protocol 3; this xent uses 2",
    );
  });

  test("has another id if a file has other content or another time", () => {
    const ids = [
      taskOf(pair, flags, [content, content], [1, 2], false),
      taskOf(pair, flags, [content, { ...content, sha256: "1".repeat(64) }], [1, 2], false),
      taskOf(pair, flags, [content, { ...content, size: 101 }], [1, 2], false),
      taskOf(pair, flags, [content, content], [1, 3], false),
      taskOf(pair, flags, [content, content], [1, 2], true),
      taskOf(pair, { ...flags, shift: 1 }, [content, content], [1, 2], false),
    ].map((task) => task.id);
    expect(new Set(ids).size).toBe(ids.length);
  });
});

describe("an answer", () => {
  const totals = (count: number, sum = 5, normalizer = count, correct = 0): string =>
    Buffer.from(encodeTotals(Totals.of({ sum: [sum], normalizer: [normalizer] }, count, correct))).toString("base64");
  /** Statistics of rows without weights: their number, and sums of losses and squares. */
  const statistics = (count: number, sum = 5): string => {
    const moments = [count, sum, 0, sum ** 2, 0, count, 0, sum, 0, count, 0];
    return Buffer.from(Float64Array.from([...moments, ...new Array(12).fill(0)]).buffer).toString("base64");
  };
  const good = {
    statistics: statistics(3),
    ...{ protocol: 2, id, rows: 3, classes: 4, bytes: 48, totals: totals(3), notFinite: { rows: 0 } },
    logits: { name: "0.npy", dtype: "float32", shape: [3, 4] },
    labels: { name: "0.txt", dtype: "text" },
  };
  const answered = (change: object) => readResult({ ...good, ...change }, id, data);

  test("is read, with its totals", () => {
    expect(answered({})).toMatchObject({ rows: 3, classes: 4, logits: good.logits, labels: good.labels });
    expect(answered({}).totals).toMatchObject({ count: 3, sum: 5 });
    const first = { row: 2, reason: "NaN at class 1" };
    const lost = { notFinite: { rows: 1, first }, totals: totals(3, NaN), statistics: statistics(3, NaN) };
    expect(answered(lost).notFinite).toEqual({ rows: 1, first });
  });

  test.each([1, -2])("has the classes at the axis of the task: %s", (axis) => {
    const task = taskOf(pair, { ...flags, axis }, [content, content], [1, 2], false);
    const answer = (shape: readonly number[]) => ({ ...good, id: task.id, logits: { ...good.logits, shape } });
    expect(readResult(answer([1, 4, 3]), task.id, task.data)).toMatchObject({ rows: 3, classes: 4 });
    expect(thrown(() => readResult(answer([1, 3, 4]), task.id, task.data))).toBe(
      "Error: invalid result for this task: shape",
    );
  });

  test.each<[string, object]>([
    ["rows in quotes", { rows: "50" }],
    ["other rows", { rows: 50 }],
    ["other classes", { classes: 5 }],
    ["no classes", { classes: 0, logits: { ...good.logits, shape: [3, 0] }, bytes: 0 }],
    ["another shape", { logits: { ...good.logits, shape: [4, 3] } }],
    ["another file", { logits: { ...good.logits, name: "1.npy" } }],
    ["other labels", { labels: { ...good.labels, name: "1.txt" } }],
    ["another type", { logits: { ...good.logits, dtype: "float64" } }],
    ["other bytes", { bytes: 47 }],
    ["another task", { id: `${id}0` }],
    ["another protocol", { protocol: 3 }],
    ["no totals", { totals: "" }],
    ["totals that are damaged", { totals: totals(3).replace(/^..../, "AAAA") }],
    ["totals that are not base64", { totals: "%" }],
    ["more counted rows than rows", { totals: totals(4), statistics: statistics(4) }],
    ["statistics of other rows", { statistics: statistics(2) }],
    ["statistics of other losses", { statistics: statistics(3, 6) }],
    ["no statistics", { statistics: "" }],
    ["statistics that were not asked for", { statistics: `${statistics(3).slice(0, -8)}AAAAAAAAAAAAAAAAAAA=` }],
    ["another normalizer", { totals: totals(3, 5, 2) }],
    ["a negative sum", { totals: totals(3, -5), statistics: statistics(3, -5) }],
    ["a sum of NaN without such a row", { totals: totals(3, NaN), statistics: statistics(3, NaN) }],
    [
      "a sum that is Infinity, and no row that is",
      { totals: totals(3, Infinity), statistics: statistics(3, Infinity) },
    ],
    ["more NaN than rows", { notFinite: { rows: 4, first: { row: 0, reason: "" } } }],
    ["NaN in no row", { notFinite: { rows: 1 } }],
    ["NaN behind the last row", { notFinite: { rows: 1, first: { row: 3, reason: "" } } }],
    ["an unknown property", { more: 1 }],
  ])("with %s is refused", (_, change) => {
    expect(thrown(() => answered(change))).toMatch(
      /^(Error: invalid result|RangeError: "bytes" expected XENTTOTL)[^\n]*$/,
    );
  });

  test.each([null, undefined, 7, "", [], {}, { rows: 7 }].map((value) => [value]))("%j is refused", (value) => {
    expect(thrown(() => readResult(value, id, data))).toMatch(/^Error: invalid result: [^\n]*$/);
  });
});

describe("files", () => {
  const folder = mkdtempSync(join(tmpdir(), "xent-task-"));
  const here = process.cwd();
  const { signal } = new AbortController();
  beforeAll(() => {
    mkdirSync(join(folder, "root/sub"), { recursive: true });
    writeFileSync(join(folder, "secret.txt"), "root:x:0:0");
    for (const name of ["root/a.txt", "root/sub/b.txt", "root/..c.txt"]) writeFileSync(join(folder, name), "0");
    symlinkSync("../secret.txt", join(folder, "root/link.txt"));
    symlinkSync("..", join(folder, "root/up"));
    symlinkSync("a.txt", join(folder, "root/alias.txt"));
    symlinkSync("root", join(folder, "rooted"));
  });
  afterAll(() => {
    process.chdir(here);
    rmSync(folder, { recursive: true });
  });

  test.each(["root", "rooted"])("are read only below the root: %s", async (name) => {
    process.chdir(folder);
    const root = await Root.open(name);
    const real = (path: string) => join(folder, "root", path);
    expect(await root.resolve("a.txt")).toBe(real("a.txt"));
    expect(await root.resolve("sub/../sub/b.txt")).toBe(real("sub/b.txt"));
    expect(await root.resolve(real("a.txt"))).toBe(real("a.txt"));
    expect(await root.resolve("alias.txt")).toBe(real("a.txt"));
    expect(await root.resolve("..c.txt")).toBe(real("..c.txt"));
    const outside = ["../secret.txt", "/etc/passwd", "link.txt", "up/secret.txt", "..", "sub/../../secret.txt", "/"];
    // Whether the file exists or not.
    for (const path of [...outside, "../nowhere.txt", "/nowhere/at/all"]) {
      await expect(root.resolve(path), path).rejects.toThrow(`${path}: lies outside of --root`);
    }
    await expect(root.resolve("nowhere.txt")).rejects.toThrow("nowhere.txt: no such file or directory");
  });

  test("are identified by their content: large ones by their ends and some blocks, or by all bytes", async () => {
    const path = join(folder, "large.bin");
    const bytes = Buffer.alloc(3_000_000, "xent");
    const known = async (at: number | undefined, whole: boolean, length = bytes.length): Promise<string> => {
      const copy = Buffer.from(bytes);
      if (at !== undefined) copy[at] = 0;
      writeFileSync(path, copy.subarray(0, length));
      return (await contentOf(path, whole, signal)).sha256;
    };
    const [sample, all] = [await known(undefined, false), await known(undefined, true)];
    for (const at of [0, 100, 65_535, bytes.length - 65_536, bytes.length - 1]) {
      expect(await known(at, false)).not.toBe(sample);
    }
    expect(await known(undefined, false, bytes.length - 1)).not.toBe(sample);
    let seen = 0;
    for (let at = 70_000; at < bytes.length - 70_000; at += 16_000) if ((await known(at, false)) !== sample) seen++;
    expect(seen).toBeGreaterThan(12);
    // Between two blocks.
    expect(await known(100_000, false)).toBe(sample);
    expect(await known(100_000, true)).not.toBe(all);
    const small = async (last: string): Promise<string> => {
      writeFileSync(path, `${"0".repeat(500_000)}${last}`);
      return (await contentOf(path, false, signal)).sha256;
    };
    expect(await small("0")).not.toBe(await small("1"));
  });
});
