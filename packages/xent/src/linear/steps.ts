import type { Batch } from "../index.ts";
import type { Settings } from "../options.ts";
import type { LossResult, OwnResult } from "../result.ts";
import type { LayerMemory } from "./layer-memory.ts";
import { MOST_COLUMNS, upTo } from "./plan.ts";
import { KIND, LOGITS_ITEM, type Product, WEIGHT_ITEM, WEIGHT_TYPES } from "./product.ts";

/**
 * What a run returns: as of a batch, all of it the caller's own. In ignored rows `loss` is 0, `logSumExp` NaN and `prediction` -1: they
 * are not computed. The gradients are views of the layer.
 */
export type LinearResult<G extends boolean = boolean, P extends boolean = boolean> = OwnResult<
  "float32",
  false,
  P,
  false
> &
  ([G] extends [true]
    ? WithTemperatureGradient
    : [G] extends [false]
      ? { temperatureGradient?: never }
      : Partial<WithTemperatureGradient>);

/** With `gradient: true`. */
export interface WithTemperatureGradient {
  /**
   * Of the reduced loss with respect to the temperature; NaN where there is a softcap, or the layer has no gradient of the features or
   * of a bias that there is.
   */
  temperatureGradient: number;
}

/** A product, whose items other threads may compute, too. */
export interface ProductStep {
  readonly product: Product;
  readonly items: number;
  /** Of an item, in classes of the plain loss. */
  readonly cost: number;
}

/** A step of a run: a product, or the loss of a chunk. */
export type Step = ProductStep | { readonly loss: Parameters<Batch["run"]>[0] };

/** A run that is ready to be computed. */
export interface Prepared {
  readonly settings: Settings;
  readonly accumulate: boolean;
  /** Of each row, checked. */
  readonly labels: Int32Array;
  /** Rows that are computed. */
  readonly kept: Uint32Array;
  readonly count: number;
  readonly normalizer: number;
}

/** Products that take as long as a class of the plain loss. */
const MADDS = 8;

/** The steps of a layer's runs. */
export class Steps {
  readonly #memory: LayerMemory;
  /** Of a chunk. */
  readonly #batch: Batch;

  constructor(memory: LayerMemory, batch: Batch) {
    this.#memory = memory;
    this.#batch = batch;
  }

  /** What is to be computed, one after the other; it is given the loss of a chunk back. */
  *of({
    settings,
    accumulate,
    labels,
    kept,
    count,
    normalizer,
  }: Prepared): Generator<Step, LinearResult, LossResult | undefined> {
    const { rows, features, classes, chunkRows, gradient } = this.#memory.plan;
    const result = emptyResult(rows, settings.predictions);
    const product = this.#product(settings, normalizer);
    let added = accumulate;
    if (settings.gradient) this.#clear(kept, accumulate);
    for (let begin = 0; begin < kept.length; begin += chunkRows) {
      const chunk = kept.subarray(begin, begin + chunkRows);
      const length = chunk.length;
      const of = { ...product, rows: length };
      const madds = upTo(4, length) * features;
      this.#memory.index(length).set(chunk);
      yield { product: { ...of, kind: KIND.PACK_ROWS }, items: Math.ceil(length / 4), cost: features };
      yield {
        product: { ...of, kind: KIND.LOGITS },
        items: Math.ceil(classes / LOGITS_ITEM),
        cost: (madds * Math.min(LOGITS_ITEM, classes)) / MADDS,
      };
      for (const [i, row] of chunk.entries()) this.#batch.labels[i] = labels[row] as number;
      gather(result, chunk, (yield { loss: this.#lossOptions(settings, chunk) }) as LossResult);
      if (!settings.gradient) continue;
      if (gradient.has("features")) {
        const columns = this.#columns();
        yield {
          product: { ...of, kind: KIND.FEATURES, columns },
          items: Math.ceil(features / columns),
          cost: (upTo(4, length) * classes * columns) / MADDS,
        };
      }
      if (gradient.has("weight")) {
        yield { product: { ...of, kind: KIND.PACK_COLUMNS }, items: Math.ceil(features / 8), cost: length };
      }
      if (gradient.has("weight") || gradient.has("bias")) {
        yield {
          product: { ...of, kind: KIND.WEIGHT, accumulate: added ? 1 : 0 },
          items: Math.ceil(classes / WEIGHT_ITEM),
          cost: (madds * Math.min(WEIGHT_ITEM, classes)) / MADDS,
        };
      }
      added = true;
    }
    const { sum } = result;
    const { temperature } = settings;
    const sums = { ...result, mean: normalizer === 0 ? 0 : sum / normalizer, normalizer, count };
    if (!settings.gradient) return sums;
    const slope = this.#finishBias(accumulate);
    return { ...sums, temperatureGradient: this.#temperatureGradient(settings, kept, slope) / temperature };
  }

  /** The record of products, but for the chunk and the kind. */
  #product({ reduction }: Settings, normalizer: number): Product {
    const { offsets, weight, features, classes, stride } = this.#memory.plan;
    const place = (offset: number | undefined): number => this.#memory.place(offset);
    return {
      source: place(offsets.features),
      index: place(offsets.index),
      packed: place(offsets.packed),
      weight: place(offsets.weight),
      bias: place(offsets.bias),
      logits: this.#batch.logits.byteOffset,
      features_gradient: place(offsets.featuresGradient),
      weight_gradient: place(offsets.weightGradient),
      bias_gradient: place(offsets.biasSums),
      kind: 0,
      weight_type: WEIGHT_TYPES[weight],
      rows: 0,
      features,
      classes,
      stride,
      columns: MOST_COLUMNS,
      accumulate: 0,
      scale: reduction !== "mean" ? 1 : normalizer === 0 ? 0 : 1 / normalizer,
    };
  }

  /** Columns of an item, so that there are as many items as threads, or a multiple. */
  #columns(): number {
    const { features } = this.#memory.plan;
    const threads = this.#memory.engine.pool?.threads ?? 1;
    const items = threads * Math.ceil(features / (threads * MOST_COLUMNS));
    return upTo(8, Math.ceil(features / items));
  }

  /** What no product writes. */
  #clear(kept: Uint32Array, accumulate: boolean): void {
    const { rows, features } = this.#memory.plan;
    const { featuresGradient } = this.#memory;
    if (featuresGradient && kept.length < rows) {
      let next = 0;
      for (let row = 0; row < rows; row++) {
        if (row === kept[next]) next++;
        else featuresGradient.fill(0, row * features, (row + 1) * features);
      }
    }
    if (kept.length === 0 && !accumulate) this.#memory.weightGradient?.fill(0);
    this.#memory.biasSums?.fill(0);
  }

  #lossOptions(settings: Settings, chunk: Uint32Array): Parameters<Batch["run"]>[0] {
    const { gradient, classWeights, labelSmoothing, zLoss, softcap, temperature, predictions, sampleWeights } =
      settings;
    const { invalidLabels } = settings;
    const own = sampleWeights && new Float32Array(this.#batch.rows);
    if (own) for (const [i, row] of chunk.entries()) own[i] = sampleWeights[row] as number;
    const ofRows = { rows: [0, chunk.length] as const, sampleWeights: own, invalidLabels };
    return { gradient, classWeights, labelSmoothing, zLoss, softcap, temperature, predictions, ...ofRows };
  }

  /** Rounds the bias's gradient, and returns the sum of its products with the bias; NaN where it is not known. */
  #finishBias(accumulate: boolean): number {
    const { bias, biasGradient, biasSums, plan } = this.#memory;
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
   * The sum of each logit x times the loss's gradient with respect to it, negated: x / t falls by x / t^2 for t. Of a row this is the
   * product of its features with their gradient, and of the bias with its own.
   */
  #temperatureGradient({ softcap }: Settings, kept: Uint32Array, ofBias: number): number {
    const { features: source, featuresGradient } = this.#memory;
    if (featuresGradient === undefined || softcap !== undefined) return Number.NaN;
    const { features } = this.#memory.plan;
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

interface Rows {
  loss: Float32Array<ArrayBuffer>;
  logSumExp: Float32Array<ArrayBuffer>;
  predictions?: Int32Array<ArrayBuffer>;
  correct?: number;
  sum: number;
}

function emptyResult(rows: number, predictions: boolean): Rows {
  const result = { loss: new Float32Array(rows), logSumExp: new Float32Array(rows).fill(Number.NaN), sum: 0 };
  return predictions ? { ...result, predictions: new Int32Array(rows).fill(-1), correct: 0 } : result;
}

/** What a chunk has found, where it belongs. */
function gather(result: Rows, chunk: Uint32Array, of: LossResult): void {
  for (const [i, row] of chunk.entries()) {
    result.loss[row] = of.loss[i] as number;
    result.logSumExp[row] = of.logSumExp[i] as number;
    if (result.predictions) result.predictions[row] = of.predictions?.[i] as number;
  }
  result.sum += of.sum;
  if (result.correct !== undefined) result.correct += of.correct as number;
}
