import { RECORD_BYTES } from "./abi.ts";
import { checkNames, integer, wrongType, wrongValue } from "./errors.ts";
import { LABELS, type LabelsType, labelsType } from "./labels.ts";
import { assertRowFits, type Layout, layoutOfRows, layoutOfShape } from "./layout.ts";
import { GRADIENTS, LOGITS, LOSSES, type LogitsType, logitsType, type TargetsType } from "./logits.ts";
import type { Settings } from "./options.ts";
import { mostRecordBytes } from "./pool/schedule.ts";

/** Whether a batch has memory for a gradient: its own, or that of the logits ("in-place": the gradient replaces the logits). */
export type BatchGradient = boolean | "in-place";

/** Size, layout and types of a batch: `rows` and `classes`, or a `shape`. */
export type BatchSpec<
  L extends LogitsType = "float32",
  K extends LabelsType = "int32",
  G extends BatchGradient = BatchGradient,
  T extends TargetsType = TargetsType,
> = (BatchOfRows | BatchOfShape) & BatchTypes<L, K, G, T>;

/** Size of a batch whose rows are contiguous. */
export interface BatchOfRows {
  /** Rows, at least 0. */
  rows: number;
  /** Classes, at least 1. */
  classes: number;
  /** Elements from the start of one row to the next, for padded vocabularies. At least `classes`, the default. */
  stride?: number | undefined;
  shape?: undefined;
  axis?: undefined;
}

/** Size of a batch of any rank. */
export interface BatchOfShape {
  /** The sizes of all axes of the logits. */
  shape: readonly number[];
  /** The class axis in `shape`, counted from the end if negative. Default -1. */
  axis?: number | undefined;
  rows?: undefined;
  classes?: undefined;
  stride?: undefined;
}

/** The arrays of a batch. */
export interface BatchTypes<
  L extends LogitsType,
  K extends LabelsType,
  G extends BatchGradient,
  T extends TargetsType,
> {
  /** Type of the logits. Default "float32". */
  logits?: L | undefined;
  /** Type of the labels. Default "int32", the only type that a run does not convert. */
  labels?: K | undefined;
  /**
   * What the batch has instead of labels. true: soft targets, which are probabilities. "logits": the logits of another model; the loss
   * is then the divergence from its softmax. Both have the layout of the logits. Default false.
   */
  targets?: T | undefined;
  /**
   * For next-token labels without a shifted copy: row i has label i + shift, and the last `shift` rows of each sequence are ignored.
   * Default 0.
   */
  shift?: number | undefined;
  /** Rows of one sequence, for `shift`. Default: all rows. */
  sequence?: number | undefined;
  /** Whether the batch has memory for a gradient. Default false. */
  gradient?: G | undefined;
}

/** The addresses of the arrays of a batch; 0 if it has no such array. */
interface Regions {
  readonly logits: number;
  readonly labels: number;
  readonly targets: number;
  readonly gradient: number;
  /** Losses before they are rounded. */
  readonly losses: number;
  /** Rounded losses; 0 if the losses are f64. */
  readonly loss: number;
  readonly logSumExp: number;
  readonly predictions: number;
  /** Labels converted for the kernel; 0 if it reads them in place. */
  readonly kernelLabels: number;
}

/** A checked specification of a batch. */
export interface BatchParts<
  L extends LogitsType = LogitsType,
  K extends LabelsType = LabelsType,
  G extends BatchGradient = BatchGradient,
  T extends TargetsType = TargetsType,
> {
  readonly layout: Layout;
  readonly logits: L;
  readonly labels: K;
  readonly gradient: G;
  readonly targets: T;
  readonly shift: number;
  readonly sequence: number;
}

/** A batch with addresses in a memory. */
export interface PlacedBatch<
  L extends LogitsType = LogitsType,
  K extends LabelsType = LabelsType,
  G extends BatchGradient = BatchGradient,
  T extends TargetsType = TargetsType,
> extends BatchParts<L, K, G, T> {
  readonly regions: Regions;
  /** Address and size of a run's working memory, for the owner or for the worker that this was shared with. */
  readonly buffer: number;
  readonly bufferBytes: number;
}

/** A batch as data that can be sent to a worker, where `attachBatch` turns it into a {@link Batch}. */
export type SharedBatch<
  L extends LogitsType = LogitsType,
  K extends LabelsType = LabelsType,
  G extends BatchGradient = BatchGradient,
  T extends TargetsType = TargetsType,
> = PlacedBatch<L, K, G, T> & {
  /** The number by which the memory of the batch is known. */
  readonly id: number;
};

/** The cost of a class, in units of the plain loss, which decides whether another thread pays off. */
export function costOf({ logits, targets, regions }: PlacedBatch, { softcap, labelSmoothing }: Settings): number {
  if (targets === "logits") return logits === "float64" ? 8 : 4;
  const dense = labelSmoothing > 0 || regions.targets !== 0 ? 0.5 : 0;
  return (logits === "float64" ? 2.5 : 1) * (1 + dense + (softcap === undefined ? 0 : 3));
}

/** Whether several threads may share a row: its logits are contiguous, and the loss is not a divergence. */
export function isDivisible({ layout, targets }: PlacedBatch): boolean {
  return layout.classStride === 1 && targets !== "logits";
}

/**
 * Bytes of working memory that a run may need, with any options. They are reserved with the batch, so no run grows the memory, which
 * would detach views. `slots`: threads that may take part. `sharded`: whether the batch may be a shard.
 */
export function bytesOfWork({ rows, classes }: Layout, slots: number, sharded: boolean): number {
  const records = mostRecordBytes(rows, classes, slots) + (sharded ? RECORD_BYTES * rows : 0);
  return inBlocks(records + 4 * classes + 4 * rows);
}

const ALIGNMENT = 64;

function inBlocks(bytes: number): number {
  return Math.max(ALIGNMENT, Math.ceil(bytes / ALIGNMENT) * ALIGNMENT);
}

const SPEC = [
  ...["rows", "classes", "stride", "shape", "axis"],
  ...["logits", "labels", "targets", "shift", "sequence", "gradient"],
];

/** Checks a specification. */
export function readSpec<L extends LogitsType, K extends LabelsType, G extends BatchGradient, T extends TargetsType>(
  spec: BatchSpec<L, K, G, T>,
): BatchParts<L, K, G, T> {
  checkNames("spec", spec, SPEC);
  const { gradient = false, targets = false, logits: ofLogits = "float32", labels: ofLabels = "int32" } = spec;
  const logits = logitsType(ofLogits) as L;
  const labels = labelsType(ofLabels) as K;
  const layout = readLayout(spec);
  const size = LOGITS[logits].BYTES_PER_ELEMENT;
  if (targets !== true && targets !== false && targets !== "logits") {
    throw (typeof targets === "string" ? wrongValue : wrongType)("targets", 'true, false or "logits"', targets);
  }
  if (gradient !== true && gradient !== false && gradient !== "in-place") {
    throw (typeof gradient === "string" ? wrongValue : wrongType)("gradient", 'true, false or "in-place"', gradient);
  }
  if (gradient === "in-place" && GRADIENTS[logits].BYTES_PER_ELEMENT !== size) {
    throw wrongValue("gradient", `true or false: the gradient of ${logits} logits is float32`, gradient);
  }
  const { rows } = layout;
  const shift = integer("shift", spec.shift ?? 0, 0, 2 ** 31);
  if (targets !== false && shift > 0) throw new TypeError('"shift" expected a batch with labels: this one has targets');
  const sequence = integer("sequence", spec.sequence ?? Math.max(1, rows), 1, 2 ** 32);
  if (rows % sequence !== 0) throw wrongValue("sequence", `a divisor of ${rows} rows`, sequence);
  return { layout, logits, labels, gradient: gradient as G, targets: targets as T, shift, sequence };
}

/** The memory that a batch needs. */
export interface BatchPlan<L extends LogitsType, K extends LabelsType, G extends BatchGradient, T extends TargetsType> {
  /** Bytes of its arrays. */
  readonly bytes: number;
  /** Places the batch in a block at this address. The block begins with the working memory; the arrays follow. */
  at(address: number, workBytes: number): PlacedBatch<L, K, G, T>;
}

/** Lays out the parts of a batch. Throws RangeError for rows that are too long for the kernel. */
export function planBatch<L extends LogitsType, K extends LabelsType, G extends BatchGradient, T extends TargetsType>(
  parts: BatchParts<L, K, G, T>,
): BatchPlan<L, K, G, T> {
  const { layout, logits, labels, gradient, targets, shift } = parts;
  const { rows, elements } = layout;
  assertRowFits(layout, LOGITS[logits].BYTES_PER_ELEMENT);
  let bytes = 0;
  const part = (size: number): number => {
    const offset = bytes;
    bytes += inBlocks(size);
    return offset;
  };
  const offsets = {
    logits: part(LOGITS[logits].BYTES_PER_ELEMENT * elements),
    labels: targets ? undefined : part(LABELS[labels].BYTES_PER_ELEMENT * rows),
    targets: targets ? part((targets === "logits" ? LOGITS[logits].BYTES_PER_ELEMENT : 4) * elements) : undefined,
    gradient: gradient === true ? part(GRADIENTS[logits].BYTES_PER_ELEMENT * elements) : undefined,
    losses: part(8 * rows),
    loss: logits === "float64" ? undefined : part(4 * rows),
    logSumExp: part(LOSSES[logits].BYTES_PER_ELEMENT * rows),
    predictions: part(4 * rows),
    kernelLabels: targets || (labels === "int32" && shift === 0) ? undefined : part(4 * rows),
  };
  if (gradient === "in-place") offsets.gradient = offsets.logits;
  const at = (address: number, workBytes: number): PlacedBatch<L, K, G, T> => {
    const place = (offset: number | undefined): number => (offset === undefined ? 0 : address + workBytes + offset);
    const regions: Regions = {
      logits: place(offsets.logits),
      labels: place(offsets.labels),
      targets: place(offsets.targets),
      gradient: place(offsets.gradient),
      losses: place(offsets.losses),
      loss: place(offsets.loss),
      logSumExp: place(offsets.logSumExp),
      predictions: place(offsets.predictions),
      kernelLabels: place(offsets.kernelLabels),
    };
    return { ...parts, regions, buffer: address, bufferBytes: workBytes };
  };
  return { bytes, at };
}

function readLayout({ rows, classes, stride, shape, axis }: BatchSpec<LogitsType, LabelsType>): Layout {
  if (shape === undefined) {
    if (axis !== undefined) throw wrongType("shape", 'the sizes of all axes, because "axis" is given', shape);
    return layoutOfRows(rows, classes, stride);
  }
  if (rows !== undefined || classes !== undefined || stride !== undefined) {
    throw new TypeError('"shape" replaces rows, classes and stride: give one or the other');
  }
  return layoutOfShape(shape, axis);
}
