import { assertFits, type Logits, readLogits, rowsOf, writeSource } from "../inputs.ts";
import type { LayerMemory } from "./layer-memory.ts";
import type { LayerPlan, WeightArrays, WeightType } from "./plan.ts";

/** Throws if the arrays must not be read, or must not be written. */
export interface Guard {
  assertAlive(): void;
  assertIdle(): void;
}

/** The input and parameters of a linear layer. Every array is a view, like those of {@link Linear}. */
export class Layer<W extends WeightType = WeightType> {
  readonly #memory: LayerMemory;
  readonly #plan: LayerPlan<W>;
  readonly #guard: Guard;

  /** @internal */
  constructor(memory: LayerMemory, plan: LayerPlan<W>, guard: Guard) {
    this.#memory = memory;
    this.#plan = plan;
    this.#guard = guard;
  }

  /** [rows, features]. Write your features here. */
  get features(): Float32Array {
    this.#guard.assertAlive();
    return this.#memory.features(this.#plan);
  }

  /** [classes, features]. Write your weight here. */
  get weight(): WeightArrays[W] {
    this.#guard.assertAlive();
    return this.#memory.weight(this.#plan);
  }

  /** [classes], or undefined if the layer has no bias. Write your bias here. */
  get bias(): Float32Array | undefined {
    this.#guard.assertAlive();
    return this.#memory.bias(this.#plan);
  }

  /** Writes features from element `offset` on. Takes what `batch.setLogits` takes, with the same checks. */
  setFeatures(source: Logits, offset = 0): void {
    writeNumbers(source, "float32", () => this.features, offset, this.#plan.features, this.#guard);
  }

  /** Writes weights in the same way. Numbers are rounded to the type of the weight; a Uint16Array holds bits of that type. */
  setWeight(source: Logits, offset = 0): void {
    writeNumbers(source, this.#plan.weight, () => this.weight, offset, this.#plan.features, this.#guard);
  }

  /** Writes biases in the same way. Throws TypeError if the layer has no bias. */
  setBias(source: Logits, offset = 0): void {
    if (!this.#plan.bias) throw new TypeError("this layer has no bias: create it with bias: true");
    const bias = (): Float32Array => this.bias as Float32Array;
    writeNumbers(source, "float32", bias, offset, bias().length, this.#guard);
  }
}

/** Writes numbers into the target, whose rows have `width` numbers, from element `offset` on. */
export function writeNumbers(
  source: Logits,
  type: WeightType,
  target: () => Float32Array | Uint16Array,
  offset: number,
  width: number,
  guard: Guard,
): void {
  const numbers = readLogits("source", source);
  if (numbers.kind === "Uint16Array" && type === "float32") {
    throw new TypeError('"source" is a Uint16Array, whose numbers are bits, but this array has float32 numbers');
  }
  const rows = rowsOf(numbers, { classes: width, rowStride: width, inner: 1 }, "numbers");
  guard.assertIdle();
  assertFits(rows, offset, target().length);
  writeSource(numbers, type, target(), offset, rows);
}
