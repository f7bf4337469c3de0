// The route of both ONNX Runtimes: LogSoftmax, the label's entry of it, and for the gradient Exp of it, from whose
// entry at the label JavaScript then takes 1. Of eleven graphs that were tried (SoftmaxCrossEntropyLoss alone, with
// OneHot, with ScatterElements; Softmax; ReduceLogSumExp; single operators) it is the fastest that is right for
// unlikely labels too, on both.
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
