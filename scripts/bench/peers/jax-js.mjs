// jax-js, wasm backend, everything in one jit. Loss: logsumexp minus the label's logit; with the gradient: exp(x - max)
// and its sum give both, and JavaScript subtracts 1 from the label's entry (valueAndGrad fails on takeAlongAxis, and oneHot
// allocates classes x classes). The logits are a resident array; the results are read with data().
import { readFileSync } from "node:fs";
import { defaultDevice, init, jit, nn, numpy as np } from "@jax-js/jax";

const manifest = new URL("../package.json", import.meta.resolve("@jax-js/jax"));

export async function open({ threads }) {
  if (threads > 1) throw new Error("jax-js has no threads in Node.js");
  await init("wasm");
  defaultDevice("wasm");
  return { version: JSON.parse(readFileSync(manifest, "utf8")).version, prepare };
}

async function prepare({ rows, classes, logits, labels, gradient }) {
  const x = np.array(logits, { dtype: np.float32 }).reshape([rows, classes]);
  const y = np.array(labels, { dtype: np.int32 }).reshape([rows, 1]);
  const call = jit(gradient ? lossAndSoftmax : lossOnly);
  let result;
  return {
    async run() {
      const [loss, softmax] = call(x.ref, y.ref);
      result = { loss: await loss.data() };
      if (softmax) {
        result.gradient = await softmax.data();
        for (let i = 0; i < rows; i++) result.gradient[i * classes + labels[i]] -= 1;
      }
    },
    results: () => result,
    dispose() {
      call.dispose();
      x.dispose();
      y.dispose();
    },
  };
}

// Every function consumes its arguments; .ref keeps one for another use.

function lossOnly(x, y) {
  return [nn.logsumexp(x.ref, -1, { keepdims: true }).sub(np.takeAlongAxis(x, y, -1))];
}

function lossAndSoftmax(x, y) {
  const max = np.max(x.ref, -1, { keepdims: true });
  const e = np.exp(x.ref.sub(max.ref));
  const sum = e.ref.sum(-1, { keepdims: true });
  return [
    np
      .log(sum.ref)
      .add(max)
      .sub(np.takeAlongAxis(x, y, -1)),
    e.div(sum),
  ];
}
