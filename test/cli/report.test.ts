// The pages that --html writes: complete, without requests, and safe for any file name.
import { existsSync, readFileSync } from "node:fs";
import { beforeAll, describe, expect, test } from "vitest";
import { Quantiles } from "../../packages/cli/src/quantiles.ts";
import { Distribution, EachNth, Largest, Positions } from "../../packages/cli/src/report-rows.ts";
import { npy } from "../support/array-files.ts";
import { cliFolder } from "../support/cli-folder.ts";
import { golden } from "../support/evaluators.ts";

const { run, write, path } = cliFolder("report");
const [N, T] = golden.shape;
const EVIL = "<img src=x onerror=alert(1)>.npy";

beforeAll(() => {
  const labels = npy("int32", [N, T], Int32Array.from(golden.labels));
  for (const name of [EVIL, "x.npy"]) write(name, npy("float32", golden.shape, Float32Array.from(golden.logits)));
  write("o.npy", npy("float32", golden.shape, Float32Array.from(golden.other)));
  write("y.npy", labels);
});

/** The headings of a page, with the pictures below them. */
function read(name: string): { html: string; headings: string[]; pictures: number } {
  const html = readFileSync(path(name), "utf8");
  const headings = Array.from(html.matchAll(/<h2>([^<]*)<\/h2>/g), ([, heading = ""]) => heading);
  return { html, headings, pictures: html.match(/<svg /g)?.length ?? 0 };
}

describe("a report", () => {
  test("of an evaluation is one file with its pictures, and escapes markup in names", () => {
    const { status, stderr, stdout } = run("evaluate", EVIL, "--labels", "y.npy", "--html", "r.html");
    expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
    expect(stdout).toMatch(/^calibration +expected error 0\.25542[56]$/m);
    const { html, headings, pictures } = read("r.html");
    expect(headings).toEqual([
      ...["Distribution of the losses", "Loss by position in the sequence", "Calibration", "Worst rows"],
    ]);
    expect(pictures).toBe(3);
    expect(html).not.toContain("<img");
    expect(html).toContain("default-src 'none'");
    // Names of formats are the only addresses.
    expect(html.replaceAll(/http:\/\/www\.w3\.org\/\S+?(?=")/g, "")).not.toMatch(
      /https?:|<[^>]*\ssrc=|url\((?!#)|<script|@import/,
    );
    const worst = golden.labels.length;
    expect(html.match(/<tbody>(.*?)<\/tbody>/s)?.[1]?.match(/<tr>/g)).toHaveLength(Math.min(20, worst));
  });

  test("of a comparison shows the two losses against each other and the divergence by rank", () => {
    expect(run("compare", "x.npy", "o.npy", "--labels", "y.npy", "--html", "c.html")).toMatchObject({
      status: 0,
      stderr: "",
    });
    const { headings, pictures } = read("c.html");
    expect(headings).toEqual([
      "The two losses against each other",
      ...["Divergence by rank", "Loss by position in the sequence", "Rows that differ most"],
    ]);
    expect(pictures).toBe(3);
  });

  test("replaces a report, and no other file", () => {
    write("notes.html", "<!doctype html><p>my own</p>");
    const refused = run("evaluate", "x.npy", "--labels", "y.npy", "--html", "notes.html");
    expect(refused).toMatchObject({
      status: 2,
      stderr: "xent: --html: notes.html: exists and is not a report of xent (.html): not replaced\n",
    });
    expect(readFileSync(path("notes.html"), "utf8")).toBe("<!doctype html><p>my own</p>");
    for (let i = 0; i < 2; i++) {
      expect(run("evaluate", "x.npy", "--labels", "y.npy", "--html", "twice.html").status).toBe(0);
    }
    expect(run("evaluate", "x.npy", "--labels", "missing.npy", "--html", "none.html").status).toBe(1);
    expect(existsSync(path("none.html"))).toBe(false);
  });
});

describe("the statistics of a report", () => {
  test("count every row in a bar, also when bars are divided", () => {
    const distribution = new Distribution();
    for (let i = 0; i < 1000; i++) distribution.add(i / 100);
    distribution.add(Infinity);
    distribution.add(NaN);
    const { bars, more } = distribution.histogram(5, 10);
    expect(bars.reduce((sum, { rows }) => sum + rows, 0) + more).toBeCloseTo(1002, 6);
    for (const { rows } of bars) expect(Math.abs(rows - 50)).toBeLessThan(2);
    expect(Math.abs(distribution.quantile(0.5) / 5 - 1)).toBeLessThan(0.01);
  });

  test("have the mean of each position, or of neighbouring positions of long sequences", () => {
    const positions = new Positions(1000);
    for (let i = 0; i < 3000; i++) positions.add(i % 1000, i % 1000);
    expect(positions.width).toBe(3);
    expect(positions.points[10]).toEqual({ position: 31, mean: 31 });
  });

  test("keep the rows of the largest losses: NaN first, and the first of equal ones", () => {
    const largest = new Largest<number>(3);
    for (const [row, value] of [1, 5, NaN, 5, 2, 7, 5].entries()) largest.add(value, () => row);
    expect(largest.rows).toEqual([2, 5, 1]);
  });

  test("keep an even sample of the rows", () => {
    const each = new EachNth<number>(10);
    for (let i = 0; i < 100; i++) each.add(() => i);
    expect(each.step).toBe(16);
    expect(each.rows).toEqual([0, 16, 32, 48, 64, 80, 96]);
  });

  test("have exact quantiles of few rows, and of many within 0.2 %", () => {
    const values = Float64Array.from({ length: 10_001 }, (_, i) => Math.exp(((i * 7919) % 10_001) / 500 - 12));
    const [exact, rough] = [new Quantiles(values.length), new Quantiles(2 ** 30)];
    for (const value of values) {
      exact.add(value);
      rough.add(value);
    }
    const sorted = values.toSorted();
    const probabilities = [0, 0.25, 0.5, 0.99, 1];
    const wanted = probabilities.map((p) => sorted[p * 10_000] as number);
    expect(exact.at(probabilities)).toEqual(wanted);
    for (const [i, value] of rough.at(probabilities).entries()) {
      expect(Math.abs(value / (wanted[i] as number) - 1)).toBeLessThan(0.002);
    }
    // NaN is more than infinity, which is more than any number.
    for (const most of [5, 2 ** 30]) {
      const some = new Quantiles(most);
      for (const value of [NaN, 0, NaN, Infinity, NaN]) some.add(value);
      expect(some.at([0.25, 0.3, 0.5, 1])).toEqual([Infinity, NaN, NaN, NaN]);
    }
    const few = new Quantiles(4);
    for (const value of [4, 1, 3]) few.add(value);
    // As numpy.quantile([1, 3, 4], [0.5, 0.25]).
    expect(few.at([0.5, 0.25])).toEqual([3, 2]);
  });
});
