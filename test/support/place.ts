// The addresses of batches in a memory from which no batch has been freed: one after the other, each with its working memory first.
import { type Batch, type BatchSpec, createXentSync, type LabelsType, type LogitsType, type Xent } from "xent";

const ONE = { rows: 1, classes: 1 };
/** Logits, labels, loss before and after rounding, log-sum-exp, predictions. */
const PARTS_OF_ONE = 6 * 64;

/** Where the next batch's block begins, and the size of the smallest one. */
function measure(xent: Xent): { start: number; size: number } {
  using first = xent.createBatch(ONE);
  using second = xent.createBatch(ONE);
  const size = second.logits.byteOffset - first.logits.byteOffset;
  return { start: first.logits.byteOffset - (size - PARTS_OF_ONE), size };
}

/** Reserves all that is free below this address, a multiple of 64: the next batch's block begins there. */
export function fillUp(xent: Xent, to: number): void {
  const { start, size } = measure(xent);
  xent.createBatch({ ...ONE, stride: (to - start - (size - 64)) / 4 });
}

const fresh = createXentSync();
const { start } = measure(fresh);

/** Bytes between the start of the block of such a batch and its logits. */
export function workBytes(spec: BatchSpec<LogitsType, LabelsType>): number {
  using batch = fresh.createBatch(spec);
  return batch.logits.byteOffset - start;
}

/** The losses of a batch before they are rounded. They have no name, and lie before the rounded ones. */
export function unroundedLosses({ loss, rows }: Batch<LogitsType, LabelsType>): Float64Array {
  if (loss instanceof Float64Array) return loss;
  return new Float64Array(loss.buffer, loss.byteOffset - Math.max(64, Math.ceil((8 * rows) / 64) * 64), rows);
}

/** Where the first block of an instance begins. */
export const BEGIN: number = start;
