// Totals over shards of the rows, and the bytes in which totals and partials are sent.
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, describe, expect, test } from "vitest";
import {
  createXentSync,
  decodePartials,
  decodeTotals,
  encodePartials,
  encodeTotals,
  lossFromPartials,
  mergePartials,
  Totals,
} from "xent";
import { blocksRunBy } from "../support/blocks.ts";
import { evenCuts, makeParts, type Whole } from "../support/shards.ts";
import { thrown } from "../support/thrown.ts";

const double = fc.double({ noNaN: true, noDefaultInfinity: true, min: -1e300, max: 1e300 });

/** The sum as a fraction of 2^1074, in which every f64 is an integer. */
function exactSum(numbers: readonly number[]): bigint {
  return numbers.reduce((sum, x) => sum + scaled(x), 0n);
}

function scaled(x: number): bigint {
  const bits = new BigUint64Array(Float64Array.of(Math.abs(x)).buffer)[0] as bigint;
  const [exponent, fraction] = [bits >> 52n, bits & (2n ** 52n - 1n)];
  const size = exponent === 0n ? fraction : (fraction + 2n ** 52n) << (exponent - 1n);
  return x < 0 ? -size : size;
}

function totalsOf(losses: readonly number[]): Totals {
  return Totals.of({ sum: losses, normalizer: [losses.length] }, losses.length, 0);
}

describe("totals", () => {
  test("are exact, and rounded once to the nearest number", () => {
    fc.assert(
      fc.property(fc.array(fc.oneof(double, fc.constantFrom(1, 2 ** 53, 2 ** -60, -1, 1e100, -1e100))), (numbers) => {
        const { sum, terms } = totalsOf(numbers);
        const exact = exactSum(numbers);
        expect(exactSum(terms.sum)).toBe(exact);
        const distance = (x: number): bigint => (scaled(x) > exact ? scaled(x) - exact : exact - scaled(x));
        const ulp = 2 ** Math.max(-1074, Math.floor(Math.log2(Math.abs(sum) || 1)) - 53);
        for (const other of [sum - ulp, sum + ulp]) expect(distance(sum) <= distance(other)).toBe(true);
      }),
      { numRuns: 1000 },
    );
  });

  test("do not depend on the order or the grouping of rows", () => {
    fc.assert(
      fc.property(
        fc.array(fc.array(fc.float({ noNaN: true, min: 0 }))),
        fc.infiniteStream(fc.nat()),
        (groups, choices) => {
          const all = groups.flat();
          const left = groups.map(totalsOf);
          left.push(new Totals());
          while (left.length > 1) {
            const [one] = left.splice((choices.next().value as number) % left.length, 1) as [Totals];
            left[(choices.next().value as number) % left.length]?.merge(decodeTotals(encodeTotals(one)));
          }
          expect(encodeTotals(left[0] as Totals)).toEqual(encodeTotals(totalsOf(all)));
        },
      ),
      { numRuns: 1000 },
    );
  });

  test("half way between two numbers are rounded to the even one, unless a smaller part decides", () => {
    expect(totalsOf([1, 2 ** -53]).sum).toBe(1);
    expect(totalsOf([1, 2 ** -53, 2 ** -200]).sum).toBe(1 + 2 ** -52);
    expect(totalsOf([1 + 2 ** -52, 2 ** -53]).sum).toBe(1 + 2 ** -51);
    // The product of the two smaller parts underflows.
    expect(totalsOf([1, 2 ** -53, 1e-310]).sum).toBe(1 + 2 ** -52);
    expect(totalsOf([-1, -(2 ** -53), -1e-310]).sum).toBe(-1 - 2 ** -52);
    const tiny = [1.694177162228167e-177, -2.222916784018476e-184, -7.848760358424806e-201];
    expect(encodeTotals(totalsOf(tiny))).toEqual(encodeTotals(totalsOf(tiny.toReversed())));
  });

  test("keep NaN and Infinity", () => {
    expect(totalsOf([1, Infinity, 2]).sum).toBe(Infinity);
    expect(totalsOf([1, NaN]).mean).toBeNaN();
    expect(totalsOf([Infinity]).merge(totalsOf([-Infinity])).sum).toBeNaN();
    expect(decodeTotals(encodeTotals(totalsOf([3, Infinity]))).sum).toBe(Infinity);
    expect(decodeTotals(encodeTotals(totalsOf([NaN]))).sum).toBeNaN();
  });

  test("add results of runs and of shards", () => {
    using xent = createXentSync();
    using batch = xent.createBatch({ rows: 4, classes: 10 });
    batch.logits.set(batch.logits.map((_, i) => (i * 7) % 11));
    batch.labels.set([1, 2, -1, 4]);
    const options = {
      ignoreIndex: -1,
      predictions: true,
      classWeights: Float32Array.from({ length: 10 }, (_, i) => i),
    };
    const result = batch.run(options);
    const totals = new Totals().add(result);
    const { sum, normalizer, mean, count, correct } = result;
    expect(totals).toMatchObject({ normalizer, count: 3, correct });
    expect(count).toBe(3);
    // Totals add the losses in f32, whose rounding is at most 2^-24 of each. The sum of so few is exact.
    expect(totals.sum).toBe(result.loss.reduce((total, loss) => total + loss, 0));
    expect(totals.mean).toBe(totals.sum / normalizer);
    expect(Math.abs(totals.sum / sum - 1)).toBeLessThanOrEqual(2 ** -24);
    expect(Math.abs(totals.mean / mean - 1)).toBeLessThanOrEqual(2 ** -24);
    const sharded = lossFromPartials(batch.partials({ ...options, classOffset: 0, classesTotal: 10 }));
    expect(encodeTotals(new Totals().add(sharded))).toEqual(encodeTotals(totals));
    const before = totals.mean;
    totals.merge(totals);
    expect(totals).toMatchObject({ normalizer: 2 * normalizer, count: 6, mean: before });
    expect(new Totals()).toMatchObject({ sum: 0, mean: 0, normalizer: 0, count: 0, correct: 0 });
  });

  const [one, two, three] = ["1", "2", "3"].map((digit) => digit.repeat(32)) as [string, string, string];
  const of = (...sources: string[]): Totals => Totals.of({ sum: [2], normalizer: [1] }, 1, 1, sources);

  test("with a source in common are not merged, and do not change", () => {
    const merged = of(two).merge(of(one));
    expect(merged.sources).toEqual([one, two]);
    for (const other of [of(one), of(three, two), merged, decodeTotals(encodeTotals(merged))]) {
      expect(thrown(() => merged.merge(other))).toMatch(
        /^RangeError: "other" expected rows that are not counted yet, got "/,
      );
      expect(merged).toMatchObject({ count: 2, sum: 4, sources: [one, two] });
    }
    expect(thrown(() => merged.addSource(one))).toBe(
      `RangeError: "source" expected one whose rows are not counted yet, got "${one}"`,
    );
    expect(merged.addSource(three).sources).toEqual([one, two, three]);
  });

  test("without a source can be merged any number of times, and keep their format", () => {
    const silent = of();
    expect(silent.merge(of()).merge(silent).count).toBe(4);
    expect(new DataView(encodeTotals(silent).buffer).getUint32(8, true)).toBe(1);
    expect(encodeTotals(silent).length).toBe(76);
    expect(encodeTotals(of(one)).length).toBe(76 + 8 + 16);
  });

  test("keep their sources in bytes, sorted", () => {
    expect(decodeTotals(encodeTotals(of(three, one))).sources).toEqual([one, three]);
    expect(encodeTotals(of(one).merge(of(two)))).toEqual(encodeTotals(of(two).merge(of(one))));
  });

  test.each(["", "1".repeat(31), "1".repeat(33), "A".repeat(32), "g".repeat(32), `${"1".repeat(32)}\n`])(
    "refuse a source that is not 32 hexadecimal digits: %j",
    (source) => {
      expect(thrown(() => new Totals().addSource(source))).toMatch(
        /^RangeError: "source" expected 32 hexadecimal digits, got "/,
      );
      expect(thrown(() => new Totals().addSource(7 as never))).toBe(
        'TypeError: "source" expected 32 hexadecimal digits, got 7',
      );
    },
  );

  test("refuse values that are no results", () => {
    expect(thrown(() => new Totals().add({} as never))).toBe(
      'TypeError: "result" expected what run() or lossFromPartials() gives, got Object',
    );
    expect(thrown(() => new Totals().merge({} as never))).toBe('TypeError: "other" expected Totals, got Object');
    expect(thrown(() => new Totals().addRows(Float32Array.of(1), Float32Array.of(1), 2))).toBe(
      'RangeError: "correct" expected an integer from 0 to 1, got 2',
    );
    expect(thrown(() => encodeTotals({} as never))).toBe('TypeError: "totals" expected Totals, got Object');
  });

  test("refuse arrays that are detached, too short or no arrays, and do not change", () => {
    using xent = createXentSync();
    using batch = xent.createBatch({ rows: 4, classes: 3 });
    const result = batch.run();
    xent.createBatch({ rows: 1000, classes: 1000 });
    const [one, two] = [Float32Array.of(1), Float32Array.of(1, 1)];
    const totals = new Totals();
    const refuse = (call: () => unknown, message: string): void => {
      expect(thrown(call)).toBe(message);
      expect(encodeTotals(totals)).toEqual(encodeTotals(new Totals()));
    };
    const detached = (name: string): string =>
      `TypeError: "${name}" is detached: its memory was transferred, or belonged to a WebAssembly.Memory that has grown`;
    refuse(() => totals.add(result), detached("loss"));
    refuse(() => totals.addRows(result.loss, one, 0), detached("losses"));
    refuse(() => totals.addRows(one, result.loss, 0), detached("weights"));
    refuse(
      () => totals.add({ loss: one, normalizer: 2, count: 2 }),
      'RangeError: "count" expected an integer from 0 to 1, got 2',
    );
    refuse(() => totals.addRows(one, two, 0), 'RangeError: "weights" expected at most one for each of 1 losses, got 2');
    for (const [wrong, shown] of [
      [undefined, "undefined"],
      [["x"], "Array"],
      [Int32Array.of(1), "Int32Array"],
    ]) {
      const message = (name: string): string =>
        `TypeError: "${name}" expected a Float32Array or Float64Array, got ${shown}`;
      refuse(() => totals.addRows(wrong as never, one, 1), message("losses"));
      refuse(() => totals.addRows(one, wrong as never, 1), message("weights"));
    }
  });

  test("of another copy of the package are refused with a way out, which works", () => {
    const other = createRequire(import.meta.url)("xent") as typeof import("xent");
    const foreign = new other.Totals().addRows(Float32Array.of(2), Float32Array.of(1), 0);
    const message = (title: string): string =>
      `TypeError: "${title}" expected Totals of this copy of xent (two are loaded; encodeTotals() of the other and decodeTotals() of this one convert them), got Totals`;
    expect(thrown(() => new Totals().merge(foreign))).toBe(message("other"));
    expect(thrown(() => encodeTotals(foreign))).toBe(message("totals"));
    expect(new Totals().merge(decodeTotals(other.encodeTotals(foreign))).sum).toBe(2);
  });
});

describe.each(blocksRunBy("python"))("the program at $file:$line, in another language,", ({ code }) => {
  const python = ["python3", "python"].find((name) => spawnSync(name, ["--version"]).status === 0);
  test.skipIf(python === undefined)("reads the bytes that xent writes", () => {
    const folder = mkdtempSync(join(tmpdir(), "xent-totals-"));
    const file = join(folder, "totals");
    for (const totals of [totalsOf([1, 1e-30, 2.5]), totalsOf([1, 1e-30, 2.5]).addSource("a".repeat(32))]) {
      writeFileSync(file, encodeTotals(totals));
      const { stdout, stderr } = spawnSync(python as string, ["-c", code, file], { encoding: "utf8" });
      expect({ stdout, stderr }).toEqual({ stdout: `3 0 ${3.5 / 3}\n`, stderr: "" });
    }
    rmSync(folder, { recursive: true });
  });
});

describe("bytes", () => {
  const xent = createXentSync();
  afterAll(() => xent.dispose());
  const whole: Whole = {
    ...{ dtype: "float32", shape: [3, 12], axis: -1 },
    logits: Float32Array.from({ length: 36 }, (_, i) => (i === 30 ? NaN : i < 12 ? -Infinity : (i * 5) % 17)),
    labels: Int32Array.of(0, 7, 11),
  };
  const parts = makeParts(xent, whole, evenCuts(12, 3), { labelSmoothing: 0.25, ignoreIndex: 7 }, false);
  const partials = parts.map((part) => part.partials);
  const merged = mergePartials(partials);

  test("restore everything, also NaN and -Infinity", () => {
    for (const part of [...partials, merged, mergePartials(partials[0] ?? merged, partials[2] ?? merged)]) {
      expect(decodePartials(encodePartials(part))).toEqual(part);
    }
    const plain = makeParts(
      xent,
      whole,
      [0, 5, 12],
      { sampleWeights: [1, 2, 3], classWeights: Float32Array.from(whole.logits.subarray(12, 24)) },
      false,
    );
    for (const part of plain) expect(decodePartials(encodePartials(part.partials))).toEqual(part.partials);
  });

  test("are 40 for each row of a shard, and about 100 more", () => {
    using batch = xent.createBatch({ rows: 1000, classes: 5 });
    // The label is in another shard, so its weight is not known, and not written.
    batch.labels.fill(5, 500);
    const { length } = encodePartials(batch.partials({ classOffset: 0, classesTotal: 10 }));
    expect(length).toBeGreaterThan(40_000);
    expect(length).toBeLessThan(40_100);
  });

  describe.each<[string, Uint8Array, (bytes: Uint8Array) => unknown, string, number]>([
    ["XENTPART", encodePartials(merged), decodePartials, "XENTTOTL", 3],
    ["XENTTOTL", encodeTotals(totalsOf([1, 1e-30])), decodeTotals, "XENTPART", 2],
  ])("%s", (magic, good, decode, other, newest) => {
    const call = (bytes: unknown) => thrown(() => decode(bytes as Uint8Array));
    const message = (got: string) => `RangeError: "bytes" expected ${magic}, got ${got}`;

    test("truncated at any byte is an error", () => {
      for (let length = 8; length < good.length; length++) {
        const got =
          length < 28 ? `${length} bytes, which is too few` : `a truncated file: ${length} of ${good.length} bytes`;
        expect(call(good.subarray(0, length))).toBe(message(got));
      }
      expect(call(new Uint8Array())).toBe(message('a file that begins with ""'));
    });

    test("any bit changed is an error", () => {
      for (let bit = 0; bit < 8 * good.length; bit++) {
        const bad = good.slice();
        bad[bit >> 3] = (bad[bit >> 3] as number) ^ (1 << (bit & 7));
        expect(call(bad), `bit ${bit}`).toContain("RangeError: ");
      }
    });

    test("another kind, another version, or more bytes are an error", () => {
      const foreign = good.slice();
      foreign.set(new TextEncoder().encode(other));
      expect(call(foreign)).toBe(message(`a file that begins with "${other}"`));
      const next = good.slice();
      next[8] = newest + 1;
      expect(call(next)).toBe(message(`version ${newest + 1}; this release of xent reads versions 1 to ${newest}`));
      expect(call(Uint8Array.of(...good, 0))).toBe(message(`1 bytes more than the ${good.length} of the file`));
      expect(call("XENT")).toBe('TypeError: "bytes" expected a Uint8Array, got "XENT"');
      const gone = good.slice();
      structuredClone(gone, { transfer: [gone.buffer] });
      expect(call(gone)).toBe(
        'TypeError: "bytes" is detached: its memory was transferred, or belonged to a WebAssembly.Memory that has grown',
      );
    });

    test("may begin at any offset of a buffer", () => {
      const moved = new Uint8Array(good.length + 3);
      moved.set(good, 3);
      expect(decode(moved.subarray(3))).toEqual(decode(good));
    });
  });
});
