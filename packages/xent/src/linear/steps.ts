import type { Batch } from "../index.ts";
import type { Settings } from "../options.ts";
import type { LossResult } from "../result.ts";
import type { Partials } from "../shards/columns.ts";
import { lossFromPartials } from "../shards/loss.ts";
import { mergePartials } from "../shards/partials.ts";
import type { LayerMemory } from "./layer-memory.ts";
import { type LayerPlan, type LinearTargets, MOST_COLUMNS, strideOf, TILE, upTo, WEIGHT_BYTES } from "./plan.ts";
import type { Prepared } from "./prepare.ts";
import { KIND, LOGITS_ITEM, type Product, ROWS, WEIGHT_ITEM, WEIGHT_TYPES } from "./product.ts";
import { emptyResult, type Found, gather, type LinearResult } from "./result.ts";

/** The batch of a chunk, or of a tile of a chunk. */
export type ChunkBatch = Batch<"float32", "int32">;

/** A product, whose items several threads may compute. */
export interface ProductStep {
  readonly product: Product;
  readonly items: number;
  /** The cost of an item, in classes of the plain loss. */
  readonly cost: number;
}

/** A step of a run: a product, the loss of a chunk, or the partials of a tile. */
export type Step =
  | ProductStep
  | { readonly batch: ChunkBatch; readonly loss: Parameters<ChunkBatch["run"]>[0] }
  | { readonly batch: ChunkBatch; readonly partials: Parameters<ChunkBatch["partials"]>[0] };

/** The rows of a chunk, and the inputs of their loss. */
interface Chunk {
  readonly rows: Uint32Array;
  readonly labels: Int32Array | undefined;
  readonly options: Parameters<ChunkBatch["run"]>[0];
}

/** Multiply-adds that take as long as a class of the plain loss. */
const MADDS = 8;

type AnyResult = LinearResult<boolean, boolean, LinearTargets>;

/** Yields steps, receives the result of each, and returns R. */
type Sequence<R> = Generator<Step, R, LossResult | Partials | undefined>;

/** The steps of a layer's runs. */
export class Steps {
  readonly #memory: LayerMemory;
  readonly #batches: readonly ChunkBatch[];

  /** `batches`: the batches of the plan. */
  constructor(memory: LayerMemory, batches: readonly ChunkBatch[]) {
    this.#memory = memory;
    this.#batches = batches;
  }

  /** The steps of a run, in order. */
  *of({ settings, accumulate, labels, kept, count, normalizer }: Prepared): Sequence<AnyResult> {
    const { rows, chunkRows, targets } = this.#memory.plan;
    const result = emptyResult(rows, settings.predictions, targets === false);
    if (settings.gradient) this.#clear(kept, accumulate);
    const { reduction } = settings;
    const scale = reduction !== "mean" ? 1 : normalizer === 0 ? 0 : 1 / normalizer;
    for (let begin = 0; begin < kept.length; begin += chunkRows) {
      const of = kept.subarray(begin, begin + chunkRows);
      const chunk = { rows: of, labels, options: this.#lossOptions(settings, of) };
      this.#memory.index(of.length).set(of);
      gather(result, of, yield* this.#loss(chunk));
      if (settings.gradient) yield* this.#gradients(of.length, scale, accumulate || begin > 0);
    }
    const { sum } = result;
    const sums = { ...result, mean: normalizer === 0 ? 0 : sum / normalizer, normalizer, count };
    if (!settings.gradient) return sums;
    const slope = this.#finishBias(accumulate);
    return { ...sums, temperatureGradient: this.#temperatureGradient(settings, kept, slope) / settings.temperature };
  }

  /** The loss of a chunk: with gradients from all its logits, which their gradient replaces; otherwise tile by tile. */
  *#loss(chunk: Chunk): Sequence<Found> {
    const { classes, layer, targetLayer } = this.#memory.plan;
    const layers = targetLayer ? [layer, targetLayer] : [layer];
    for (const each of layers) yield this.#packRows(each, chunk.rows.length);
    const [whole] = this.#batches as [ChunkBatch];
    if (whole.classes === classes) {
      yield* this.#fill(whole, 0, chunk);
      return (yield { batch: whole, loss: chunk.options }) as LossResult;
    }
    const parts: Partials[] = [];
    for (let classOffset = 0; classOffset < classes; classOffset += TILE) {
      const batch = this.#batches[classOffset + TILE <= classes ? 0 : 1] as ChunkBatch;
      yield* this.#fill(batch, classOffset, chunk);
      const classWeights = chunk.options?.classWeights as Float32Array | undefined;
      const ofTile = classWeights?.subarray(classOffset, classOffset + batch.classes);
      const options = { ...chunk.options, classWeights: ofTile, classOffset, classesTotal: classes };
      parts.push((yield { batch, partials: options }) as Partials);
    }
    return lossFromPartials(mergePartials(parts));
  }

  /** Writes the logits, and the labels or targets, for the classes of this batch. */
  *#fill(batch: ChunkBatch, begin: number, { rows, labels }: Chunk): Sequence<void> {
    const { layer, targetLayer, classes } = this.#memory.plan;
    yield this.#logits(layer, rows.length, batch, begin, batch.logits.byteOffset);
    if (targetLayer) yield this.#logits(targetLayer, rows.length, batch, begin, (batch as Targets).targets.byteOffset);
    const { targets } = this.#memory;
    if (labels) for (const [i, row] of rows.entries()) batch.labels[i] = labels[row] as number;
    if (!targets) return;
    const to = (batch as Targets).targets;
    const stride = strideOf(batch.classes);
    for (const [i, row] of rows.entries()) {
      const from = row * classes + begin;
      to.set(targets.subarray(from, from + batch.classes), i * stride);
    }
  }

  *#gradients(rows: number, scale: number, accumulate: boolean): Sequence<void> {
    const { gradient, layer, classes } = this.#memory.plan;
    const { features } = layer;
    const [batch] = this.#batches as [ChunkBatch];
    const product = {
      ...this.#product(layer, rows),
      logits: batch.logits.byteOffset,
      stride: strideOf(classes),
      scale,
    };
    const madds = upTo(ROWS, rows) * features;
    if (gradient.has("features")) {
      const columns = this.#columns();
      yield {
        product: { ...product, kind: KIND.FEATURES, columns },
        items: Math.ceil(features / columns),
        cost: (upTo(4, rows) * classes * columns) / MADDS,
      };
    }
    if (gradient.has("weight")) {
      yield { product: { ...product, kind: KIND.PACK_COLUMNS }, items: Math.ceil(features / 8), cost: rows };
    }
    if (gradient.has("weight") || gradient.has("bias")) {
      yield {
        product: { ...product, kind: KIND.WEIGHT, accumulate: accumulate ? 1 : 0 },
        items: Math.ceil(classes / WEIGHT_ITEM),
        cost: (madds * Math.min(WEIGHT_ITEM, classes)) / MADDS,
      };
    }
  }

  #packRows(layer: LayerPlan, rows: number): ProductStep {
    const product = { ...this.#product(layer, rows), kind: KIND.PACK_ROWS };
    return { product, items: Math.ceil(rows / ROWS), cost: layer.features };
  }

  /** The logits of the classes of this batch, from class `begin` on. */
  #logits(layer: LayerPlan, rows: number, batch: ChunkBatch, begin: number, logits: number): ProductStep {
    const { features, weight, bias } = layer;
    const { classes } = batch;
    const of = this.#product(layer, rows);
    const product = {
      ...of,
      kind: KIND.LOGITS,
      weight: of.weight + begin * features * WEIGHT_BYTES[weight],
      bias: bias ? of.bias + 4 * begin : 0,
      classes,
      logits,
      stride: strideOf(classes),
    };
    const cost = (upTo(ROWS, rows) * features * Math.min(LOGITS_ITEM, classes)) / MADDS;
    return { product, items: Math.ceil(classes / LOGITS_ITEM), cost };
  }

  /** The record of a product with a layer, except the kind and the fields that depend on it. */
  #product({ features, weight, offsets: own }: LayerPlan, rows: number): Product {
    const { offsets, classes } = this.#memory.plan;
    const place = (offset: number | undefined): number => this.#memory.place(offset);
    return {
      source: place(own.features),
      index: place(offsets.index),
      packed: place(own.packed),
      weight: place(own.weight),
      bias: place(own.bias),
      logits: 0,
      features_gradient: place(offsets.featuresGradient),
      weight_gradient: place(offsets.weightGradient),
      bias_gradient: place(offsets.biasSums),
      kind: 0,
      weight_type: WEIGHT_TYPES[weight],
      rows,
      features,
      classes,
      stride: 0,
      columns: MOST_COLUMNS,
      accumulate: 0,
      scale: 1,
    };
  }

  /** Columns of an item, chosen so that the number of items is a multiple of the threads, or nearly. */
  #columns(): number {
    const { features } = this.#memory.plan.layer;
    const threads = this.#memory.engine.pool?.threads ?? 1;
    const items = threads * Math.ceil(features / (threads * MOST_COLUMNS));
    return upTo(8, Math.ceil(features / items));
  }

  /** Clears what no product writes. */
  #clear(kept: Uint32Array, accumulate: boolean): void {
    const { rows, layer } = this.#memory.plan;
    const { featuresGradient } = this.#memory;
    if (featuresGradient && kept.length < rows) {
      let next = 0;
      for (let row = 0; row < rows; row++) {
        if (row === kept[next]) next++;
        else featuresGradient.fill(0, row * layer.features, (row + 1) * layer.features);
      }
    }
    if (kept.length === 0 && !accumulate) this.#memory.weightGradient?.fill(0);
    this.#memory.biasSums?.fill(0);
  }

  #lossOptions(settings: Settings, rows: Uint32Array): Chunk["options"] {
    const { gradient, temperature, predictions, sampleWeights } = settings;
    const [{ rows: padded }] = this.#batches as [ChunkBatch];
    const own = sampleWeights && new Float32Array(padded);
    if (own) for (const [i, row] of rows.entries()) own[i] = sampleWeights[row] as number;
    const options = { gradient, temperature, predictions, sampleWeights: own, rows: [0, rows.length] as const };
    if (this.#memory.plan.targets === "logits") return options;
    const { classWeights, labelSmoothing, zLoss, softcap, invalidLabels } = settings;
    return { ...options, classWeights, labelSmoothing, zLoss, softcap, invalidLabels };
  }

  /** Rounds the gradient of the bias, and returns its dot product with the bias; NaN if the layer has no memory for that gradient. */
  #finishBias(accumulate: boolean): number {
    const { biasGradient, biasSums, plan } = this.#memory;
    const bias = this.#memory.bias(plan.layer);
    if (bias === undefined) return 0;
    if (biasGradient === undefined || biasSums === undefined) return Number.NaN;
    let product = 0;
    for (let i = 0; i < plan.classes; i++) {
      const sum = biasSums[i] as number;
      product += sum * (bias[i] as number);
      biasGradient[i] = accumulate ? (biasGradient[i] as number) + sum : sum;
    }
    return product;
  }

  /**
   * Minus the sum, over all logits x, of x times the gradient of the loss with respect to x: the derivative of x / t is -x / t^2. The
   * sum is the dot product of the features with their gradient, plus that of the bias with its gradient (`ofBias`).
   */
  #temperatureGradient({ softcap }: Settings, kept: Uint32Array, ofBias: number): number {
    const { featuresGradient, plan } = this.#memory;
    const { targets, layer } = plan;
    // Target logits are divided by the temperature, too.
    if (featuresGradient === undefined || softcap !== undefined || targets === "logits") return Number.NaN;
    const source = this.#memory.features(layer);
    const { features } = layer;
    let sum = ofBias;
    for (const row of kept) {
      let ofRow = 0;
      for (let i = row * features; i < (row + 1) * features; i++) {
        ofRow += (source[i] as number) * (featuresGradient[i] as number);
      }
      sum += ofRow;
    }
    return -sum;
  }
}

/** The batch of a chunk, with targets. */
type Targets = Batch<"float32", "int32", "in-place" | false, true | "logits">;
