import { JOB_BYTES } from "../abi.ts";
import { checkNames, choice, integer, wrongType, wrongValue } from "../errors.ts";
import { LABELS, type LabelsType, labelsType } from "../labels.ts";
import { layoutOfRows } from "../layout.ts";
import { boolean } from "../options.ts";
import { bytesOfWork, planBatch, readSpec } from "../plan.ts";
import { SCHEDULE_BYTES } from "../pool/schedule.ts";
import type { WasmModule } from "../wasm.ts";
import { scratchBytes } from "./product.ts";

/** The typed arrays of weights. 16-bit numbers are given as their bits: not every runtime has a Float16Array. */
export interface WeightArrays {
  float32: Float32Array;
  float16: Uint16Array;
  bfloat16: Uint16Array;
}

/** The name of a type of weights. */
export type WeightType = keyof WeightArrays;

/** What a gradient is taken of. */
export type Parameter = "features" | "weight" | "bias";

/** Size and types of a linear layer with its loss. `W`, `K`: the types of weight and labels. */
export interface LinearSpec<W extends WeightType = WeightType, K extends LabelsType = LabelsType> {
  /** Rows of features, at least 0. */
  rows: number;
  /** Features of a row, at least 1: the width of the layer's input. */
  features: number;
  /** Classes, at least 1. */
  classes: number;
  /** Type of the weight. Default "float32". Its gradient is float32 in any case. */
  weight?: W | undefined;
  /** Whether there is a bias, a number for each class. Default false. */
  bias?: boolean | undefined;
  /** Type of the labels. Default "int32". */
  labels?: K | undefined;
  /** Next-token labels: row i has label i + shift, and the last `shift` rows of each sequence are ignored. Default 0. */
  shift?: number | undefined;
  /** Rows of one sequence, for `shift`. Default: all rows. */
  sequence?: number | undefined;
  /** Whose gradients there is memory for; true: all. Default false: none. */
  gradient?: boolean | readonly Parameter[] | undefined;
  /**
   * Rows whose logits are in the memory at a time, at most 256. Default: as few chunks as possible, equally long. The fewer, the less
   * memory, and below 96 the slower. The weight's gradient depends on it, in its last bits.
   */
  chunkRows?: number | undefined;
  /**
   * The products' module, compiled from one of this version's xent-linear .wasm files, where nothing may be compiled at run time: of
   * the instance's variant, and -shared where its memory is.
   */
  module?: WasmModule | undefined;
}

const SPEC = [
  ...["rows", "features", "classes", "weight", "bias", "labels", "shift", "sequence", "gradient", "chunkRows"],
  "module",
];

/** Rows of a chunk: the weight's packed rows stay in the caches, and few of the products' time is packing. */
const MOST_ROWS = 256;
/** Columns of an item of the features' gradient, at most. */
export const MOST_COLUMNS = 256;

/** A checked specification, and where its parts lie in a block of memory. */
export interface LinearPlan<W extends WeightType = WeightType, K extends LabelsType = LabelsType> {
  readonly rows: number;
  readonly features: number;
  readonly classes: number;
  readonly weight: W;
  readonly labels: K;
  readonly bias: boolean;
  readonly shift: number;
  readonly sequence: number;
  readonly gradient: ReadonlySet<Parameter>;
  readonly chunkRows: number;
  /** From one row of the chunk's logits to the next. */
  readonly stride: number;
  readonly scratchBytes: number;
  /** What the loss of a chunk takes: a batch. */
  readonly batch: { rows: number; classes: number; stride: number; gradient: "in-place" | false };
  readonly batchBytes: number;
  /** Of the block. */
  readonly bytes: number;
  /** Offsets in it; undefined for what there is not. */
  readonly offsets: Offsets;
}

interface Offsets {
  readonly features: number;
  readonly weight: number;
  readonly labels: number;
  readonly bias: number | undefined;
  readonly featuresGradient: number | undefined;
  readonly weightGradient: number | undefined;
  readonly biasGradient: number | undefined;
  readonly product: number;
  readonly index: number;
  readonly packed: number;
  /** Of the bias's gradient, in f64. */
  readonly biasSums: number | undefined;
  readonly scratch: number;
}

const WEIGHT_BYTES = { float32: 4, float16: 2, bfloat16: 2 } as const;

function inBlocks(bytes: number): number {
  return Math.max(64, Math.ceil(bytes / 64) * 64);
}

/** Least multiple of `step` that is not below. */
export function upTo(step: number, length: number): number {
  return Math.ceil(length / step) * step;
}

/** Checks a specification and lays out its parts. `indices`, `slots`: threads of the instance's pool. */
export function planLinear<W extends WeightType, K extends LabelsType>(
  spec: LinearSpec<W, K>,
  indices: number,
  slots: number,
): LinearPlan<W, K> {
  checkNames("spec", spec, SPEC);
  const { rows, classes } = layoutOfRows(spec.rows, spec.classes);
  const features = integer("features", spec.features, 1, 2 ** 29 - 1);
  const weight = choice("weight", spec.weight ?? "float32", ["float32", "float16", "bfloat16"]) as W;
  const labels = labelsType(spec.labels ?? "int32") as K;
  const bias = boolean("bias", spec.bias ?? false);
  const gradient = readGradient(spec.gradient, bias);
  const shift = integer("shift", spec.shift ?? 0, 0, 2 ** 31);
  const sequence = integer("sequence", spec.sequence ?? Math.max(1, rows), 1, 2 ** 32);
  if (rows % sequence !== 0) throw wrongValue("sequence", `a divisor of ${rows} rows`, sequence);
  const chunkRows = readChunk(spec.chunkRows, rows);

  const padded = upTo(4, chunkRows);
  const columns = Math.min(MOST_COLUMNS, upTo(8, features));
  const stride = strideOf(classes);
  const scratch = upTo(64, scratchBytes(padded, columns));
  let bytes = 0;
  const part = (size: number): number => {
    const offset = bytes;
    bytes += inBlocks(size);
    return offset;
  };
  const offsets: Offsets = {
    features: part(4 * rows * features),
    weight: part(WEIGHT_BYTES[weight] * classes * features),
    labels: part(LABELS[labels].BYTES_PER_ELEMENT * rows),
    bias: bias ? part(4 * classes) : undefined,
    featuresGradient: gradient.has("features") ? part(4 * rows * features) : undefined,
    weightGradient: gradient.has("weight") ? part(4 * classes * features) : undefined,
    biasGradient: gradient.has("bias") ? part(4 * classes) : undefined,
    // The pool's words lie where they do behind the record of a loss, which is longer than a product's.
    product: part(JOB_BYTES + SCHEDULE_BYTES),
    index: part(4 * padded),
    packed: part(4 * padded * upTo(8, features)),
    biasSums: gradient.has("bias") ? part(8 * upTo(4, classes)) : undefined,
    scratch: part(scratch * indices),
  };
  const inPlace: "in-place" | false = gradient.size > 0 && "in-place";
  const batch = { rows: padded, classes, stride, gradient: inPlace };
  const loss = readSpec(batch);
  const batchBytes = planBatch(loss).bytes + bytesOfWork(loss.layout, slots, true);
  const sizes = { rows, features, classes, weight, labels, bias, shift, sequence, gradient, chunkRows, stride };
  return { ...sizes, scratchBytes: scratch, batch, batchBytes, bytes, offsets };
}

function readGradient(gradient: unknown = false, bias: boolean): ReadonlySet<Parameter> {
  const all: Parameter[] = bias ? ["features", "weight", "bias"] : ["features", "weight"];
  if (typeof gradient === "boolean") return new Set(gradient ? all : []);
  if (!Array.isArray(gradient)) throw wrongType("gradient", "true, false or an array of parameters", gradient);
  for (const name of gradient) {
    if (choice("gradient", name, ["features", "weight", "bias"]) === "bias" && !bias) {
      throw wrongValue("gradient", "parameters that there are, and there is no bias", name);
    }
  }
  return new Set(gradient as Parameter[]);
}

function readChunk(asked: unknown, rows: number): number {
  if (asked !== undefined) return Math.max(1, Math.min(rows, integer("chunkRows", asked, 1, MOST_ROWS)));
  const chunks = Math.max(1, Math.ceil(rows / MOST_ROWS));
  return Math.max(1, chunks === 1 ? rows : upTo(4, rows / chunks));
}

/** Rows that lie a power of two apart would share the same lines of the caches. */
function strideOf(classes: number): number {
  const stride = upTo(8, classes);
  return stride % 512 === 0 ? stride + 16 : stride;
}

/**
 * Bytes of the instance's memory that {@link createLinear} takes with this specification, of which all but the chunk's are arrays of the
 * caller's. `threads`: those of the instance.
 */
export function bytesOf(spec: LinearSpec, threads = 1): number {
  integer("threads", threads, 1, 256);
  const { bytes, batchBytes } = planLinear(spec, threads, threads === 1 ? 1 : threads + 1);
  return bytes + batchBytes;
}
