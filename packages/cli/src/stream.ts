import {
  type Batch,
  type BatchSpec,
  type LogitsType,
  type LossOptions,
  type Partials,
  type PartialsOptions,
  Totals,
  type Xent,
} from "xent";
import { BYTES } from "./dtypes.ts";
import { badData } from "./failure.ts";
import { IGNORED, type Labels } from "./labels.ts";
import type { LogitsFile } from "./logits.ts";
import { LogitsView } from "./logits-view.ts";
import { type NotFinite, reasonOf } from "./not-finite.ts";
import type { ComputedRows } from "./statistics.ts";

/** Files that are read in batches of rows. */
export interface Stream {
  readonly xent: Xent;
  readonly logits: LogitsFile;
  /** Other files with logits of the same rows. */
  readonly others?: readonly LogitsFile[];
  readonly labels: Labels;
  readonly batchRows: number | undefined;
  readonly signal: AbortSignal;
  readonly onRows: (done: number) => void;
}

/** A stream whose losses are computed. */
export interface Evaluating extends Stream {
  readonly options: LossOptions;
  /** Called with the results of all rows, in order. */
  readonly onResults: (computed: ComputedRows) => Promise<void>;
  /** Whether a row without a finite loss is an error. */
  readonly strict: boolean;
}

/** The default size of a batch. A larger one would leave the processor's cache before it is computed. */
const BATCH_BYTES = 2 ** 24;
/** Bytes of a row's label, loss, log-sum-exp and prediction. */
const RESULT_BYTES = 16;

/** One batch for each file of logits. */
export type Batches = readonly [Batch<LogitsType>, ...Batch<LogitsType>[]];

interface Slot {
  readonly batches: Batches;
  /** The logits of the batches as bytes: files are read straight into the kernel's memory. */
  readonly bytes: readonly Uint8Array[];
  first: number;
  rows: number;
}

/** Computes the losses of all rows. */
export async function evaluateRows(stream: Evaluating): Promise<{ totals: Totals; notFinite: NotFinite }> {
  const { logits, options, onResults, strict } = stream;
  const { array, dtype, classes, inner } = logits;
  const found: { totals: Totals; notFinite: NotFinite } = { totals: new Totals(), notFinite: { rows: 0 } };
  await eachBatch(stream, async ([batch], first, count) => {
    const result = await batch.runAsync({ ...options, predictions: true, rows: [0, count] });
    const { loss, logSumExp, predictions, correct = 0 } = result;
    const view = new LogitsView(batch.logits, dtype, classes, inner);
    const results = { first, labels: batch.labels.subarray(0, count), loss, logSumExp, predictions, logits: view };
    const { classWeights } = options;
    // Without weights, the normalizer is a count, which is exact.
    if (classWeights === undefined) found.totals.add({ loss, normalizer: result.count, count: result.count, correct });
    else found.totals.addRows(loss, weightsOf(results.labels, classWeights), correct);
    lookForNotFinite(found.notFinite, results);
    const { first: wrong } = found.notFinite;
    if (strict && wrong) throw badData(`${array.name}: row ${wrong.row} has no finite loss: ${wrong.reason}`);
    await onResults(results);
  });
  return found;
}

/** The partials of all rows. `shard`: the file's classes, and the options of the loss. */
export async function partialsOfRows(stream: Stream, shard: PartialsOptions): Promise<Partials> {
  const parts: Partials[] = [];
  await eachBatch(stream, async ([batch], _, count) => {
    parts.push(await batch.partialsAsync({ ...shard, rows: [0, count] }));
  });
  return rowsTogether(parts);
}

/** Joins partials of consecutive rows. */
function rowsTogether(parts: readonly Partials[]): Partials {
  const [first] = parts as [Partials];
  const rows = parts.reduce((sum, part) => sum + part.rows, 0);
  const columns = Object.entries(first).map(([name, column]) => {
    if (!ArrayBuffer.isView(column)) return [name, column];
    const all = parts.map((part) => part[name as "sum"]);
    const together = new (column.constructor as typeof Float64Array)(all.reduce((sum, { length }) => sum + length, 0));
    let at = 0;
    for (const array of all) {
      together.set(array, at);
      at += array.length;
    }
    return [name, together];
  });
  return { ...(Object.fromEntries(columns) as Partials), rows };
}

/** Goes through all rows. While one batch of each file is computed, the next one is read. */
export async function eachBatch(
  stream: Stream,
  compute: (batches: Batches, first: number, rows: number) => Promise<void>,
): Promise<void> {
  const { xent, logits, others = [], labels, signal, onRows } = stream;
  const { rows, classes, inner } = logits;
  const files = [logits, ...others] as const;
  const rowBytes = files.map(({ dtype }) => classes * BYTES[dtype]);
  const bytesOfRow = rowBytes.reduce((sum, bytes) => sum + bytes + RESULT_BYTES, 0);
  const wanted = stream.batchRows ?? Math.floor(BATCH_BYTES / bytesOfRow);
  // A batch has whole groups of interleaved rows.
  const batchRows = Math.min(rows, Math.max(1, Math.floor(wanted / inner)) * inner);
  const size = inner === 1 ? { rows: batchRows, classes } : { shape: [batchRows / inner, classes, inner], axis: 1 };
  // The memory is shared, so these views stay valid when it grows.
  const slots = Array.from({ length: batchRows < rows ? 2 : 1 }, (): Slot => {
    const batches = files.map(({ array, dtype }) =>
      batchOf(xent, { ...size, logits: dtype }, `${array.name}: ${batchRows} rows of ${classes} ${dtype}`),
    );
    const bytes = batches.map(({ logits: { buffer, byteOffset, byteLength } }) => {
      return new Uint8Array(buffer, byteOffset, byteLength);
    });
    return { batches: batches as unknown as Batches, bytes, first: 0, rows: 0 };
  });

  let first = 0;
  const fill = async (slot: Slot): Promise<Slot> => {
    slot.first = first;
    slot.rows = Math.min(batchRows, rows - first);
    first += slot.rows;
    for (const [i, { array }] of files.entries()) {
      const into = slot.bytes[i] as Uint8Array;
      await array.bytes.read(into.subarray(0, slot.rows * (rowBytes[i] as number)));
    }
    const [{ labels: into }, ...copies] = slot.batches;
    await labels.read(into.subarray(0, slot.rows));
    for (const copy of copies) copy.labels.set(into.subarray(0, slot.rows));
    return slot;
  };

  let next: Promise<Slot> | undefined = fill(slots[0] as Slot);
  try {
    for (let turn = 1; next !== undefined; turn++) {
      const current: Slot = await next;
      signal.throwIfAborted();
      next = first < rows ? fill(slots[turn % 2] as Slot) : undefined;
      // A failure is handled in the next turn, and must not end the process before.
      next?.catch(() => {});
      await compute(current.batches, current.first, current.rows);
      onRows(current.first + current.rows);
    }
    await labels.end();
  } finally {
    // The read must end before the memory that it writes to is freed.
    await next?.catch(() => {});
    if (!signal.aborted) for (const batch of slots.flatMap(({ batches }) => batches)) batch.dispose();
  }
}

function batchOf(xent: Xent, spec: BatchSpec<LogitsType, "int32", false, false>, what: string): Batch<LogitsType> {
  try {
    return xent.createBatch(spec);
  } catch (cause) {
    if (!(cause instanceof RangeError)) throw cause;
    throw badData(`${what.replace(": 1 rows", ": one row")} do not fit into memory: ${cause.message}`);
  }
}

/** The weights of the rows that are not ignored. */
function weightsOf(labels: Int32Array, classWeights: NonNullable<LossOptions["classWeights"]>): Float32Array {
  const weights = new Float32Array(labels.length);
  let count = 0;
  for (const label of labels) if (label !== IGNORED) weights[count++] = classWeights[label] as number;
  return weights.subarray(0, count);
}

/** Counts rows without a finite loss, and records the first one. */
export function lookForNotFinite(notFinite: NotFinite, { first, labels, loss, logits }: ComputedRows): void {
  for (let row = 0; row < loss.length; row++) {
    if (Number.isFinite(loss[row]) || labels[row] === IGNORED) continue;
    notFinite.rows++;
    if (notFinite.first) continue;
    notFinite.first = { row: first + row, reason: reasonOf(logits.row(row), logits.dtype, labels[row] as number) };
  }
}
