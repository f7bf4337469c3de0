import type { Batch, LogitsType, LossOptions, Xent } from "xent";
import { BYTES } from "./dtypes.ts";
import { badData } from "./failure.ts";
import { IGNORED, type Labels } from "./labels.ts";
import type { LogitsFile } from "./logits.ts";
import { type NotFinite, reasonOf } from "./not-finite.ts";
import type { PerRow, Rows } from "./per-row.ts";

/** How files are gone through. */
export interface Stream {
  readonly xent: Xent;
  readonly logits: LogitsFile;
  readonly labels: Labels;
  readonly options: LossOptions;
  readonly batchRows: number | undefined;
  readonly perRow: PerRow | undefined;
  /** Whether a row without a finite loss is an error. */
  readonly strict: boolean;
  readonly signal: AbortSignal;
  readonly onRows: (done: number) => void;
}

/** Over all rows. */
export interface Totals {
  /** Of the losses: added in f64, one row after the other, so that it does not depend on the batches. */
  sum: number;
  correct: number;
  notFinite: NotFinite;
}

/** What a batch takes, if the user does not say: larger ones fall out of the processor's cache before they are computed. */
const BATCH_BYTES = 2 ** 24;
/** Label, loss, log-sum-exp and prediction. */
const RESULT_BYTES = 16;

interface Slot {
  readonly batch: Batch<LogitsType>;
  /** Its logits as bytes: files are read straight into the kernel's memory. */
  readonly bytes: Uint8Array;
  first: number;
  rows: number;
}

/** Computes all rows: while one batch is being computed, the next one is read. */
export async function evaluateRows(stream: Stream): Promise<Totals> {
  const { xent, logits, labels, options, perRow, strict, signal, onRows } = stream;
  const { array, rows, classes, dtype } = logits;
  const rowBytes = classes * BYTES[dtype];
  const batchRows = Math.min(
    rows,
    stream.batchRows ?? Math.max(1, Math.floor(BATCH_BYTES / (rowBytes + RESULT_BYTES))),
  );
  // The memory is shared, so these views stay valid when it grows.
  const slots = Array.from({ length: batchRows < rows ? 2 : 1 }, (): Slot => {
    const batch = batchOf(xent, { rows: batchRows, classes, logits: dtype }, array.name);
    const { buffer, byteOffset, byteLength } = batch.logits;
    return { batch, bytes: new Uint8Array(buffer, byteOffset, byteLength), first: 0, rows: 0 };
  });

  let first = 0;
  const fill = async (slot: Slot): Promise<Slot> => {
    slot.first = first;
    slot.rows = Math.min(batchRows, rows - first);
    first += slot.rows;
    const wanted = slot.bytes.subarray(0, slot.rows * rowBytes);
    const got = await array.bytes.read(wanted);
    if (got < wanted.length) {
      throw badData(`${array.name}: truncated in row ${slot.first + Math.floor(got / rowBytes)} of ${rows}`);
    }
    await labels.read(slot.batch.labels.subarray(0, slot.rows));
    return slot;
  };

  const totals: Totals = { sum: 0, correct: 0, notFinite: { rows: 0 } };
  let next: Promise<Slot> | undefined = fill(slots[0] as Slot);
  try {
    for (let turn = 1; next !== undefined; turn++) {
      const current: Slot = await next;
      signal.throwIfAborted();
      next = first < rows ? fill(slots[turn % 2] as Slot) : undefined;
      // Its failure is for the next turn, and must not end the process before.
      next?.catch(() => {});
      const { batch } = current;
      const result = await batch.runAsync({ ...options, predictions: true, rows: [0, current.rows] });
      totals.correct += result.correct ?? 0;
      const results: Rows = {
        first: current.first,
        labels: batch.labels.subarray(0, current.rows),
        loss: result.loss,
        predictions: result.predictions ?? new Int32Array(),
      };
      add(totals, results, batch, dtype);
      const { first: wrong } = totals.notFinite;
      if (strict && wrong) throw badData(`${array.name}: row ${wrong.row} has no finite loss: ${wrong.reason}`);
      await perRow?.write(results);
      onRows(current.first + current.rows);
    }
    await labels.end();
  } finally {
    // Nothing may be written into a memory that is given back.
    await next?.catch(() => {});
  }
  return totals;
}

function batchOf(
  xent: Xent,
  spec: { readonly rows: number; readonly classes: number; readonly logits: LogitsType },
  name: string,
): Batch<LogitsType> {
  try {
    return xent.createBatch(spec);
  } catch (cause) {
    if (!(cause instanceof RangeError)) throw cause;
    const rows = spec.rows === 1 ? "one row" : `${spec.rows} rows`;
    throw badData(`${name}: ${rows} of ${spec.classes} ${spec.logits} do not fit into memory: ${cause.message}`);
  }
}

function add(totals: Totals, { first, labels, loss }: Rows, batch: Batch<LogitsType>, dtype: LogitsType): void {
  const { notFinite } = totals;
  const { classes } = batch;
  for (let row = 0; row < loss.length; row++) {
    const value = loss[row] as number;
    totals.sum += value;
    if (Number.isFinite(value) || labels[row] === IGNORED) continue;
    notFinite.rows++;
    if (notFinite.first) continue;
    const logits = batch.logits.subarray(row * classes, (row + 1) * classes);
    notFinite.first = { row: first + row, reason: reasonOf(logits, dtype, labels[row] as number) };
  }
}
