import { JOB_BYTES } from "../abi.ts";
import { checkNames, choice, integer, wrongType, wrongValue } from "../errors.ts";
import { LABELS, type LabelsType, labelsType } from "../labels.ts";
import { layoutOfRows } from "../layout.ts";
import type { TargetsType } from "../logits.ts";
import { boolean } from "../options.ts";
import { bytesOfWork, planBatch, readSpec } from "../plan.ts";
import { SCHEDULE_BYTES } from "../pool/schedule.ts";
import type { WasmModule } from "../wasm.ts";
import { ROWS, scratchBytes } from "./product.ts";

/** The typed arrays of weights. 16-bit numbers are stored as bits, because not every runtime has a Float16Array. */
export interface WeightArrays {
  float32: Float32Array;
  float16: Uint16Array;
  bfloat16: Uint16Array;
}

/** The name of a type of weights. */
export type WeightType = keyof WeightArrays;

/** What a gradient is taken with respect to. */
export type Parameter = "features" | "weight" | "bias";

/** The input and parameters of a linear layer. `W`: the type of its weight. */
export interface LayerSpec<W extends WeightType = WeightType> {
  /** Features of a row, at least 1: the width of the layer's input. */
  features: number;
  /** Type of the weight. Default "float32". Its gradient is float32 in any case. */
  weight?: W | undefined;
  /** Whether there is a bias, a number for each class. Default false. */
  bias?: boolean | undefined;
}

/**
 * What the logits are compared with. false: labels. true: soft targets, which are probabilities. "logits": the logits of another model;
 * the loss is the divergence from its softmax. A layer: the same with the logits of that layer, which are not stored either.
 */
export type LinearTargets = TargetsType | LayerSpec;

/** Size and types of a linear layer with its loss. `W`, `K`, `T`: the types of weight, labels and targets. */
export interface LinearSpec<
  W extends WeightType = WeightType,
  K extends LabelsType = LabelsType,
  T extends LinearTargets = false,
> extends LayerSpec<W> {
  /** Rows of features, at least 0. */
  rows: number;
  /** Classes, at least 1. */
  classes: number;
  /**
   * What replaces the labels. true: soft targets, [rows, classes]. "logits": the logits of another model, [rows, classes]. The
   * specification of a layer: the last layer of another model, with the same rows and classes. Default false: nothing does.
   */
  targets?: T | undefined;
  /** Type of the labels. Default "int32". */
  labels?: K | undefined;
  /** Next-token labels: row i has label i + shift, and the last `shift` rows of each sequence are ignored. Default 0. */
  shift?: number | undefined;
  /** Rows of one sequence, for `shift`. Default: all rows. */
  sequence?: number | undefined;
  /** The parameters whose gradients the layer has memory for; true: all of them. Default false: none. */
  gradient?: boolean | readonly Parameter[] | undefined;
  /**
   * Rows whose logits are in memory at a time, at most 256. Default: as few chunks as possible, of equal length. Fewer rows take less
   * memory; below 96 they are slower. The last bits of the weight's gradient depend on this number.
   */
  chunkRows?: number | undefined;
  /**
   * The module of the products, for environments that do not allow compiling at run time. Compile it from one of the xent-linear .wasm
   * files of this version: the one for the instance's variant, with -shared in its name if the instance's memory is shared.
   */
  module?: WasmModule | undefined;
}

/** A specification with any types. */
export type AnyLinearSpec = LinearSpec<WeightType, LabelsType, LinearTargets>;

const SPEC = [
  ...["rows", "features", "classes", "weight", "bias", "targets", "labels", "shift", "sequence", "gradient"],
  ...["chunkRows", "module"],
];
const LAYER = ["features", "weight", "bias"];

/** The most rows of a chunk. The packed rows of the weight stay in the caches, and packing takes little of the products' time. */
const MOST_ROWS = 256;
/** The most columns of an item of the features' gradient. */
export const MOST_COLUMNS = 256;

/**
 * Classes of a tile. Without gradients, the logits of a chunk are computed tile by tile, so their memory does not grow with the classes.
 */
export const TILE = 8192;

interface LayerSizes<W extends WeightType> {
  readonly features: number;
  readonly weight: W;
  readonly bias: boolean;
}

/** A checked layer, and the offsets of its arrays. */
export interface LayerPlan<W extends WeightType = WeightType> extends LayerSizes<W> {
  readonly offsets: {
    readonly features: number;
    readonly weight: number;
    readonly bias: number | undefined;
    /** The features of a chunk, packed for the products. */
    readonly packed: number;
  };
}

/** A checked specification, and the offsets of its parts in a block of memory. */
export interface LinearPlan<W extends WeightType = WeightType, K extends LabelsType = LabelsType> {
  readonly rows: number;
  readonly classes: number;
  readonly layer: LayerPlan<W>;
  readonly labels: K;
  readonly targets: TargetsType;
  /** The layer whose logits are the targets; undefined if the caller writes the targets, or there are labels. */
  readonly targetLayer: LayerPlan | undefined;
  readonly shift: number;
  readonly sequence: number;
  readonly gradient: ReadonlySet<Parameter>;
  readonly chunkRows: number;
  readonly scratchBytes: number;
  /** Batches that compute the loss of a chunk: one of all classes or, with tiles, one of a tile and one of the rest, if there is a rest. */
  readonly batches: readonly ChunkSpec[];
  readonly batchBytes: number;
  /** Bytes of the block. */
  readonly bytes: number;
  /** Offsets in the block; undefined for parts that the layer does not have. */
  readonly offsets: Offsets;
}

/** The specification of the batch of a chunk, or of a tile of a chunk. */
export interface ChunkSpec {
  readonly rows: number;
  readonly classes: number;
  readonly stride: number;
  readonly gradient: "in-place" | false;
  readonly targets: TargetsType;
}

interface Offsets {
  readonly labels: number | undefined;
  /** Soft targets, or target logits that the caller writes. */
  readonly targets: number | undefined;
  readonly featuresGradient: number | undefined;
  readonly weightGradient: number | undefined;
  readonly biasGradient: number | undefined;
  readonly product: number;
  readonly index: number;
  /** Sums of the bias's gradient, in f64. */
  readonly biasSums: number | undefined;
  readonly scratch: number;
}

/** Bytes of one number of a weight. */
export const WEIGHT_BYTES = { float32: 4, float16: 2, bfloat16: 2 } as const;

function inBlocks(bytes: number): number {
  return Math.max(64, Math.ceil(bytes / 64) * 64);
}

/** The least multiple of `step` that is not below `length`. */
export function upTo(step: number, length: number): number {
  return Math.ceil(length / step) * step;
}

/** Checks a specification and lays out its parts. `indices`, `slots`: threads of the instance's pool. */
export function planLinear<W extends WeightType, K extends LabelsType, T extends LinearTargets>(
  spec: LinearSpec<W, K, T>,
  indices: number,
  slots: number,
): LinearPlan<W, K> {
  checkNames("spec", spec, SPEC);
  const { rows, classes } = layoutOfRows(spec.rows, spec.classes);
  const own = readLayer("", spec);
  const { targets, other } = readLinearTargets(spec.targets);
  const labels = labelsType(spec.labels ?? "int32") as K;
  const gradient = readGradient(spec.gradient, own.bias);
  if (targets !== false) {
    for (const name of ["labels", "shift", "sequence"] as const) {
      if (spec[name] !== undefined) throw new TypeError(`"${name}" expected a layer with labels: this one has targets`);
    }
  }
  const shift = integer("shift", spec.shift ?? 0, 0, 2 ** 31);
  const sequence = integer("sequence", spec.sequence ?? Math.max(1, rows), 1, 2 ** 32);
  if (rows % sequence !== 0) throw wrongValue("sequence", `a divisor of ${rows} rows`, sequence);
  const chunkRows = readChunk(spec.chunkRows, rows);

  const padded = upTo(ROWS, chunkRows);
  const scratch = upTo(64, scratchBytes(padded, Math.min(MOST_COLUMNS, upTo(8, own.features))));
  let bytes = 0;
  const part = (size: number): number => {
    const offset = bytes;
    bytes += inBlocks(size);
    return offset;
  };
  const place = <V extends WeightType>(sizes: LayerSizes<V>): LayerPlan<V> => {
    const offsets = {
      features: part(4 * rows * sizes.features),
      weight: part(WEIGHT_BYTES[sizes.weight] * classes * sizes.features),
      bias: sizes.bias ? part(4 * classes) : undefined,
      packed: part(4 * padded * upTo(8, sizes.features)),
    };
    return { ...sizes, offsets };
  };
  const layer = place(own);
  const targetLayer = other && place(other);
  const offsets: Offsets = {
    labels: targets === false ? part(LABELS[labels].BYTES_PER_ELEMENT * rows) : undefined,
    targets: targets !== false && targetLayer === undefined ? part(4 * rows * classes) : undefined,
    featuresGradient: gradient.has("features") ? part(4 * rows * own.features) : undefined,
    weightGradient: gradient.has("weight") ? part(4 * classes * own.features) : undefined,
    biasGradient: gradient.has("bias") ? part(4 * classes) : undefined,
    // The words of the pool have the same offset as after the record of a loss, which is longer than that of a product.
    product: part(JOB_BYTES + SCHEDULE_BYTES),
    index: part(4 * padded),
    biasSums: gradient.has("bias") ? part(8 * upTo(4, classes)) : undefined,
    scratch: part(scratch * indices),
  };
  const batches = tilesOf(classes, gradient.size > 0).map((classes) => {
    const inPlace: "in-place" | false = gradient.size > 0 && "in-place";
    return { rows: padded, classes, stride: strideOf(classes), gradient: inPlace, targets };
  });
  const batchBytes = batches.reduce((sum, batch) => {
    const loss = readSpec(batch);
    return sum + planBatch(loss).bytes + bytesOfWork(loss.layout, slots, true);
  }, 0);
  const sizes = { rows, classes, layer, labels, targets, targetLayer, shift, sequence, gradient, chunkRows };
  return { ...sizes, scratchBytes: scratch, batches, batchBytes, bytes, offsets };
}

function readLayer<W extends WeightType>(of: "" | "targets.", spec: LayerSpec<W>): LayerSizes<W> {
  const features = integer(`${of}features`, spec.features, 1, 2 ** 29 - 1);
  const weight = choice(`${of}weight`, spec.weight ?? "float32", ["float32", "float16", "bfloat16"]) as W;
  return { features, weight, bias: boolean(`${of}bias`, spec.bias ?? false) };
}

function readLinearTargets(given: unknown = false): { targets: TargetsType; other?: LayerSizes<WeightType> } {
  if (typeof given === "boolean" || given === "logits") return { targets: given };
  const expected = 'true, false, "logits" or the specification of a layer';
  if (typeof given !== "object" || given === null) {
    throw (typeof given === "string" ? wrongValue : wrongType)("targets", expected, given);
  }
  checkNames("targets", given, LAYER);
  return { targets: "logits", other: readLayer("targets.", given as LayerSpec) };
}

/** The classes of each batch of a chunk. */
function tilesOf(classes: number, isWhole: boolean): number[] {
  if (isWhole || classes <= TILE) return [classes];
  const rest = classes % TILE;
  return rest === 0 ? [TILE] : [TILE, rest];
}

function readGradient(gradient: unknown = false, bias: boolean): ReadonlySet<Parameter> {
  const all: Parameter[] = bias ? ["features", "weight", "bias"] : ["features", "weight"];
  if (typeof gradient === "boolean") return new Set(gradient ? all : []);
  if (!Array.isArray(gradient)) throw wrongType("gradient", "true, false or an array of parameters", gradient);
  for (const name of gradient) {
    if (choice("gradient", name, ["features", "weight", "bias"]) === "bias" && !bias) {
      throw wrongValue("gradient", "parameters of the layer, which has no bias", name);
    }
  }
  return new Set(gradient as Parameter[]);
}

function readChunk(asked: unknown, rows: number): number {
  if (asked !== undefined) return Math.max(1, Math.min(rows, integer("chunkRows", asked, 1, MOST_ROWS)));
  const chunks = Math.max(1, Math.ceil(rows / MOST_ROWS));
  return Math.max(1, chunks === 1 ? rows : upTo(4, rows / chunks));
}

/** The distance of two rows of a chunk's logits. Rows at a distance of a power of two would share the same sets of the caches. */
export function strideOf(classes: number): number {
  const stride = upTo(8, classes);
  return stride % 512 === 0 ? stride + 16 : stride;
}

/**
 * Bytes of the instance's memory that {@link createLinear} takes for this specification: the caller's arrays, and what one chunk needs.
 * `threads`: the threads of the instance.
 */
export function bytesOf(spec: AnyLinearSpec, threads = 1): number {
  integer("threads", threads, 1, 256);
  const { bytes, batchBytes } = planLinear(spec, threads, threads === 1 ? 1 : threads + 1);
  return bytes + batchBytes;
}
