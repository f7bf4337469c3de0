import { assertFits, type Logits, readLogits, writeSource } from "../inputs.ts";
import type { LayerMemory } from "./layer-memory.ts";
import type { LayerPlan, WeightArrays, WeightType } from "./plan.ts";

/** Throws where the arrays may not be read, or not be written. */
export interface Guard {
  assertAlive(): void;
  assertIdle(): void;
}

/** The input and parameters of a linear layer. Every array is a view, as those of {@link Linear} are. */
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

  /** [classes], or undefined where there is none. Write your bias here. */
  get bias(): Float32Array | undefined {
    this.#guard.assertAlive();
    return this.#memory.bias(this.#plan);
  }

  /** Writes features of any kind that `batch.setLogits` takes, from element `offset` on, with its checks. */
  setFeatures(source: Logits, offset = 0): void {
    writeNumbers(source, "float32", () => this.features, offset, this.#guard);
  }

  /** Writes weights the same way: numbers are rounded to the layer's type, and a Uint16Array has bits of it. */
  setWeight(source: Logits, offset = 0): void {
    writeNumbers(source, this.#plan.weight, () => this.weight, offset, this.#guard);
  }

  /** Writes biases the same way. Throws TypeError where there is none. */
  setBias(source: Logits, offset = 0): void {
    if (!this.#plan.bias) throw new TypeError("this layer has no bias: create it with bias: true");
    writeNumbers(source, "float32", () => this.bias as Float32Array, offset, this.#guard);
  }
}

/** Writes numbers from element `offset` of the target on. */
export function writeNumbers(
  source: Logits,
  type: WeightType,
  target: () => Float32Array | Uint16Array,
  offset: number,
  guard: Guard,
): void {
  const numbers = readLogits("source", source);
  if (numbers.kind === "Uint16Array" && type === "float32") {
    throw new TypeError('"source" is a Uint16Array, whose numbers are bits, but here are float32 numbers');
  }
  const whole = { run: numbers.elements, step: numbers.elements, extent: numbers.elements };
  guard.assertIdle();
  assertFits(whole, offset, target().length);
  writeSource(numbers, type, target(), offset, whole);
}
