/**
 * A linear layer and its loss in one: the sparse softmax cross-entropy of logits H Wᵀ + b, of features H [rows, features] and a weight
 * W [classes, features], with the gradients of all three, and without memory for all logits. See docs/linear.md.
 *
 * @module
 */

// Imports go one way: index -> create -> linear -> product; create, linear -> plan -> product; and what the package itself consists of.
// The instance that is given may be of another bundle: there are only types of ../index.ts here.

export { createLinear } from "./create.ts";
export type { Linear, LinearOptions, LinearResult, WithTemperatureGradient } from "./linear.ts";
export { bytesOf, type LinearSpec, type Parameter, type WeightArrays, type WeightType } from "./plan.ts";
