// xent. A resident batch: the logits are in its memory already, as where a model writes them there; results are views.
// One call: an ordinary Float32Array is copied in, and the results are copied out into new arrays.
// Two threads: the pool.
import { readFileSync } from "node:fs";
import { createXent, sparseSoftmaxCrossEntropyWithLogits } from "xent";

const { version } = JSON.parse(readFileSync(new URL(import.meta.resolve("xent/package.json")), "utf8"));

export async function open({ variant, oneCall, threads }) {
  if (oneCall) return { version, prepare: prepareOneCall };
  const xent = await createXent({ variant, threads });
  return { version, prepare: (data) => resident(xent, data) };
}

function prepareOneCall({ logits, labels, gradient }) {
  let result;
  return {
    run() {
      result = sparseSoftmaxCrossEntropyWithLogits(logits, labels, { gradient });
    },
    results: () => result,
    dispose() {},
  };
}

function resident(xent, { rows, classes, logits, labels, gradient }) {
  const batch = xent.createBatch({ rows, classes, gradient });
  batch.logits.set(logits);
  batch.labels.set(labels);
  const options = { gradient };
  return {
    run: () => batch.run(options),
    results: () => ({ loss: batch.run(options).loss, gradient: gradient ? batch.gradient : undefined }),
    dispose: () => batch.dispose(),
  };
}
