/**
 * A linear layer and its loss in one step: the sparse softmax cross-entropy of the logits H Wᵀ + b, for features H [rows, features], a
 * weight W [classes, features] and a bias b [classes], with the gradients of all three, and without memory for all logits. See
 * docs/linear.md.
 *
 * @module
 */

// The map of the modules is in ../index.ts. These modules import only types from it, because the instance may come from another bundle.

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
