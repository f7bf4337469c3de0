// TensorFlow.js, wasm backend with SIMD. Loss: logSumExp minus the label's logit; gradient: softmax, from whose entry at
// the label JavaScript subtracts 1 (valueAndGrad needs gradients that only the umbrella package registers; tf.oneHot costs
// more; dividing exp by its sum is faster for few classes, and has errors of 1e-4 for 100,000). The logits are a resident
// tensor; dataSync reads the results, as a user must.
import { createRequire } from "node:module";
import { dirname, sep } from "node:path";

const require = createRequire(import.meta.url);
const tf = require("@tensorflow/tfjs-core");
const backend = require("@tensorflow/tfjs-backend-wasm");

export async function open({ threads }) {
  if (threads > 1) throw new Error("TensorFlow.js has no threads in Node.js");
  backend.setWasmPaths(dirname(require.resolve("@tensorflow/tfjs-backend-wasm")) + sep);
  await tf.setBackend("wasm");
  return { version: tf.version_core, prepare };
}

function prepare({ rows, classes, logits, labels, gradient }) {
  const x = tf.tensor2d(logits, [rows, classes]);
  const own = tf.tensor1d(
    labels.map((label, i) => i * classes + label),
    "int32",
  );
  let result;
  return {
    run() {
      tf.engine().startScope();
      const loss = tf.sub(tf.logSumExp(x, 1), tf.gather(tf.reshape(x, [rows * classes]), own));
      result = { loss: loss.dataSync() };
      if (gradient) {
        result.gradient = tf.softmax(x).dataSync();
        for (let i = 0; i < rows; i++) result.gradient[i * classes + labels[i]] -= 1;
      }
      tf.engine().endScope();
    },
    results: () => result,
    dispose: () => tf.dispose([x, own]),
  };
}
