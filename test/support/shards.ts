import { expect } from "vitest";
import {
  type Batch,
  type DivergenceOptions,
  decodePartials,
  encodePartials,
  type LogitsType,
  type LossOptions,
  lossFromPartials,
  mergePartials,
  type Partials,
  type PartialsResult,
  type Xent,
} from "xent";
import { firstDifference } from "./bytes.ts";
import type { Result } from "./expected.ts";
import { generate } from "./golden.ts";

/** All bits of partials, as they are sent. */
export const bits = (partials: Partials): string => Buffer.from(encodePartials(partials)).toString("base64");

/** Rows of logits in any layout. */
export interface Whole {
  readonly dtype: LogitsType;
  readonly shape: readonly number[];
  readonly axis: number;
  readonly logits: Float32Array | Float64Array | Uint16Array;
  readonly labels: Int32Array;
  /** Instead of labels, in the layout of the logits. */
  readonly targets?: Float32Array | undefined;
  /** Instead of labels: those of another model. */
  readonly targetLogits?: Float32Array | Float64Array | Uint16Array | undefined;
}

/** A range of the classes, in a batch of its own. */
export interface Part {
  readonly batch: Batch<LogitsType>;
  readonly partials: Partials;
  /** Copies an array of the batch to its places in the layout of the whole. */
  readonly copyTo: (whole: Float32Array | Float64Array, from: Float32Array | Float64Array) => void;
}

/** The cuts between `count` shards of nearly equal size. */
export function evenCuts(classes: number, count: number): number[] {
  return Array.from({ length: count + 1 }, (_, i) => Math.floor((i * classes) / count));
}

/** Encodes and decodes partials, as another machine gets them; decoding must accept all that are computed or merged. */
function sent(partials: Partials): Partials {
  const bytes = encodePartials(partials);
  const received = decodePartials(bytes);
  expect(firstDifference(encodePartials(received), bytes)).toBeUndefined();
  expect(Object.keys(received).sort()).toEqual(Object.keys(partials).sort());
  return received;
}

/** Distributes the classes over shards, from each cut to the next. */
export function makeParts(
  xent: Xent,
  { dtype, shape, axis, logits, labels, targets, targetLogits }: Whole,
  cuts: readonly number[],
  { classWeights, ...options }: LossOptions & DivergenceOptions,
  gradient: boolean | "in-place",
): Part[] {
  const at = axis < 0 ? axis + shape.length : axis;
  const classesTotal = shape[at] as number;
  const inner = shape.slice(at + 1).reduce((a, b) => a * b, 1);
  const outer = shape.slice(0, at).reduce((a, b) => a * b, 1);
  return cuts.slice(1).map((end, i) => {
    const begin = cuts[i] as number;
    const layout = { shape: shape.with(at, end - begin), axis, logits: dtype, gradient };
    const kind = targetLogits ? "logits" : targets !== undefined;
    const batch = xent.createBatch({ ...layout, targets: kind }) as Batch<LogitsType>;
    // For each index of the axes before the class axis, the shard has one contiguous piece.
    const size = (end - begin) * inner;
    const place = (o: number): number => (o * classesTotal + begin) * inner;
    for (let o = 0; o < outer; o++) {
      (batch.logits as Float32Array).set(logits.subarray(place(o), place(o) + size) as Float32Array, o * size);
      const of = targets ?? targetLogits;
      if (of) (batch.targets as Float32Array).set(of.subarray(place(o), place(o) + size) as Float32Array, o * size);
    }
    if (kind === false) batch.labels.set(labels);
    const weights = classWeights && { classWeights: Float32Array.from(classWeights).subarray(begin, end) };
    const partials = sent(batch.partials({ ...options, ...weights, classOffset: begin, classesTotal }));
    const copyTo: Part["copyTo"] = (whole, from) => {
      for (let o = 0; o < outer; o++) whole.set(from.subarray(o * size, (o + 1) * size), place(o));
    };
    return { batch, partials, copyTo };
  });
}

/** The result of a run, computed in shards. */
export function runInShards(
  xent: Xent,
  whole: Whole,
  cuts: readonly number[],
  options: LossOptions & DivergenceOptions,
): Result & Pick<PartialsResult, "count"> {
  const gradient: Float32Array | Float64Array =
    whole.dtype === "float64" ? new Float64Array(whole.logits.length) : new Float32Array(whole.logits.length);
  const parts = makeParts(xent, whole, cuts, options, true);
  const merged = sent(mergePartials(parts.map(({ partials }) => partials)));
  for (const { batch, copyTo } of parts) {
    copyTo(gradient, batch.gradientFromPartials(merged));
    batch.dispose();
  }
  return { ...lossFromPartials(merged), gradient };
}

/** Random rows by a seed, so that a failure can be repeated. */
export function randomWhole(rows: number, classes: number, seed: number, spread = 8): Whole {
  const spec = { rows, classes, seed, bits: 16, shift: 16 - Math.log2(2 * spread), boost: 0 };
  return { dtype: "float32", shape: [rows, classes], axis: -1, ...generate(spec) };
}
