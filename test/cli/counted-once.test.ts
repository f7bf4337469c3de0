// Files, options and totals that are given twice, under any names, do not count twice.
import { copyFileSync, linkSync, readFileSync, rmSync, symlinkSync } from "node:fs";
import { zipSync } from "fflate";
import { beforeEach, describe, expect, test } from "vitest";
import { decodeTotals, encodeTotals, Totals } from "xent";
import { bytesOf, npy, safetensors } from "../support/array-files.ts";
import { cliFolder, logits } from "../support/cli-folder.ts";

const { path, write, run, evaluate } = cliFolder("once");
const isPosix = process.platform !== "win32";
/** Three other rows. */
const others = npy("float32", [3, 4], Float32Array.of(1, 2, 3, 4, 4, 3, 2, 1, 0, 5, 0, 5));

const json = (...args: string[]) => {
  const { status, stdout, stderr } = run(...args, "--json");
  expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
  return JSON.parse(stdout);
};
const refused = (message: string, ...args: string[]): void => {
  const { status, stdout, stderr } = run(...args);
  expect({ stdout, stderr }).toEqual({ stdout: "", stderr: `xent: ${message}\n` });
  expect(status).not.toBe(0);
};

beforeEach(() => {
  write("a.npy", logits);
  write("b.npy", others);
  for (const name of ["a", "b"]) write(`${name}.txt`, "0 1 2");
  for (const name of ["link.totals", "hard.totals", "copy.totals", "all.totals"]) rmSync(path(name), { force: true });
});

describe("totals", () => {
  beforeEach(() => {
    for (const name of ["a", "b"])
      json("evaluate", `${name}.npy`, "--labels", "{path}.txt", "--totals", `${name}.totals`);
  });

  test("that are given twice are refused, under any name", () => {
    refused("a.totals: is given twice: its rows would count twice", "merge", "a.totals", "b.totals", "a.totals");
    const same = "is the same file as a.totals: its rows would count twice";
    refused(`./a.totals: ${same}`, "merge", "a.totals", "./a.totals");
    if (!isPosix) return;
    symlinkSync("a.totals", path("link.totals"));
    linkSync(path("a.totals"), path("hard.totals"));
    for (const name of ["link.totals", "hard.totals"]) refused(`${name}: ${same}`, "merge", "a.totals", name);
  });

  test("of the same rows are refused: a copy, or those of another evaluation", () => {
    copyFileSync(path("a.totals"), path("copy.totals"));
    const twice = "has rows that are in a.totals, too: they would count twice";
    refused(`copy.totals: ${twice}`, "merge", "a.totals", "b.totals", "copy.totals");
    // Other options, other batches and another kind of file: the same rows.
    write("same.npy", logits);
    write("same.bin", bytesOf(Int32Array.of(0, 1, 2)));
    const again = [
      "evaluate",
      "--logits",
      "same.npy",
      "--labels",
      "same.bin",
      "--batch-rows",
      "1",
      "--temperature",
      "2",
    ];
    json(...again, "--totals", "again.totals");
    refused(`again.totals: ${twice}`, "merge", "a.totals", "again.totals");
  });

  test("that contain others are not merged with them", () => {
    const { summary } = json("merge", "a.totals", "b.totals", "--output", "all.totals");
    expect(summary.counted).toBe(6);
    refused(
      "b.totals: has rows that are in all.totals, too: they would count twice",
      "merge",
      "all.totals",
      "b.totals",
    );
    const both = "--output: all.totals: would overwrite an input file";
    const before = readFileSync(path("all.totals"));
    refused(both, "merge", "a.totals", "all.totals", "b.totals", "--output", "all.totals");
    expect(readFileSync(path("all.totals"))).toEqual(before);
    // Without the merged file, the merge gives the same bytes again.
    expect(json("merge", "b.totals", "a.totals", "--output", "all.totals").summary).toEqual(summary);
    expect(readFileSync(path("all.totals"))).toEqual(before);
  });

  test("of several files name the source of each", () => {
    json("evaluate", "a.npy", "b.npy", "--labels", "{path}.txt", "--totals", "all.totals");
    json("merge", "a.totals", "b.totals", "--output", "merged.totals");
    expect(readFileSync(path("all.totals"))).toEqual(readFileSync(path("merged.totals")));
    expect(decodeTotals(readFileSync(path("all.totals"))).sources).toHaveLength(2);
  });

  test("of masks that divide the rows give the result of all rows", () => {
    write("some.txt", "1 0 -1");
    write("rest.txt", "0 1 0");
    for (const mask of ["some", "rest"]) {
      json("evaluate", "a.npy", "--labels", "a.txt", "--mask", `${mask}.txt`, "--totals", `${mask}.totals`);
    }
    const { counted, sum } = json("evaluate", "a.npy", "--labels", "a.txt");
    expect(json("merge", "some.totals", "rest.totals").summary).toMatchObject({ counted, sum });
  });

  test("with other labels or logits count as other rows", () => {
    write("c.txt", "0 1 3");
    json("evaluate", "--logits", "a.npy", "--labels", "c.txt", "--totals", "c.totals");
    expect(json("merge", "a.totals", "b.totals", "c.totals").summary.counted).toBe(9);
  });

  test("without sources are merged, with a notice about what looks like a copy", () => {
    const silent = encodeTotals(Totals.of({ sum: [1.5], normalizer: [1] }, 1, 0));
    write("old.totals", silent);
    write("older.totals", silent);
    const { status, stdout, stderr } = run("merge", "old.totals", "older.totals", "a.totals", "--json");
    expect({ status, stderr }).toEqual({
      status: 0,
      stderr: "xent: older.totals: has the same sums as old.totals: is it a copy?\n",
    });
    expect(JSON.parse(stdout).summary.counted).toBe(5);
  });
});

describe("files of logits", () => {
  test("that are given twice are refused, under any name", () => {
    refused(
      "a.npy: is given twice: its rows would count twice",
      "evaluate",
      "a.npy",
      "a.npy",
      "--labels",
      "{path}.txt",
    );
    if (!isPosix) return;
    linkSync(path("a.npy"), path("d.npy"));
    linkSync(path("a.txt"), path("d.txt"));
    const message = "d.npy: is the same file as a.npy: its rows would count twice";
    refused(message, "evaluate", "a.npy", "d.npy", "--labels", "{path}.txt");
  });

  test("that are read twice are refused, as an array or with other labels", () => {
    // {name} of x.npz:logits is x.
    const labels = ["--labels", "{name}.txt"];
    write("x.txt", "0 1 2");
    const tensor = { type: "float32", shape: [3, 4], data: new Float32Array(12) };
    write("x.npz", zipSync({ "logits.npy": logits, "others.npy": others }));
    write("x.safetensors", safetensors({ logits: tensor, others: tensor }));
    for (const name of ["x.npz", "x.safetensors"]) {
      const message = `${name}:logits: is the same file as ${name}: its rows would count twice`;
      refused(message, "evaluate", name, `${name}:logits`, ...labels);
      expect(json("evaluate", name, `${name}:others`, ...labels)).toMatchObject({ shards: 2, counted: 6 });
    }
    if (!isPosix) return;
    symlinkSync("a.npy", path("soft.npy"));
    linkSync(path("a.npy"), path("hard.npy"));
    for (const name of ["soft", "hard"]) {
      write(`${name}.txt`, "2 1 0");
      const message = `${name}.npy: is the same file as a.npy: its rows would count twice`;
      refused(message, "evaluate", "a.npy", `${name}.npy`, "--labels", "{path}.txt");
    }
  });

  test("that are compared twice are refused, but may be compared with themselves", () => {
    const compared = (base: string[], other: string[]) => ["compare", "--base", ...base, "--other", ...other];
    const places = ["--labels", "{path}.txt"];
    const same = "is the same file as a.npy: its rows would count twice";
    refused(`./a.npy: ${same}`, ...compared(["a.npy", "./a.npy"], ["b.npy", "c.npy"]), ...places);
    refused(`./a.npy: ${same}`, ...compared(["b.npy", "c.npy"], ["a.npy", "./a.npy"]), ...places);
    expect(json("compare", "a.npy", "a.npy", "--labels", "a.txt").counted).toBe(3);
  });

  test("with the same content under different names all count", () => {
    write("b.npy", logits);
    const { counted, mean } = json("evaluate", "a.npy", "b.npy", "--labels", "{path}.txt", "--totals", "all.totals");
    expect({ counted, mean }).toEqual({ counted: 6, mean: json("evaluate", "a.npy", "--labels", "a.txt").mean });
    json("evaluate", "b.npy", "--labels", "b.txt", "--totals", "b.totals");
    const message = "b.totals: has rows that are in all.totals, too: they would count twice";
    refused(message, "merge", "all.totals", "b.totals");
  });

  test("may all be given with --logits", () => {
    const all = json("evaluate", "--logits", "a.npy", "--logits", "b.npy", "--labels", "{path}.txt");
    expect(all).toMatchObject({ shards: 2, counted: 6 });
    expect(json("evaluate", "--logits", "a.npy", "b.npy", "--labels", "{path}.txt").sum).toBe(all.sum);
  });
});

describe("an option that is given twice", () => {
  test("is refused, with the same value or another one", () => {
    for (const [option, flags, ...values] of [
      ["--labels", "--labels <file>", "a.txt", "a.txt"],
      ["--temperature", "--temperature <t>", "1", "2"],
      ["--totals", "--totals <file>", "x.totals", "y.totals"],
      ["--threads", "--threads <n>", "1", "2"],
      ["--smoothing", "--smoothing, --label-smoothing <e>", "0.1", "0.2"],
    ] as const) {
      const twice = values.flatMap((value) => [option, value]);
      const labels = option === "--labels" ? [] : ["--labels", "a.txt"];
      refused(`option '${flags}' is given twice`, "evaluate", "a.npy", ...labels, ...twice);
    }
    const shard = [
      "partials",
      "--labels",
      "a.txt",
      "--class-offset",
      "0",
      "--classes-total",
      "4",
      "--output",
      "x.part",
    ];
    refused("option '--logits <file>' is given twice", ...shard, "--logits", "a.npy", "--logits", "b.npy");
    refused("option '--output <file>' is given twice", "merge", "a.totals", "--output", "x", "--output", "y");
    refused("option '--label <y>' is given twice", "explain", "1", "2", "--label", "0", "--label", "1");
    const mixed = ["--smoothing", "0.1", "--label-smoothing", "0.2"];
    expect(run("evaluate", "a.npy", "--labels", "a.txt", ...mixed).status).toBe(2);
  });

  test("is accepted if it has no value", () => {
    expect(evaluate("--json", "--json", "--strict", "--strict").status).toBe(0);
  });

  test("adds a value if it is --ignore-index", () => {
    const labels = ["evaluate", "a.npy", "--labels", "a.txt"];
    const both = json(...labels, "--ignore-index", "0", "--ignore-index", "2");
    write("one.npy", npy("float32", [1, 4], Float32Array.of(4, 5, 6, 7)));
    write("one.txt", "1");
    expect(both).toMatchObject({ counted: 1, ignored: 2, sum: json("evaluate", "one.npy", "--labels", "one.txt").sum });
    const ignored = json("explain", "1", "2", "--label", "1", "--ignore-index", "0", "--ignore-index", "1");
    expect(ignored.kernel.value).toBe(0);
  });
});
