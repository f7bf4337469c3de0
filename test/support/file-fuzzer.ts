// Mutates valid files, tasks and answers, and gives them to their readers. An input with a new outcome is mutated further.
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { crc32 } from "node:zlib";
import { zipSync } from "fflate";
import {
  createXentSync,
  decodePartials,
  decodeTotals,
  encodePartials,
  encodeTotals,
  lossFromPartials,
  mergePartials,
  type Partials,
  Totals,
  type Xent,
} from "xent";
import { Failure } from "../../packages/cli/src/failure.ts";
import { evaluateFile, type FileFlags } from "../../packages/cli/src/files.ts";
import { openLogits } from "../../packages/cli/src/logits.ts";
import { readResult, readTask, type TaskData, taskOf } from "../../packages/cli/src/task.ts";
import { npy, safetensors } from "./array-files.ts";
import type { Random } from "./mutate.ts";
import { writeNew } from "./write.ts";

/** A reader of bytes. */
export interface Target {
  readonly name: string;
  readonly seeds: readonly Uint8Array[];
  /** Corrects lengths and checksums, so that the checks behind them are reached. */
  readonly mend?: (bytes: Uint8Array, random: Random) => Uint8Array;
  /** Throws {@link Failure} or RangeError for invalid bytes. Any other error, and a wrong result, is a finding. */
  readonly read: (bytes: Uint8Array) => Promise<void> | void;
}

const ROWS = 12;
const CLASSES = 5;
const logits = Float32Array.from({ length: ROWS * CLASSES }, (_, i) => (i * 7) % 11);
const labels = Int32Array.from({ length: ROWS }, (_, i) => i % CLASSES);
const text = (value: unknown): Uint8Array => Buffer.from(JSON.stringify(value));

/** All readers of untrusted bytes. Files are written into `folder`. */
export function targets(folder: string): { all: Target[]; end(): void } {
  const xent = createXentSync({ shared: true });
  const { signal } = new AbortController();
  const flags: FileFlags = { shift: 0, variant: "simd128" };
  const path = (name: string): string => join(folder, name);
  writeFileSync(path("logits.npy"), npy("float32", [ROWS, CLASSES], logits));
  writeFileSync(path("labels.npy"), npy("int32", [ROWS], labels));
  const evaluate = (pair: { logits: string; labels: string }, more: object = {}) =>
    evaluateFile({ logits: path(pair.logits), labels: path(pair.labels) }, { ...flags, ...more }, { xent, signal });

  /** Checks that the sum is that of the formula, for any shape. */
  const asLogits = (name: string) => async (bytes: Uint8Array) => {
    writeNew(path(name), bytes);
    const file = await openLogits({ logits: path(name) });
    const { rows, classes, dtype, array } = file;
    const content = new Uint8Array(array.bytes.left);
    try {
      await array.bytes.read(content);
    } finally {
      await array.bytes.close();
    }
    writeNew(path("some.txt"), Array.from({ length: rows }, (_, row) => row % classes).join(" "));
    const { totals, notFinite } = await evaluate({ logits: name, labels: "some.txt" });
    if (totals.count !== rows) throw new Error(`${totals.count} of ${rows} rows`);
    if (notFinite.rows > 0 || (dtype !== "float32" && dtype !== "float64")) return;
    const values = Float64Array.from(new (dtype === "float32" ? Float32Array : Float64Array)(content.buffer));
    let sum = 0;
    for (let row = 0; row < rows; row++) {
      const x = values.subarray(row * classes, (row + 1) * classes);
      const max = x.reduce((a, b) => Math.max(a, b));
      const log = Math.log(x.reduce((a, b) => a + Math.exp(b - max), 0));
      sum += log - ((x[row % classes] as number) - max);
    }
    if (!(Math.abs(totals.sum - sum) <= 1e-5 * Math.abs(sum) + 1e-6)) throw new Error(`${totals.sum}, and not ${sum}`);
  };
  const asLabels = (name: string) => async (bytes: Uint8Array) => {
    writeNew(path(name), bytes);
    const { totals } = await evaluate({ logits: "logits.npy", labels: name });
    if (totals.count !== ROWS) throw new Error(`${totals.count} of ${ROWS} rows`);
  };
  const asWeights = (name: string) => async (bytes: Uint8Array) => {
    writeNew(path(name), bytes);
    await evaluate({ logits: "logits.npy", labels: "labels.npy" }, { classWeights: path(name) });
  };

  const arrays = [npy("float32", [ROWS, CLASSES], logits), npy("float64", [3, 4], new Float64Array(12).fill(1.5))];
  const many = { other: { type: "int64", shape: [3], data: new BigInt64Array(3) } };
  const tensors = { logits: { type: "float32", shape: [ROWS, CLASSES], data: logits }, ...many };
  const zips = (content: Uint8Array) => [0, 6].map((level) => zipSync({ "x.npy": content }, { level: level as 0 | 6 }));
  const weights = Float32Array.of(1, 2, 3, 4, 5);
  const all: Target[] = [
    { name: "logits.npy", seeds: arrays, read: asLogits("a.npy") },
    { name: "logits.npz", seeds: arrays.flatMap(zips), mend: mendZip, read: asLogits("a.npz") },
    {
      name: "logits.safetensors",
      seeds: [safetensors(tensors)],
      mend: mendSafetensors,
      read: asLogits("a.safetensors"),
    },
    {
      name: "labels.npy",
      seeds: [npy("int32", [ROWS], labels), npy("uint8", [ROWS, 1], new Uint8Array(12))],
      read: asLabels("y.npy"),
    },
    { name: "labels.npz", seeds: zips(npy("int32", [ROWS], labels)), mend: mendZip, read: asLabels("y.npz") },
    {
      name: "labels.txt",
      seeds: [Buffer.from(labels.join(" ")), Buffer.from(`${labels.join("\n")}\n`)],
      read: asLabels("y.txt"),
    },
    { name: "weights.npy", seeds: [npy("float32", [CLASSES], weights)], read: asWeights("w.npy") },
    {
      name: "weights.npz",
      seeds: zips(npy("float64", [CLASSES], Float64Array.from(weights))),
      mend: mendZip,
      read: asWeights("w.npz"),
    },
    { name: "weights.txt", seeds: [Buffer.from("1 2 3 4e-1 .5")], read: asWeights("w.txt") },
    { name: "partials", seeds: partialsSeeds(xent), mend: mendSums, read: readPartials },
    { name: "totals", seeds: totalsSeeds(), mend: mendSums, read: readTotals },
    { name: "task", seeds: [text(TASK)], read: (bytes) => readJson(bytes, (value) => same(readTask(value), value)) },
    {
      name: "answer",
      seeds: [text(ANSWER)],
      read: (bytes) => readJson(bytes, (value) => void readResult(value, ANSWER.id, TASK)),
    },
  ];
  return { all, end: () => xent.dispose() };
}

function partialsSeeds(xent: Xent): Uint8Array[] {
  const parts = [
    {},
    { labelSmoothing: 0.1, classWeights: [1, 2], zLoss: 1e-4, softcap: 30, temperature: 2, sampleWeights: [1, 2, 3] },
  ].map((options) =>
    [0, 2].map((classOffset) => {
      using batch = xent.createBatch({ rows: 3, classes: 2 });
      batch.logits.set([0, 1, 2, 3, -4, 90]);
      batch.labels.set([1, 3, 2]);
      return batch.partials({ ...options, ignoreIndex: 2, classOffset, classesTotal: 4 });
    }),
  );
  const divergent = [0, 2].map((classOffset) => {
    using batch = xent.createBatch({ rows: 3, classes: 2, targets: "logits" });
    batch.logits.set([0, 1, 2, 3, -4, 90]);
    batch.targets.set([0, 2, -Infinity, 3, -4, 80]);
    return batch.partials({ mask: [true, false, true], classOffset, classesTotal: 4 });
  });
  return [...parts, divergent]
    .flatMap((pair) => [...pair, mergePartials(pair)])
    .map((partials) => encodePartials(partials));
}

function totalsSeeds(): Uint8Array[] {
  return [[1], [1, 2 ** -60], [NaN], [Infinity], [-3, 1e300, 1e-300]].map((sum) =>
    encodeTotals(Totals.of({ sum, normalizer: [5] }, 5, 2, sum.length === 2 ? ["0".repeat(32), "f".repeat(32)] : [])),
  );
}

/** Reads partials or totals, and merges them with themselves. */
function readTotals(bytes: Uint8Array): void {
  const totals = decodeTotals(bytes);
  const { sum, normalizer, count, correct, mean } = totals;
  if (!(correct <= count && Number.isSafeInteger(count))) throw new Error("counts");
  const again = decodeTotals(encodeTotals(totals));
  same([again.sum, again.normalizer, again.count, again.mean], [sum, normalizer, count, mean]);
  try {
    totals.merge(again);
  } catch (error) {
    const isRight = 2 * count > Number.MAX_SAFE_INTEGER || totals.sources.length > 0;
    if (!(error instanceof RangeError && isRight)) throw error;
  }
  if (!Number.isSafeInteger(totals.count)) throw new Error("a count beyond 2^53");
}

function readPartials(bytes: Uint8Array): void {
  const partials = decodePartials(bytes);
  same(decodePartials(encodePartials(partials)), partials);
  const isWhole = partials.classes.length === 1 && partials.classes[0]?.[1] === partials.classesTotal;
  const others = emptyOthers(partials);
  const whole = isWhole && partials.classes[0]?.[0] === 0 ? partials : mergePartials(others, partials);
  const { loss, sum, count, correct, predictions } = lossFromPartials(whole);
  const { labels, labelWeight, sampleWeights, maximum, settings } = whole;
  const isWeight = (w: number | undefined): boolean => w !== undefined && w >= 0 && w < Infinity;
  for (const [row, x] of loss.entries()) {
    const isPlain = isWeight(labelWeight[row]) && isWeight(sampleWeights[row]) && settings.labelSmoothing === 0;
    if (!isPlain || (labels[row] as number) < 0 || !Number.isFinite(maximum[row])) continue;
    if (!(x >= 0)) throw new Error(`a loss of ${x} in row ${row}`);
  }
  if (count > partials.rows || correct > count || typeof sum !== "number") throw new Error("counts");
  if (predictions.some((best) => best < -1 || best >= partials.classesTotal)) throw new Error("predictions");
}

/** Shards of the missing classes, whose logits are all -Infinity. */
function emptyOthers({ rows, classes, classesTotal, settings, labels, sampleWeights, weight }: Partials): Partials[] {
  const gaps: [number, number][] = [];
  let next = 0;
  for (const [begin, end] of [...classes, [classesTotal, classesTotal] as const]) {
    if (begin > next) gaps.push([next, begin]);
    next = end;
  }
  const zeros = (): Float64Array => new Float64Array(rows);
  const smoothed = (): Float64Array => new Float64Array(weight.length);
  const divergent = (): Float64Array => new Float64Array(settings.divergence === 1 ? rows : 0);
  return gaps.map(([begin, end]) => {
    const seen = (of: number) => Float64Array.from(labels, (label) => (begin <= label && label < end ? of : NaN));
    return {
      ...{ rows, classesTotal, settings, labels, sampleWeights, classes: [[begin, end]] },
      ...{ maximum: zeros().fill(-Infinity), power: zeros(), sum: zeros(), sumLow: zeros() },
      ...{ labelLogit: seen(-Infinity), labelWeight: seen(1), predictions: new Int32Array(rows).fill(begin) },
      ...{
        weight: smoothed(),
        weightLow: smoothed(),
        margin: smoothed(),
        marginLow: smoothed(),
        bestWeight: smoothed(),
      },
      largest: new Float64Array(settings.softcap > 0 ? rows : 0).fill(NaN),
      ...{ targetMaximum: divergent().fill(-Infinity), targetPower: divergent(), targetSum: divergent() },
      ...{ targetSumLow: divergent(), divergence: divergent(), excess: divergent() },
    };
  });
}

const CONTENT = { size: 368, sha256: "0123456789abcdef".repeat(4) };
const { id, data: TASK } = taskOf(
  { logits: "a/0.npy", labels: "a/0.txt" },
  { shift: 1, variant: "simd128", temperature: 2, classes: 5, strict: true, classWeights: "w.npz:w", batchRows: 7 },
  [CONTENT, CONTENT, CONTENT],
  [],
  false,
) satisfies { data: TaskData };
const ANSWER = {
  ...{ protocol: 2, id, rows: 12, classes: 5, bytes: 240, notFinite: { rows: 1, first: { row: 3, reason: "NaN" } } },
  logits: { name: "a/0.npy", dtype: "float32", shape: [12, 5] },
  labels: { name: "a/0.txt", dtype: "text" },
  totals: Buffer.from(totalsSeeds()[0] as Uint8Array).toString("base64"),
  // Of the 5 rows of these totals: how many, and five sums in two parts each; no clusters; no likeness.
  statistics: Buffer.from(Float64Array.of(5, 1, 0, 1, 0, 5, 0, 1, 0, 5, 0, ...new Float64Array(12)).buffer).toString(
    "base64",
  ),
};

function readJson(bytes: Uint8Array, read: (value: unknown) => void): void {
  let value: unknown;
  try {
    value = JSON.parse(Buffer.from(bytes).toString());
  } catch {
    throw new RangeError("no JSON");
  }
  read(value);
}

function same(got: unknown, wanted: unknown): void {
  const write = (value: unknown): string =>
    JSON.stringify(value, (_, entry: unknown) => {
      if (typeof entry === "number") return Object.is(entry, -0) ? "-0" : String(entry);
      if (ArrayBuffer.isView(entry)) return Array.from(entry as Float64Array, String);
      return typeof entry === "object" && entry !== null && !Array.isArray(entry)
        ? Object.fromEntries(Object.entries(entry).sort(([a], [b]) => (a < b ? -1 : 1)))
        : entry;
    });
  const [a, b] = [write(got), write(wanted)];
  if (a !== b) throw new Error(`${a.slice(0, 300)} instead of ${b.slice(0, 300)}`);
}

function mendSums(bytes: Uint8Array): Uint8Array {
  if (bytes.length < 28) return bytes;
  const mended = bytes.slice();
  const view = new DataView(mended.buffer);
  view.setBigUint64(16, BigInt(mended.length), true);
  view.setUint32(mended.length - 4, crc32(mended.subarray(0, -4)), true);
  return mended;
}

/** Half of the time, changes bytes of a stored entry and corrects its checksum. */
function mendZip(bytes: Uint8Array): Uint8Array {
  const mended = Buffer.from(bytes);
  const directory = mended.indexOf("PK\x01\x02", 0, "latin1");
  if (directory < 40 || directory + 46 > mended.length || mended.readUInt16LE(directory + 10) !== 0) return bytes;
  const sum = crc32(mended.subarray(30 + mended.readUInt16LE(26) + mended.readUInt16LE(28), directory));
  mended.writeUInt32LE(sum, directory + 16);
  return mended;
}

/** Corrects the length of the header. */
function mendSafetensors(bytes: Uint8Array): Uint8Array {
  const mended = Buffer.from(bytes);
  const end = mended.lastIndexOf("}}");
  if (end < 8) return bytes;
  mended.writeBigUInt64LE(BigInt(end + 2 - 8));
  return mended;
}

const corpusFolder = fileURLToPath(new URL("../../fuzz/corpus/files/", import.meta.url));

/** The inputs of the corpus, by target. */
export function corpusOf(name: string): Uint8Array[] {
  const folder = join(corpusFolder, name);
  if (!existsSync(folder)) return [];
  return readdirSync(folder)
    .sort()
    .map((file) => new Uint8Array(readFileSync(join(folder, file))));
}

export function keep(name: string, bytes: Uint8Array): void {
  const folder = join(corpusFolder, name);
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, createHash("sha1").update(bytes).digest("hex")), bytes);
}

/** The outcome of an input, by which new ones are recognised. Throws a finding. */
export async function outcomeOf(target: Target, bytes: Uint8Array): Promise<string> {
  try {
    await target.read(bytes);
    return "read";
  } catch (error) {
    if (!(error instanceof Failure || error instanceof RangeError)) throw error;
    // Where it is refused, and by whom that was asked; of rows, for what.
    const frames = String(error.stack).matchAll(/packages\/\w+\/(?!src\/failure)(\S+:\d+):\d+/g);
    const [column = ""] = / as \w+ of row/.exec(error.message) ?? [];
    return (
      [...frames]
        .slice(0, 2)
        .map(([, place]) => place)
        .join() + column
    );
  }
}
