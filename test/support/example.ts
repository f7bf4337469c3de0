import type { Batch, BatchSpec, LossOptions, LossResult, Xent } from "xent";
import { copyBytes } from "./bytes.ts";
import { generate } from "./golden.ts";

/** Reproducible rows: logits in [-8, 8), labels in [0, classes). */
export function exampleRows(rows: number, classes: number, seed = 1): { logits: Float32Array; labels: Int32Array } {
  return generate({ rows, classes, seed, bits: 16, shift: 12, boost: 0 });
}

/** The specification of a batch by rows and classes. */
export type RowsSpec = BatchSpec & { rows: number; classes: number };

/** The rows of the last batches: many batches have the same. */
const made = new Map<string, ReturnType<typeof exampleRows>>();
const MOST_MADE = 8;

/** A batch that holds {@link exampleRows}. */
export function exampleBatch(xent: Xent, spec: RowsSpec, seed = 1): Batch {
  const batch = xent.createBatch(spec);
  const name = [spec.rows, spec.classes, seed].join();
  const { logits, labels } = made.get(name) ?? exampleRows(spec.rows, spec.classes, seed);
  made.set(name, { logits, labels });
  for (const [oldest] of made) if (made.size > MOST_MADE) made.delete(oldest);
  batch.logits.set(logits);
  batch.labels.set(labels);
  return batch;
}

/** All results that can be asked for. */
export const EVERYTHING: LossOptions = { gradient: true, predictions: true };

/** A result as plain data that `toEqual` compares bit by bit: also -0 and the bits of a NaN. */
export function bitsOf(result: LossResult<Float32Array | Float64Array>): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(result).map(([name, value]) => [
      name,
      ArrayBuffer.isView(value) ? Buffer.from(copyBytes(value)).toString("base64") : value,
    ]),
  );
}
