import { JOB_BYTES } from "../abi.ts";
import { checkNames, choice, integer, wrongType, wrongValue } from "../errors.ts";
import { LABELS, type LabelsType, labelsType } from "../labels.ts";
import { layoutOfRows } from "../layout.ts";
import type { TargetsType } from "../logits.ts";
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
 * What the logits are compared with. false: labels. true: soft targets, which are probabilities. "logits": those of another model, and
 * the loss is the divergence from its softmax. A layer: the same, with the logits of that layer, which are not stored either.
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
   * What there is instead of labels: true: soft targets, [rows, classes]. "logits": another model's logits, [rows, classes]. The
   * specification of a layer: another model's last layer, of as many rows and classes. Default false.
   */
  targets?: T | undefined;
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

/** Any of them. */
export type AnyLinearSpec = LinearSpec<WeightType, LabelsType, LinearTargets>;

const SPEC = [
  ...["rows", "features", "classes", "weight", "bias", "targets", "labels", "shift", "sequence", "gradient"],
  ...["chunkRows", "module"],
];
const LAYER = ["features", "weight", "bias"];

/** Rows of a chunk: the weight's packed rows stay in the caches, and few of the products' time is packing. */
const MOST_ROWS = 256;
/** Columns of an item of the features' gradient, at most. */
export const MOST_COLUMNS = 256;

/**
 * Classes of a tile. Without gradients, the logits of a chunk are computed tile by tile, so their memory does not grow with the classes.
 */
export const TILE = 2048;

interface LayerSizes<W extends WeightType> {
  readonly features: number;
  readonly weight: W;
  readonly bias: boolean;
}

/** A layer, checked, and where its arrays lie. */
export interface LayerPlan<W extends WeightType = WeightType> extends LayerSizes<W> {
  readonly offsets: {
    readonly features: number;
    readonly weight: number;
    readonly bias: number | undefined;
    /** The features of a chunk, as products read them. */
    readonly packed: number;
  };
}

/** A checked specification, and where its parts lie in a block of memory. */
export interface LinearPlan<W extends WeightType = WeightType, K extends LabelsType = LabelsType> {
  readonly rows: number;
  readonly classes: number;
  readonly layer: LayerPlan<W>;
  readonly labels: K;
  readonly targets: TargetsType;
  /** Whose logits are the targets, if those are not given. */
  readonly targetLayer: LayerPlan | undefined;
  readonly shift: number;
  readonly sequence: number;
  readonly gradient: ReadonlySet<Parameter>;
  readonly chunkRows: number;
  readonly scratchBytes: number;
  /** Batches that find the loss of a chunk: one of all classes; or, where they are tiled, one of a tile, and one of the rest if there is. */
  readonly batches: readonly ChunkSpec[];
  readonly batchBytes: number;
  /** Of the block. */
  readonly bytes: number;
  /** Offsets in it; undefined for what there is not. */
  readonly offsets: Offsets;
}

/** The specification of the batch of a chunk, or of a tile of one. */
export interface ChunkSpec {
  readonly rows: number;
  readonly classes: number;
  readonly stride: number;
  readonly gradient: "in-place" | false;
  readonly targets: TargetsType;
}

interface Offsets {
  readonly labels: number | undefined;
  /** Soft targets, or logits that are given. */
  readonly targets: number | undefined;
  readonly featuresGradient: number | undefined;
  readonly weightGradient: number | undefined;
  readonly biasGradient: number | undefined;
  readonly product: number;
  readonly index: number;
  /** Of the bias's gradient, in f64. */
  readonly biasSums: number | undefined;
  readonly scratch: number;
}

/** Bytes of a number of a weight. */
export const WEIGHT_BYTES = { float32: 4, float16: 2, bfloat16: 2 } as const;

function inBlocks(bytes: number): number {
  return Math.max(64, Math.ceil(bytes / 64) * 64);
}

/** Least multiple of `step` that is not below. */
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

  const padded = upTo(4, chunkRows);
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
    // The pool's words lie where they do behind the record of a loss, which is longer than a product's.
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

/** From one row of a chunk's logits to the next. Rows that lie a power of two apart would share the same lines of the caches. */
export function strideOf(classes: number): number {
  const stride = upTo(8, classes);
  return stride % 512 === 0 ? stride + 16 : stride;
}

/**
 * Bytes of the instance's memory that {@link createLinear} takes with this specification, of which all but the chunk's are arrays of the
 * caller's. `threads`: those of the instance.
 */
export function bytesOf(spec: AnyLinearSpec, threads = 1): number {
  integer("threads", threads, 1, 256);
  const { bytes, batchBytes } = planLinear(spec, threads, threads === 1 ? 1 : threads + 1);
  return bytes + batchBytes;
}
