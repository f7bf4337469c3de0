import type { Engine } from "../engine.ts";
import { LABELS, type LabelsArrays, type LabelsType } from "../labels.ts";
import { LOGITS } from "../logits.ts";
import { type LayerPlan, type LinearPlan, upTo, type WeightArrays, type WeightType } from "./plan.ts";

/** The arrays of a layer with its loss: views of its memory, made anew each time, since that may grow. */
export class LayerMemory<W extends WeightType = WeightType, K extends LabelsType = LabelsType> {
  readonly engine: Engine;
  readonly plan: LinearPlan<W, K>;
  readonly address: number;

  constructor(engine: Engine, plan: LinearPlan<W, K>, address: number) {
    this.engine = engine;
    this.plan = plan;
    this.address = address;
  }

  /** The address of a part of the layer; 0 where there is none. */
  place(offset: number | undefined): number {
    return offset === undefined ? 0 : this.address + offset;
  }

  /** [rows, features], of the layer or of that of the targets. */
  features({ features, offsets }: LayerPlan): Float32Array {
    return new Float32Array(this.#buffer, this.place(offsets.features), this.plan.rows * features);
  }

  /** [classes, features] */
  weight<V extends WeightType>({ features, weight, offsets }: LayerPlan<V>): WeightArrays[V] {
    const length = this.plan.classes * features;
    return new LOGITS[weight](this.#buffer, this.place(offsets.weight), length) as WeightArrays[V];
  }

  /** [classes] */
  bias({ offsets }: LayerPlan): Float32Array | undefined {
    return this.#floats(offsets.bias, this.plan.classes);
  }

  get labels(): LabelsArrays[K] | undefined {
    const { labels, offsets, rows } = this.plan;
    return offsets.labels === undefined
      ? undefined
      : new LABELS[labels](this.#buffer, this.place(offsets.labels), rows);
  }

  get targets(): Float32Array | undefined {
    return this.#floats(this.plan.offsets.targets, this.plan.rows * this.plan.classes);
  }

  get featuresGradient(): Float32Array | undefined {
    return this.#floats(this.plan.offsets.featuresGradient, this.plan.rows * this.plan.layer.features);
  }

  get weightGradient(): Float32Array | undefined {
    return this.#floats(this.plan.offsets.weightGradient, this.plan.classes * this.plan.layer.features);
  }

  get biasGradient(): Float32Array | undefined {
    return this.#floats(this.plan.offsets.biasGradient, this.plan.classes);
  }

  /** The bias's gradient before it is rounded, padded to whole vectors. */
  get biasSums(): Float64Array | undefined {
    const { offsets, classes } = this.plan;
    return offsets.biasSums === undefined
      ? undefined
      : new Float64Array(this.#buffer, this.place(offsets.biasSums), upTo(4, classes));
  }

  /** The rows of the chunk under way. */
  index(length: number): Uint32Array {
    return new Uint32Array(this.#buffer, this.place(this.plan.offsets.index), length);
  }

  get #buffer(): ArrayBufferLike {
    return this.engine.memory.buffer;
  }

  #floats(offset: number | undefined, length: number): Float32Array | undefined {
    return offset === undefined ? undefined : new Float32Array(this.#buffer, this.place(offset), length);
  }
}
