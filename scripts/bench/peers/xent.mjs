// xent. A resident batch: the logits are in its memory already, as where a model writes them there; results are views.
// One call: an ordinary Float32Array is copied in, and the results are copied out into new arrays.
// Two threads: a shared memory; a worker attaches to it and runs the second half of the rows.
import { readFileSync } from "node:fs";
import { Worker } from "node:worker_threads";
import { createXent, sparseSoftmaxCrossEntropyWithLogits } from "xent";
import { Signal } from "./signal.mjs";

const { version } = JSON.parse(readFileSync(new URL(import.meta.resolve("xent/package.json")), "utf8"));

export async function open({ variant, oneCall, threads }) {
  if (oneCall) return { version, prepare: prepareOneCall };
  const xent = await createXent({ variant, shared: threads === 2 });
  const prepare =
    threads === 2
      ? await withWorker(xent)
      : ({ batch, options }) =>
          () =>
            batch.run(options);
  return { version, prepare: (data) => resident(xent, data, prepare) };
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

function resident(xent, { rows, classes, logits, labels, gradient }, prepare) {
  const batch = xent.createBatch({ rows, classes, gradient });
  batch.logits.set(logits);
  batch.labels.set(labels);
  const options = { gradient };
  return {
    run: prepare({ batch, options }),
    results: () => ({ loss: batch.run(options).loss, gradient: gradient ? batch.gradient : undefined }),
    dispose: () => batch.dispose(),
  };
}

async function withWorker(xent) {
  const signal = new Signal();
  const worker = new Worker(new URL("xent-worker.mjs", import.meta.url), {
    workerData: { xent: xent.share(), signal: signal.buffer },
  });
  worker.unref();
  return ({ batch, options }) => {
    const middle = batch.rows >> 1;
    worker.postMessage({ batch: batch.share(), options: { ...options, rows: [middle, batch.rows] } });
    const half = { ...options, rows: [0, middle] };
    return () => {
      signal.start();
      batch.run(half);
      signal.awaitDone();
    };
  };
}
