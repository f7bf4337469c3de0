import { type Call, computeCall, isLarge, readDivergenceCall, readLabelsCall, readTargetsCall } from "./call.ts";
import { compile, hasRelaxedModule } from "./compile.ts";
import type { DivergenceOptions } from "./divergence.ts";
import { openPlace, type Place } from "./engine.ts";
import { bestVariant } from "./features.ts";
import type { Logits, Targets } from "./inputs.ts";
import type { Labels } from "./labels.ts";
import type { LossOptions, ShapeOptions } from "./options.ts";
import type { LossResult } from "./result.ts";
import type { OneCallResult } from "./xent.ts";

let place: Place | undefined;

/** Computes a call with the kernel that all one-call functions share. */
function compute(call: Call): LossResult<Float32Array | Float64Array> {
  place ??= openPlace(compile(bestVariant(hasRelaxedModule), false), undefined, false);
  const own = place;
  try {
    return computeCall(call, 1, () => own);
  } finally {
    if (isLarge(own)) place = undefined;
  }
}

/**
 * The loss of each row, and its gradient with `gradient: true`: TensorFlow's `tf.nn.sparse_softmax_cross_entropy_with_logits`.
 *
 * The kernel is compiled on first use. Arguments and results are copied, so you may keep the results. For batches without copies,
 * see `createXentSync` and `createBatch`.
 *
 * @param logits Unnormalised log-probabilities, row-major: [rows, classes], or any `shape` with the classes on any `axis`.
 * @param labels One integer in [0, classes) for each row.
 * @throws RangeError for a label outside that range, and for lengths that do not fit; TypeError for wrong types.
 *
 * @example
 * ```ts
 * import { sparseSoftmaxCrossEntropyWithLogits } from "xent";
 * const { loss, gradient } = sparseSoftmaxCrossEntropyWithLogits([[2, -5, 0.5, -0.1]], [0], { gradient: true });
 * loss[0]; // 0.2975…
 * ```
 */
export function sparseSoftmaxCrossEntropyWithLogits<
  L extends Logits,
  G extends boolean = false,
  P extends boolean = false,
>(logits: L, labels: Labels, options?: LossOptions<G, P> & ShapeOptions): OneCallResult<L, G, P, false> {
  return compute(readLabelsCall(logits, labels, options)) as OneCallResult<L, G, P, false>;
}

/**
 * The loss of each row for soft targets: TensorFlow's `tf.nn.softmax_cross_entropy_with_logits`. The targets need not sum
 * to 1. There is no `ignoreIndex`.
 *
 * @param logits Nested arrays [rows, classes], or an array of any `shape`.
 * @param targets Probabilities, in the layout of the logits.
 * @throws RangeError for lengths that do not fit; TypeError for the wrong types.
 *
 * @example
 * ```ts
 * import { softmaxCrossEntropyWithLogits } from "xent";
 * const { loss } = softmaxCrossEntropyWithLogits([[2, -5, 0.5]], Float32Array.of(0.9, 0, 0.1));
 * loss[0]; // 0.3521…
 * ```
 */
export function softmaxCrossEntropyWithLogits<L extends Logits, G extends boolean = false, P extends boolean = false>(
  logits: L,
  targets: Targets,
  options?: LossOptions<G, P> & ShapeOptions,
): OneCallResult<L, G, P, true> {
  return compute(readTargetsCall(logits, targets, options)) as OneCallResult<L, G, P, true>;
}

/**
 * The Kullback-Leibler divergence of each row's softmax q from p, the softmax of another model's logits: the sum of
 * p (log p - log q), in nat. It is exact even if both almost agree: a divergence of 1e-9 is not 0. The gradient is
 * (q - p) / temperature.
 *
 * PyTorch: `F.kl_div(log_q, log_p, log_target=True)`, summed over the classes. `mask` says which rows are ignored. For distillation
 * with a temperature t, multiply by Hinton's factor t^2 yourself.
 *
 * @param logits The logits of the model that is evaluated or trained: nested arrays [rows, classes], or an array of any `shape`.
 * @param targetLogits The logits of the reference model, in the layout and type of `logits`.
 * @throws RangeError for lengths that do not fit; TypeError for wrong types, and for options that a divergence does not take.
 *
 * @example
 * ```ts
 * import { klDivergenceWithLogits } from "xent";
 * const { loss, mean } = klDivergenceWithLogits([[2, -5, 0.5]], [[2, -5, 0.25]], { temperature: 2 });
 * loss[0]; // 0.0016…
 * ```
 */
export function klDivergenceWithLogits<L extends Logits, G extends boolean = false, P extends boolean = false>(
  logits: L,
  targetLogits: Logits,
  options?: DivergenceOptions<G, P> & ShapeOptions,
): OneCallResult<L, G, P, "logits"> {
  return compute(readDivergenceCall(logits, targetLogits, options)) as OneCallResult<L, G, P, "logits">;
}
