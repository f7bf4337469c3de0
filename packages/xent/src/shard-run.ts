// The runs of a batch that has some of the classes: one computes its partials, one its gradient from merged partials.

import { checkNames, choice } from "./errors.ts";
import { REDUCTIONS, type Reduction } from "./options.ts";
import type { PlacedBatch } from "./plan.ts";
import { assertPossible, type Job, type Run, readRun, recordsOf } from "./run.ts";
import type { Partials } from "./shards/columns.ts";
import { assertUnchanged, ownOf } from "./shards/own.ts";
import {
  assertMerged,
  type MergedPartials,
  type PartialsOptions,
  RECORD,
  readPartials,
  readShard,
  SHARD_OPTIONS,
  type Shard,
  writeMerged,
} from "./shards/shard.ts";
import type { BatchMemory } from "./views.ts";

const PARTIALS_OPTIONS = ["rows", ...SHARD_OPTIONS];

/** Checks the options of partials. */
export function readPartialsRun(options: PartialsOptions, plan: PlacedBatch): Run {
  const shard = readShard(options, plan.layout.classes);
  return { ...readRun(options, plan, PARTIALS_OPTIONS), shard };
}

/** The run that computes the gradient after these partials were merged. */
export function readMergedRun(
  { settings: ofPartials, begin, end, copy, shard: ofRun, mask }: Run,
  merged: Partials,
  options: { reduction?: Reduction | undefined } = {},
  batch: BatchMemory,
): Run {
  checkNames("options", options, ["reduction"]);
  const { reduction = ofPartials.reduction } = options;
  const settings = { ...ofPartials, gradient: true, reduction: choice("reduction", reduction, REDUCTIONS) };
  const { layout, targets } = batch.plan;
  assertPossible(settings, batch.plan);
  const shard = ofRun as Shard;
  const ofMerged: MergedPartials = {
    check: (labels, now) => {
      assertMerged(merged, labels, end - begin, shard, now, targets);
      if (shard.own) assertUnchanged(shard.own, batch.views, layout, begin);
    },
    write: (records, now) => writeMerged(merged, records, begin, shard, now),
  };
  return { settings, begin, end, copy, shard: { ...shard, merged: ofMerged }, mask };
}

/** The partials of a shard's job. */
export function partialsOf(batch: BatchMemory, { run, labels, shardRecords }: Job): Partials {
  const { classes } = batch.plan.layout;
  const records = recordsOf(batch, shardRecords).subarray(RECORD * run.begin);
  const shard = { ...(run.shard as Shard), classes };
  return readPartials(records, labels.copy, [run.begin, run.end], shard, run.settings, batch.plan.targets);
}

/** The run of these partials, with what the gradient's run compares. */
export function keepPartials(batch: BatchMemory, run: Run, partials: Partials): Run {
  const { layout, regions } = batch.plan;
  if (regions.gradient === 0) return run;
  return { ...run, shard: { ...(run.shard as Shard), own: ownOf(partials, batch.views, layout, run.begin) } };
}
