/**
 * A linear layer and its loss in one: the sparse softmax cross-entropy of logits H Wᵀ + b, of features H [rows, features] and a weight
 * W [classes, features], with the gradients of all three, and without memory for all logits. See docs/linear.md.
 *
 * @module
 */

// The map of the modules is in ../index.ts, of which these have the types only: the instance may be of another bundle.

export { createLinear } from "./create.ts";
export type { Layer } from "./layer.ts";
export type { Linear } from "./linear.ts";
export {
  bytesOf,
  type LayerSpec,
  type LinearSpec,
  type LinearTargets,
  type Parameter,
  type WeightArrays,
  type WeightType,
} from "./plan.ts";
export type { LinearOptions } from "./prepare.ts";
export type { LinearResult, WithTemperatureGradient } from "./result.ts";
