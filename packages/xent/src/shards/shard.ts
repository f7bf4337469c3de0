import { RECORD_BYTES } from "../abi.ts";
import { integer, show, wrongType } from "../errors.ts";
import { IGNORED } from "../labels.ts";
import type { LossOptions, Settings } from "../options.ts";
import { assertComplete, gradientRecord, normalizerOf } from "./loss.ts";
import { emptyPartials, type Partials, type PartialsSettings, SETTINGS } from "./partials.ts";

/** Which classes of how many a batch has. */
export interface ShardOptions {
  /** The first of the batch's classes. */
  classOffset: number;
  /** All classes, of which the labels are. */
  classesTotal: number;
}

/** Options of a shard: class weights are those of the batch's classes. */
export type PartialsOptions = LossOptions & ShardOptions & { rows?: readonly [begin: number, end: number] };

/** Names of {@link ShardOptions}. */
export const SHARD_OPTIONS = ["classOffset", "classesTotal"] as const;

/** A shard whose partials are being made, or, with what has come of them, its gradient. */
export interface Shard extends ShardOptions {
  readonly merged: Partials | undefined;
}

/** Checks the options of a shard. */
export function readShard(options: PartialsOptions | undefined, classes: number): Shard {
  if (typeof options !== "object" || options === null) {
    throw wrongType("options", "an object with classOffset and classesTotal", options);
  }
  const classesTotal = integer("classesTotal", options.classesTotal, classes, 2 ** 31 - 1);
  const classOffset = integer("classOffset", options.classOffset, 0, classesTotal - classes);
  return { classOffset, classesTotal, merged: undefined };
}

const RECORD = RECORD_BYTES / 8;

/** The rows of a job: labels as the kernel has them, and where the records of all rows begin. */
export interface ShardRows {
  readonly buffer: ArrayBufferLike;
  readonly records: number;
  readonly labels: Int32Array;
  readonly ignoreIndex: number | undefined;
  readonly begin: number;
  readonly end: number;
}

/** Copies what the kernel has found out of its memory. */
export function readPartials(at: ShardRows, shard: Shard, classes: number, settings: Settings): Partials {
  const { classOffset, classesTotal } = shard;
  const { begin, end } = at;
  const like = { rows: end - begin, classesTotal, settings: settingsOf(settings) };
  const partials = emptyPartials(like, [[classOffset, classOffset + classes]]);
  partials.labels.set(labelsOf(at, classesTotal));
  partials.sampleWeights.fill(1);
  if (settings.sampleWeights) partials.sampleWeights.set(settings.sampleWeights.subarray(begin, end));
  const { maximum, sum, power, labelLogit, predictions, labelWeight, weight, weightLow, weighted, weightedLow } =
    partials;
  const columns = [maximum, sum, power, labelLogit, predictions, labelWeight, weight, weightLow, weighted, weightedLow];
  const records = new Float64Array(at.buffer, at.records + begin * RECORD_BYTES, (end - begin) * RECORD);
  for (let row = 0; row < end - begin; row++) {
    for (let i = 0; i < RECORD; i++) (columns[i] as Float64Array)[row] = records[row * RECORD + i] as number;
    const best = predictions[row] as number;
    if (best >= 0) predictions[row] = best + classOffset;
  }
  return partials;
}

/** Throws RangeError unless these are the rows of the job, complete. */
export function assertMerged(merged: Partials, at: ShardRows, { classesTotal }: Shard, settings: Settings): void {
  assertComplete(merged);
  const differs = (what: string, expected: unknown, got: unknown): RangeError =>
    new RangeError(`"merged" expected ${what} of the last partials(), ${show(expected)}, got ${show(got)}`);
  const rows = at.end - at.begin;
  if (merged.rows !== rows) throw differs("the rows", rows, merged.rows);
  if (merged.classesTotal !== classesTotal) throw differs("the classesTotal", classesTotal, merged.classesTotal);
  const own = settingsOf(settings);
  for (const name of SETTINGS) {
    if (own[name] !== merged.settings[name]) throw differs(`the ${name}`, own[name], merged.settings[name]);
  }
  const labels = labelsOf(at, classesTotal);
  const row = labels.findIndex((label, i) => label !== merged.labels[i]);
  if (row >= 0) throw differs(`the label of row ${at.begin + row}`, labels[row], merged.labels[row]);
}

/** Writes what the kernel takes to make the gradient. */
export function writeMerged(merged: Partials, at: ShardRows, { reduction }: Settings): void {
  const normalizer = reduction === "mean" ? normalizerOf(merged) : 1;
  const scale = normalizer === 0 ? 0 : 1 / normalizer;
  const records = new Float64Array(at.buffer, at.records + at.begin * RECORD_BYTES, merged.rows * RECORD);
  for (let row = 0; row < merged.rows; row++) records.set(gradientRecord(merged, row, scale), row * RECORD);
}

function settingsOf({ labelSmoothing, zLoss, softcap = 0, temperature }: Settings): PartialsSettings {
  return { labelSmoothing, zLoss, softcap, temperature };
}

/** As they are in {@link Partials}. */
function labelsOf({ labels, ignoreIndex, begin, end }: ShardRows, classes: number): Int32Array {
  return labels.slice(begin, end).map((label) => {
    if (label === ignoreIndex) return IGNORED;
    return label >= 0 && label < classes ? label : -2;
  });
}
