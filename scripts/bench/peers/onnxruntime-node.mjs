// onnxruntime-node: the graph of onnx-loss.mjs. Nothing is copied: inputs are views, and each run writes its outputs into
// given arrays.
import ort from "onnxruntime-node";
import { session as create, subtractOneHot } from "./onnx-loss.mjs";

export async function open({ threads }) {
  return { version: ort.env.versions.node, prepare: (data) => prepare(data, threads) };
}

async function prepare(data, threads) {
  const { rows, classes, labels, gradient } = data;
  const { session, feeds } = await create(ort, data, threads);
  const loss = new Float32Array(rows);
  const outputs = { loss: new ort.Tensor("float32", loss, [rows]) };
  const g = gradient ? new Float32Array(rows * classes) : undefined;
  if (g) outputs.gradient = new ort.Tensor("float32", g, [rows, classes]);
  return {
    async run() {
      await session.run(feeds, outputs);
      if (g) subtractOneHot(g, labels, classes);
    },
    results: () => ({ loss, gradient: g }),
    dispose: () => session.release(),
  };
}
