// The arrays of a batch in the kernel's memory.

import { LABELS, type LabelsArrays, type LabelsType } from "./labels.ts";
import {
  GRADIENTS,
  type GradientArrays,
  LOGITS,
  LOSSES,
  type LogitsArrays,
  type LogitsType,
  type LossArrays,
} from "./logits.ts";
import type { PlacedBatch } from "./plan.ts";

/** The parts of a batch, over one buffer of the memory. */
interface Views<L extends LogitsType, K extends LabelsType> {
  readonly buffer: ArrayBufferLike;
  readonly logits: LogitsArrays[L];
  readonly labels: LabelsArrays[K] | undefined;
  readonly targets: Float32Array | LogitsArrays[L] | undefined;
  readonly gradient: GradientArrays[L] | undefined;
  readonly loss: LossArrays[L];
  readonly logSumExp: LossArrays[L];
  readonly predictions: Int32Array;
  readonly kernelLabels: Int32Array;
}

/** A batch in its memory, which may grow. */
export class BatchMemory<L extends LogitsType = LogitsType, K extends LabelsType = LabelsType> {
  readonly plan: PlacedBatch<L, K>;
  readonly #memory: WebAssembly.Memory;
  #views: Views<L, K> | undefined;

  constructor(memory: WebAssembly.Memory, plan: PlacedBatch<L, K>) {
    this.plan = plan;
    this.#memory = memory;
  }

  /** The views. They stay the same until the memory grows, which detaches them. */
  get views(): Views<L, K> {
    const { buffer } = this.#memory;
    let views = this.#views;
    if (views?.buffer !== buffer) {
      views = makeViews(buffer, this.plan);
      this.#views = views;
    }
    return views;
  }

  /** `count` numbers of the working memory. */
  floats(address: number, count: number): Float32Array {
    return new Float32Array(this.#memory.buffer, address, count);
  }

  /** Like {@link floats}, as f64. */
  doubles(address: number, count: number): Float64Array {
    return new Float64Array(this.#memory.buffer, address, count);
  }
}

function makeViews<L extends LogitsType, K extends LabelsType>(
  buffer: ArrayBufferLike,
  { layout, logits, labels, targets, regions: at }: PlacedBatch<L, K>,
): Views<L, K> {
  const { rows, elements } = layout;
  return {
    buffer,
    logits: new LOGITS[logits](buffer, at.logits, elements),
    labels: at.labels === 0 ? undefined : new LABELS[labels](buffer, at.labels, rows),
    targets:
      at.targets === 0
        ? undefined
        : new (targets === "logits" ? LOGITS[logits] : Float32Array)(buffer, at.targets, elements),
    gradient: at.gradient === 0 ? undefined : new GRADIENTS[logits](buffer, at.gradient, elements),
    loss: new LOSSES[logits](buffer, at.loss === 0 ? at.losses : at.loss, rows),
    logSumExp: new LOSSES[logits](buffer, at.logSumExp, rows),
    predictions: new Int32Array(buffer, at.predictions, rows),
    kernelLabels: new Int32Array(buffer, at.kernelLabels, at.kernelLabels === 0 ? 0 : rows),
  };
}
