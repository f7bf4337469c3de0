// onnxruntime-web, wasm backend: the graph of onnx-loss.mjs. A run copies the inputs into the wasm memory and the
// outputs into new arrays; this backend has no other way.
import * as ort from "onnxruntime-web";
import { session as create, subtractOneHot } from "./onnx-loss.mjs";

export async function open({ threads }) {
  ort.env.wasm.numThreads = threads;
  ort.env.logLevel = "error";
  return { version: ort.env.versions.web, prepare: (data) => prepare(data, threads) };
}

async function prepare(data, threads) {
  const { session, feeds } = await create(ort, data, threads);
  let outputs;
  return {
    async run() {
      outputs = await session.run(feeds);
      if (data.gradient) subtractOneHot(outputs.gradient.data, data.labels, data.classes);
    },
    results: () => ({ loss: outputs.loss.data, gradient: outputs.gradient?.data }),
    dispose: () => session.release(),
  };
}
