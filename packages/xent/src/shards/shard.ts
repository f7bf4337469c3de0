import { RECORD_BYTES } from "../abi.ts";
import type { DivergenceOptions } from "../divergence.ts";
import { integer, show, wrongType } from "../errors.ts";
import { INVALID } from "../labels.ts";
import type { TargetsType } from "../logits.ts";
import type { LossOptions, Settings } from "../options.ts";
import { type Column, type Partials, type PartialsSettings, SETTINGS } from "./columns.ts";
import { assertComplete, gradientRecord, normalizerOf } from "./loss.ts";
import { assertOwn, type Own } from "./own.ts";
import { emptyPartials } from "./partials.ts";

/** The place of a batch's classes among all classes. */
export interface ShardOptions {
  /** The first of the batch's classes. */
  classOffset: number;
  /** The number of all classes. Labels are in [0, classesTotal). */
  classesTotal: number;
}

/** Options of a shard. Class weights are those of the batch's classes. */
export type PartialsOptions = LossOptions &
  Pick<DivergenceOptions, "mask"> &
  ShardOptions & { rows?: readonly [begin: number, end: number] | undefined };

/** Names of {@link ShardOptions}. */
export const SHARD_OPTIONS = ["classOffset", "classesTotal"] as const;

/** A shard that computes partials or, from merged partials, its gradient. */
export interface Shard extends ShardOptions {
  readonly merged: MergedPartials | undefined;
  /** For a batch with memory for a gradient: what it keeps of its last partials. */
  readonly own: Own | undefined;
}

/** What a run does with merged partials. Functions, so that a bundle without shards does not have their code. */
export interface MergedPartials {
  /** Throws RangeError unless the partials are those of this run. */
  check(labels: Int32Array | undefined, settings: Settings): void;
  /** Writes the records from which the kernel computes the gradient, one for each row of the batch. */
  write(records: Float64Array, settings: Settings): void;
}

/** Checks the options of a shard. */
export function readShard(options: PartialsOptions | undefined, classes: number): Shard {
  if (typeof options !== "object" || options === null) {
    throw wrongType("options", "an object with classOffset and classesTotal", options);
  }
  const classesTotal = integer("classesTotal", options.classesTotal, classes, 2 ** 31 - 1);
  const classOffset = integer("classOffset", options.classOffset, 0, classesTotal - classes);
  return { classOffset, classesTotal, merged: undefined, own: undefined };
}

/** The number of f64 in a record. */
export const RECORD: number = RECORD_BYTES / 8;

/** The fields of a record: `Partial` in crates/kernel/src/partial.rs. */
const FIELDS = [
  ...["maximum", "sum", "power", "labelLogit", "predictions", "labelWeight"],
  ...["weight", "margin", "bestWeight", "largest"],
] as const;

/** The fields of a record of a divergence: crates/kernel/src/divergence/partial.rs. */
const FIELDS_OF_DIVERGENCE = [
  ...["maximum", "sum", "power", "targetMaximum", "predictions", "targetPower"],
  ...["targetSum", "divergence", "excess"],
] as const;

/**
 * Copies the partials of the rows from `begin` to `end` out of the kernel's memory. The first record and label are those of `begin`.
 * Soft targets have no labels.
 */
export function readPartials(
  records: Float64Array,
  labels: Int32Array | undefined,
  [begin, end]: readonly [number, number],
  { classOffset, classesTotal, classes }: ShardOptions & { readonly classes: number },
  settings: Settings,
  targets: TargetsType,
): Partials {
  const rows = end - begin;
  const like = { rows, classesTotal, settings: settingsOf(settings, targets) };
  const partials = emptyPartials(like, [[classOffset, classOffset + classes]]);
  if (labels) partials.labels.set(labels);
  else partials.labels.fill(INVALID);
  partials.sampleWeights.fill(1);
  if (settings.sampleWeights) partials.sampleWeights.set(settings.sampleWeights.subarray(begin, begin + rows));
  const fields = targets === "logits" ? FIELDS_OF_DIVERGENCE : FIELDS;
  if (targets === "logits") for (const column of [partials.labelLogit, partials.labelWeight]) column.fill(NaN);
  for (let row = 0; row < rows; row++) {
    for (const [i, name] of fields.entries()) partials[name as Column][row] = records[row * RECORD + i] as number;
    const best = partials.predictions[row] as number;
    if (best >= 0) partials.predictions[row] = best + classOffset;
  }
  return partials;
}

/** Throws RangeError unless the merged partials have these rows and labels, and all classes, and can include the batch's own. */
export function assertMerged(
  merged: Partials,
  labels: Int32Array | undefined,
  rows: number,
  { classesTotal, own }: Shard,
  settings: Settings,
  targets: TargetsType,
): void {
  assertComplete(merged);
  const differs = (what: string, expected: unknown, got: unknown): RangeError =>
    new RangeError(`"merged" expected ${what} of the last partials(), ${show(expected)}, got ${show(got)}`);
  if (merged.rows !== rows) throw differs("the rows", rows, merged.rows);
  if (merged.classesTotal !== classesTotal) throw differs("the classesTotal", classesTotal, merged.classesTotal);
  const given = settingsOf(settings, targets);
  for (const name of SETTINGS) {
    if (given[name] !== merged.settings[name]) throw differs(`the ${name}`, given[name], merged.settings[name]);
  }
  const row = labels?.findIndex((label, i) => label !== merged.labels[i]) ?? -1;
  if (labels && row >= 0) throw differs(`the label of row ${row}`, labels[row], merged.labels[row]);
  if (own) assertOwn(own, merged);
}

/** Writes the merged results from which the kernel computes the gradient of the rows from `begin` on. */
export function writeMerged(
  merged: Partials,
  records: Float64Array,
  begin: number,
  { classOffset }: Shard,
  { reduction }: Settings,
): void {
  const normalizer = reduction === "mean" ? normalizerOf(merged) : 1;
  const scale = normalizer === 0 ? 0 : 1 / normalizer;
  for (let row = 0; row < merged.rows; row++) {
    records.set(gradientRecord(merged, row, scale, classOffset), (begin + row) * RECORD);
  }
}

function settingsOf(
  { labelSmoothing, zLoss, softcap = 0, temperature }: Settings,
  targets: TargetsType,
): PartialsSettings {
  const [softTargets, divergence] = [targets === true ? 1 : 0, targets === "logits" ? 1 : 0];
  return { labelSmoothing, zLoss, softcap, temperature, softTargets, divergence };
}
