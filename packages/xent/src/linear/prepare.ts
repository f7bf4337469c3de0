// A run's options and labels are checked here, once and before anything is written.

import { countRows, type DivergenceOptions, readDivergence } from "../divergence.ts";
import { copyLabels, IGNORED, readLabels } from "../labels.ts";
import { boolean, type LossOptions, ownWeights, readOptions, type Settings } from "../options.ts";
import type { LayerMemory } from "./layer-memory.ts";

/** Options of a run: those of a batch. */
export interface LinearOptions<G extends boolean = boolean, P extends boolean = boolean> extends LossOptions<G, P> {
  /** Whether the gradients of weight and bias are added to what is there, instead of being written. Default false. */
  accumulate?: boolean | undefined;
  /** Of a layer whose targets are logits: which rows count. */
  mask?: DivergenceOptions["mask"];
}

/** A run that is ready to be computed. */
export interface Prepared {
  readonly settings: Settings;
  readonly accumulate: boolean;
  /** Of each row, checked; undefined where there are targets. */
  readonly labels: Int32Array | undefined;
  /** Rows that are computed. */
  readonly kept: Uint32Array;
  readonly count: number;
  readonly normalizer: number;
}

interface Read {
  readonly settings: Settings;
  readonly accumulate: boolean;
  readonly mask: Uint8Array | undefined;
}

/** Checks the options. Code of the caller's (a getter, a Proxy) runs here only. */
export function readLinearOptions(options: LinearOptions | undefined, memory: LayerMemory): Read {
  const { rows, classes, targets, gradient } = memory.plan;
  const accumulate = boolean("accumulate", options?.accumulate ?? false);
  const read = targets === "logits" ? readDivergence(options, rows, classes, ["accumulate"]) : undefined;
  const settings = ownWeights(read?.settings ?? readOptions(options, rows, classes, ["accumulate"]));
  if (settings.gradient && gradient.size === 0) {
    throw new TypeError('"gradient" expected a layer with memory for it: create it with gradient: true');
  }
  if (accumulate && !settings.gradient) throw new TypeError('"accumulate" expected gradient: true');
  if (targets === true && settings.ignoreIndex !== undefined) {
    throw new TypeError('"ignoreIndex" expected a layer with labels: this one has soft targets');
  }
  return { settings, accumulate, mask: read?.mask };
}

/** Checks the labels, and finds the rows that are to be computed. */
export function prepare({ settings, accumulate, mask }: Read, memory: LayerMemory): Prepared {
  const { rows, classes, shift, sequence } = memory.plan;
  const { ignoreIndex, classWeights, sampleWeights, invalidLabels } = settings;
  let [count, normalizer] = [rows, rows];
  let ofRows: Int32Array | undefined;
  const { labels } = memory;
  if (labels) {
    const rules = { classes, ignoreIndex, classWeights, strict: invalidLabels === "throw", shift, sequence };
    [count, normalizer] = readLabels(labels, rules, 0, rows);
    ofRows = new Int32Array(rows);
    copyLabels(labels, rules, 0, rows, ofRows);
  } else if (mask) count = normalizer = countRows(mask, 0, rows);
  const kept = new Uint32Array(rows);
  let length = 0;
  for (let row = 0; row < rows; row++) {
    if (ofRows?.[row] !== IGNORED && sampleWeights?.[row] !== 0) kept[length++] = row;
  }
  return { settings, accumulate, labels: ofRows, kept: kept.subarray(0, length), count, normalizer };
}
