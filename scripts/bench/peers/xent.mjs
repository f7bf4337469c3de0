// xent. Resident batch: the logits are already in its memory, as if a model had written them there; results are views.
// One call: an ordinary Float32Array is copied in, and the results are copied out into new arrays.
// Two threads: the pool. `dist`: another build of the package.
import { existsSync, readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

export async function open({ variant, oneCall, threads, dist }) {
  const entry = dist ? pathToFileURL(`${dist}/index.js`).href : import.meta.resolve("xent");
  const manifest = new URL("../package.json", entry);
  const version = existsSync(manifest) ? JSON.parse(readFileSync(manifest, "utf8")).version : undefined;
  const { createXent, sparseSoftmaxCrossEntropyWithLogits } = await import(entry);
  if (oneCall) return { version, prepare: (data) => prepareOneCall(sparseSoftmaxCrossEntropyWithLogits, data) };
  const xent = await createXent({ variant, threads });
  return { version, prepare: (data) => resident(xent, data) };
}

function prepareOneCall(call, { logits, labels, gradient }) {
  let result;
  return {
    run() {
      result = call(logits, labels, { gradient });
    },
    results: () => result,
    dispose() {},
  };
}

function resident(xent, data) {
  const { rows, classes, stride, shape, axis, gradient, targets, teacher, classWeights, sampleWeights } = data;
  const layout = shape ? { shape, axis } : { rows, classes, stride };
  const types = { logits: data.type, labels: data.labelsType, targets: teacher ? "logits" : targets !== undefined };
  const batch = xent.createBatch({ ...layout, ...types, gradient });
  copy(data.logits, batch.logits);
  if (targets ?? teacher) batch.targets.set(targets ?? teacher);
  else batch.labels.set(data.labels);
  const options = {
    ...data.options,
    ...(classWeights && { classWeights }),
    ...(sampleWeights && { sampleWeights }),
    gradient,
  };
  return {
    run: () => batch.run(options),
    results: () => ({ loss: batch.run(options).loss, gradient: gradient ? batch.gradient : undefined }),
    dispose: () => batch.dispose(),
  };
}

/** Copies the bytes: the batch's array may have floats while `source` has bits. */
function copy(source, { buffer, byteOffset, length }) {
  new source.constructor(buffer, byteOffset, length).set(source);
}
