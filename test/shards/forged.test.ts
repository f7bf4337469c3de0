// Files of partials and totals with a right checksum and impossible contents: decoding refuses what no run can give.
import { afterAll, describe, expect, test } from "vitest";
import {
  createXentSync,
  decodePartials,
  decodeTotals,
  encodePartials,
  encodeTotals,
  type LossOptions,
  lossFromPartials,
  mergePartials,
  type Partials,
  Totals,
} from "xent";
import { doubles, forged, words } from "../support/forged.ts";
import { thrown } from "../support/thrown.ts";

const xent = createXentSync();
afterAll(() => xent.dispose());

/** Two rows with labels 1 and 3, and logits 0 1 and 2 0 of two of 4 classes, from `classOffset` on. */
function shard(classOffset: number, options: LossOptions = {}): Partials {
  using batch = xent.createBatch({ rows: 2, classes: 2 });
  batch.logits.set([0, 1, 2, 0]);
  batch.labels.set([1, 3]);
  return batch.partials({ ...options, classOffset, classesTotal: 4 });
}

/** Offsets of the parts of a file with one range of classes. */
const AT = { rows: 24, total: 28, columns: 32, ranges: 36, classes: 40, settings: 48, data: 80 };
const message = (name: string, got: string): string => `RangeError: "bytes" expected ${name}, got ${got}`;

describe("partials", () => {
  const file = encodePartials(shard(0, { labelSmoothing: 0.25 }));

  test.each<[string, (view: DataView) => void, string]>([
    ["temperature 0", doubles(AT.settings + 24, 0), "a temperature of 0"],
    ["temperature -3", doubles(AT.settings + 24, -3), "a temperature of -3"],
    ["temperature NaN", doubles(AT.settings + 24, NaN), "a temperature of NaN"],
    ["temperature Infinity", doubles(AT.settings + 24, Infinity), "a temperature of Infinity"],
    ["label smoothing -0.1", doubles(AT.settings, -0.1), "a labelSmoothing of -0.1"],
    ["label smoothing 1", doubles(AT.settings, 1), "a labelSmoothing of 1"],
    ["z-loss -1", doubles(AT.settings + 8, -1), "a zLoss of -1"],
    ["softcap -1", doubles(AT.settings + 16, -1), "a softcap of -1"],
    ["softcap NaN", doubles(AT.settings + 16, NaN), "a softcap of NaN"],
    ["no classes", words(AT.total, 0), "0 classes"],
    ["more classes than labels can name", words(AT.total, 2 ** 31), "2147483648 classes"],
    ["a range beyond the classes", words(AT.classes, 0, 5), "the classes [[0,5]] of 4"],
    ["a range of no classes", words(AT.classes, 2, 2), "the classes [[2,2]] of 4"],
    ["an unknown column", words(AT.columns, 2 ** 31), "columns 10000000000000000000000000000000; only 21 are known"],
    ["a word that is not 0", words(12, 1), "1 at byte 12, expected 0"],
    ["no rows", words(AT.rows, 0), "sizes that contradict one another"],
    ["4 billion rows", words(AT.rows, 2 ** 32 - 1), "sizes that contradict one another"],
    ["4 billion ranges", words(AT.ranges, 2 ** 32 - 1), "sizes that contradict one another"],
  ])("with %s are refused", (_, change, got) => {
    expect(thrown(() => decodePartials(forged(file, change)))).toBe(message("XENTPART", got));
  });

  test("without a range of classes are refused", () => {
    const change = (view: DataView): void => {
      words(AT.ranges, 0)(view);
      new Uint8Array(view.buffer).copyWithin(AT.classes, AT.settings);
    };
    expect(thrown(() => decodePartials(forged(file, change, file.length - 8)))).toBe(
      message("XENTPART", "the classes [] of 4"),
    );
  });

  const good = shard(0);
  test.each<[keyof Partials, number]>([
    ["labels", 4],
    ["labels", -3],
    ["labels", 2 ** 31 - 1],
    ["maximum", Infinity],
    ["maximum", 50],
    ["power", NaN],
    ["power", 0.5],
    ["power", 1000],
    ["power", Infinity],
    ["sum", -1],
    ["sum", NaN],
    ["sum", Infinity],
    ["sum", 1e9],
    ["sumLow", NaN],
    ["sumLow", 1],
    ["sumLow", -Infinity],
    ["labelLogit", NaN],
    ["labelLogit", 2],
    ["labelLogit", Infinity],
    ["predictions", 99],
    ["predictions", 2],
    ["predictions", -1],
    ["predictions", -2],
  ])("with %s %d in a row are refused", (name, value) => {
    // The label of the second row is in another shard.
    const column = (good[name] as Float64Array).slice();
    column[0] = value;
    expect(thrown(() => decodePartials(encodePartials({ ...good, [name]: column })))).toMatch(
      /^RangeError: "bytes" expected XENTPART, got \S+ as \w+ of row 0$/,
    );
  });

  const divergent = (() => {
    using batch = xent.createBatch({ rows: 1, classes: 2, targets: "logits" });
    batch.logits.set([0, 1]);
    batch.targets.set([2, 0]);
    return batch.partials({ classOffset: 0, classesTotal: 4 });
  })();
  test.each<[keyof Partials, number]>([
    ["targetMaximum", Infinity],
    ["targetMaximum", 50],
    ["targetPower", NaN],
    ["targetPower", 0.5],
    ["targetSum", 0],
    ["targetSum", NaN],
    ["targetSumLow", 1],
    ["divergence", -1],
    ["divergence", NaN],
    ["excess", NaN],
    ["excess", 0.01],
    ["labelLogit", 0],
    ["labels", 0],
    ["maximum", NaN],
    ["maximum", -Infinity],
  ])("of a divergence with %s %d are refused", (name, value) => {
    const column = (divergent[name] as Float64Array).with(0, value);
    expect(thrown(() => decodePartials(encodePartials({ ...divergent, [name]: column })))).toMatch(
      /^RangeError: "bytes" expected XENTPART, got \S+ as \w+ of row 0$/,
    );
  });

  test("of soft targets with a label are refused", () => {
    using batch = xent.createBatch({ rows: 1, classes: 2, targets: true });
    const soft = batch.partials({ classOffset: 0, classesTotal: 2 });
    expect([...soft.labels]).toEqual([-2]);
    const labels = Int32Array.of(0);
    expect(thrown(() => decodePartials(encodePartials({ ...soft, labels })))).toBe(
      message("XENTPART", "0 as labels of row 0"),
    );
  });

  test.each<[keyof Partials, number]>([
    ["labelLogit", 0],
    ["labelLogit", -Infinity],
    ["labelWeight", 1],
    ["sum", 0],
  ])("with %s %d in a row whose label is in another shard are refused", (name, value) => {
    const column = (good[name] as Float64Array).slice();
    column[1] = value;
    expect(thrown(() => decodePartials(encodePartials({ ...good, [name]: column })))).toMatch(
      /^RangeError: "bytes" expected XENTPART, got \S+ as \w+ of row 1$/,
    );
  });

  test.each(["labelSmoothing", "zLoss", "softcap", "softTargets"] as const)(
    "of a divergence with %s are refused",
    (name) => {
      const value = name === "softTargets" ? 1 : 0.5;
      const settings = { ...divergent.settings, [name]: value };
      const length = name === "softcap" || name === "zLoss" ? 0 : 1;
      const dense = new Float64Array(length);
      const columns =
        name === "softcap"
          ? { largest: new Float64Array(1) }
          : name === "zLoss"
            ? {}
            : { weight: dense, weightLow: dense, margin: dense, marginLow: dense, bestWeight: dense };
      expect(thrown(() => mergePartials({ ...divergent, ...columns, settings }))).toBe(
        `RangeError: "partials" expected values that a run can give, got a ${name} of ${value}, and a divergence`,
      );
    },
  );

  test("that are made by hand are checked, too", () => {
    const call = (change: object) => thrown(() => mergePartials({ ...good, ...change }));
    const got = (what: string) => `RangeError: "partials" expected values that a run can give, got ${what}`;
    expect(call({ settings: { ...good.settings, temperature: 0 } })).toBe(got("a temperature of 0"));
    expect(call({ settings: { ...good.settings, zLoss: "1" } })).toBe(got("a zLoss of 1"));
    expect(call({ classes: [[1, 0]] })).toBe(got("the classes [[1,0]] of 4"));
    expect(call({ classes: [[0]] })).toBe(got("the classes [[0]] of 4"));
    expect(call({ classesTotal: NaN })).toBe(got("NaN classes"));
    expect(call({ classes: [3] })).toMatch(/^TypeError: "partials" expected what partials\(\)/);
    expect(call({ settings: null })).toMatch(/^TypeError: "partials" expected what partials\(\)/);
  });

  test("with very many ranges of classes are encoded and decoded", () => {
    const classes = Array.from({ length: 200_000 }, (_, i): [number, number] => [2 * i, 2 * i + 1]);
    const many = { ...good, classesTotal: 400_000, classes, predictions: Int32Array.of(0, 0) };
    const none = { labelLogit: new Float64Array(2).fill(NaN), labelWeight: new Float64Array(2).fill(NaN) };
    const decoded = decodePartials(encodePartials({ ...many, ...none }));
    expect(decoded.classes).toEqual(classes);
  });
});

describe("sums beyond the largest number", () => {
  /** A row of f64 logits in two shards. */
  function merged(left: number[], right: number[], label: number): Partials {
    const parts = [left, right].map((logits, i) => {
      using batch = xent.createBatch({ rows: 1, classes: logits.length, logits: "float64" });
      batch.logits.set(logits);
      batch.labels.set([label]);
      return batch.partials({ labelSmoothing: 0.1, classOffset: i * left.length, classesTotal: 6 });
    });
    return mergePartials(parts);
  }

  test.each([
    [
      [0, 1.7e308, 1],
      [1.7e308, 2, 3],
    ],
    [
      [0, -1.7e308, 1],
      [-1.7e308, 2, 3],
    ],
    [
      [-1.7e308, -1.7e308, -1.7e308],
      [0, 0, -1.7e308],
    ],
  ])("are Infinity: the shards %j and %j", (left, right) => {
    for (const label of [0, 1, 5]) {
      const both = merged(left, right, label);
      expect(lossFromPartials(decodePartials(encodePartials(both))).loss[0]).toBe(Infinity);
    }
  });

  test("do not come from equal logits", () => {
    const both = merged([1.7e308, 1.7e308, 1.7e308], [1.7e308, 1.7e308, 1.7e308], 1);
    expect(lossFromPartials(decodePartials(encodePartials(both))).loss[0]).toBeCloseTo(Math.log(6), 6);
  });

  const huge = 1.7e308;
  const totals = (terms: number[]): Totals => Totals.of({ sum: terms, normalizer: [1] }, terms.length, 0);

  test("are finite if only an intermediate sum is beyond it", () => {
    expect(totals([huge, huge, -huge]).sum).toBe(huge);
    expect(totals([huge, huge, 1, -huge, -huge]).sum).toBe(1);
    expect(totals([-huge, -huge, 5e-324, huge, huge]).sum).toBe(5e-324);
    expect(totals([huge, huge]).merge(totals([-huge])).sum).toBe(huge);
    expect(decodeTotals(encodeTotals(totals([huge, huge]))).merge(totals([-huge])).sum).toBe(huge);
    expect(totals([huge, huge]).sum).toBe(Infinity);
    expect(totals([-huge, -huge]).mean).toBe(-Infinity);
  });

  test("are the largest number if it is the nearest one", () => {
    const [max, half] = [Number.MAX_VALUE, 2 ** 970];
    expect(totals([max, half]).sum).toBe(Infinity);
    for (const terms of [
      [max, half, -1],
      [-1, half, max],
      [half, -1, max],
    ])
      expect(totals(terms).sum).toBe(max);
  });

  test("are Infinity in the totals of a file of 84 bytes", () => {
    const file = forged(
      encodeTotals(totals([1])),
      (view) => {
        doubles(24, 1, 0, 2, 1, Number.MAX_VALUE, Number.MAX_VALUE, 1)(view);
      },
      84,
    );
    expect(decodeTotals(file)).toMatchObject({ sum: Infinity, normalizer: 1, count: 1 });
    expect(decodeTotals(encodeTotals(decodeTotals(file))).sum).toBe(Infinity);
  });
});

describe("totals", () => {
  const file = encodeTotals(Totals.of({ sum: [1, 2 ** -60], normalizer: [3] }, 3, 2));

  test.each<[string, (view: DataView) => void, string]>([
    ["NaN as a part of the sum", doubles(24 + 40, NaN), "NaN in its sum"],
    ["NaN as the normalizer", doubles(24 + 48, NaN), "NaN in its normalizer"],
    ["2^53 rows", doubles(24, 2 ** 53), "2 correct predictions in 9007199254740992 rows"],
    ["half a row", doubles(24, 2.5), "2 correct predictions in 2.5 rows"],
    ["less than no row", doubles(24, -3), "2 correct predictions in -3 rows"],
    ["more right rows than rows", doubles(24 + 8, 4), "4 correct predictions in 3 rows"],
    ["half a right row", doubles(24 + 8, 0.5), "0.5 correct predictions in 3 rows"],
    ["rows by no number", doubles(24, NaN, NaN), "NaN correct predictions in NaN rows"],
    ["a sum of no rows", doubles(24, 0, 0), "a sum of no rows"],
    ["half a part", doubles(24 + 16, 1.5, 1.5), "sizes that contradict one another"],
    ["more parts than there are", doubles(24 + 16, 1e300), "sizes that contradict one another"],
    ["less than no part", doubles(24 + 16, -1, 4), "sizes that contradict one another"],
  ])("with %s are refused", (_, change, got) => {
    expect(thrown(() => decodeTotals(forged(file, change)))).toBe(message("XENTTOTL", got));
  });

  const [low, high] = ["0123456789abcdef".repeat(2), "f".repeat(32)];
  const told = encodeTotals(Totals.of({ sum: [1], normalizer: [3] }, 3, 2, [high, low]));
  const SOURCES = 24 + 48;

  test.each<[string, (view: DataView) => void, string]>([
    ["no source, in version 2", doubles(SOURCES, 0), "0 sources"],
    ["half a source", doubles(SOURCES, 0.5), "0.5 sources"],
    ["less than no source", doubles(SOURCES, -1), "-1 sources"],
    ["sources by no number", doubles(SOURCES, NaN), "NaN sources"],
    ["more sources than there are", doubles(SOURCES, 3), "sizes that contradict one another"],
    ["fewer sources than there are", doubles(SOURCES, 1), "sizes that contradict one another"],
    ["sources in version 1", words(8, 1), "sizes that contradict one another"],
    ["a later version", words(8, 3), "version 3; this release of xent reads versions 1 to 2"],
    ["version 0", words(8, 0), "version 0; this release of xent reads versions 1 to 2"],
    [
      "the same source twice",
      words(SOURCES + 8, ...Array<number>(8).fill(0xffffffff)),
      `the source ${high} after ${high}`,
    ],
    [
      "sources in disorder",
      words(SOURCES + 8, ...Array<number>(4).fill(0xffffffff), ...Array<number>(4).fill(0)),
      `the source ${"0".repeat(32)} after ${high}`,
    ],
  ])("with %s are refused", (_, change, got) => {
    expect(decodeTotals(told).sources).toEqual([low, high]);
    expect(thrown(() => decodeTotals(forged(told, change)))).toBe(message("XENTTOTL", got));
  });

  test("of NaN contain no NaN", () => {
    const nan = Totals.of({ sum: [NaN], normalizer: [NaN] }, 1, 0);
    const bytes = encodeTotals(nan);
    expect(decodeTotals(bytes)).toMatchObject({ sum: NaN, normalizer: NaN, count: 1 });
    expect([...new Float64Array(bytes.slice(24, -4).buffer)]).not.toContain(NaN);
  });

  test("that would count more than 2^53 - 1 rows do not change", () => {
    const many = Totals.of({ sum: [1], normalizer: [1] }, Number.MAX_SAFE_INTEGER, 1);
    const one = Totals.of({ sum: [1], normalizer: [1] }, 1, 1);
    expect(thrown(() => many.merge(one))).toBe('RangeError: "count" expected an integer from 0 to 0, got 1');
    expect(many).toMatchObject({ sum: 1, normalizer: 1, count: Number.MAX_SAFE_INTEGER, correct: 1 });
  });

  test("accept only numbers", () => {
    const result = { loss: Float32Array.of(1), normalizer: "1", count: 1 };
    expect(thrown(() => new Totals().add(result as never))).toBe('TypeError: "normalizer" expected a number, got "1"');
    expect(thrown(() => Totals.of({ sum: ["1"], normalizer: [] } as never, 1, 0))).toBe(
      'TypeError: "terms.sum" expected numbers, got "1"',
    );
  });
});
