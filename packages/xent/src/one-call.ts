import type { LossResult } from "./batch.ts";
import type { Labels } from "./labels.ts";
import type { LossOptions } from "./options.ts";
import type { Logits } from "./views.ts";
import { createXentSync, type Xent } from "./xent.ts";

let instance: Xent | undefined;

/**
 * Loss of each row, and its gradient if asked for: TensorFlow's `tf.nn.sparse_softmax_cross_entropy_with_logits`.
 *
 * The kernel is compiled on first use. Logits and labels are copied in and the results out: they are yours. For batches
 * without a copy, see {@link createXentSync} and `createBatch`.
 *
 * @param logits [rows, classes], row-major, in natural units (unnormalised log-probabilities).
 * @param labels [rows], integers in [0, classes).
 * @throws RangeError for a label outside of that range, and for lengths that do not fit; TypeError for the wrong types.
 *
 * @example
 * ```ts
 * import { sparseSoftmaxCrossEntropyWithLogits } from "xent";
 * const { loss, gradient } = sparseSoftmaxCrossEntropyWithLogits([[2, -5, 0.5, -0.1]], [0], { gradient: true });
 * loss[0]; // 0.2959…
 * ```
 */
export function sparseSoftmaxCrossEntropyWithLogits(logits: Logits, labels: Labels, options?: LossOptions): LossResult {
  instance ??= createXentSync();
  return instance.sparseSoftmaxCrossEntropyWithLogits(logits, labels, options);
}
