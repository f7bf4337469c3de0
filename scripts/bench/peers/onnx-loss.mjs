// The graph of both ONNX Runtimes: LogSoftmax and its entry at the label; for the gradient, Exp of it, from whose entry at
// the label JavaScript subtracts 1. Eleven graphs were tried (SoftmaxCrossEntropyLoss alone, with OneHot, with
// ScatterElements; Softmax; ReduceLogSumExp; single operators). On both, this is the fastest that is also right for unlikely
// labels.
import { constant, model, node, value } from "../../onnx.mjs";

const nodes = [
  node("LogSoftmax", ["logits"], ["log_prob"], { axis: 1 }),
  node("Unsqueeze", ["labels", "one"], ["column"]),
  node("GatherElements", ["log_prob", "column"], ["own"], { axis: 1 }),
  node("Neg", ["own"], ["negative"]),
  node("Squeeze", ["negative", "one"], ["loss"]),
];

export async function session({ InferenceSession, Tensor }, { rows, classes, logits, labels, gradient }, threads) {
  const bytes = model({
    inputs: [value("logits", "float32", [rows, classes]), value("labels", "int64", [rows])],
    outputs: [value("loss", "float32", [rows]), ...(gradient ? [value("gradient", "float32", [rows, classes])] : [])],
    nodes: gradient ? [...nodes, node("Exp", ["log_prob"], ["gradient"])] : nodes,
    constants: [constant("one", "int64", [1], BigInt64Array.of(1n))],
  });
  return {
    session: await InferenceSession.create(bytes, {
      intraOpNumThreads: threads,
      interOpNumThreads: 1,
      graphOptimizationLevel: "all",
    }),
    feeds: {
      logits: new Tensor("float32", logits, [rows, classes]),
      labels: new Tensor("int64", BigInt64Array.from(labels, BigInt), [rows]),
    },
  };
}

/** In place: softmax minus one-hot. */
export function subtractOneHot(probabilities, labels, classes) {
  for (let i = 0; i < labels.length; i++) probabilities[i * classes + labels[i]] -= 1;
}
