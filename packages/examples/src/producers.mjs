// Eight producers, each in its own worker, write a language model's logits into one batch and compute the losses of their rows.
import { once } from "node:events";
import { Worker } from "node:worker_threads";
import { createXent } from "xent";
import { loadTokens } from "./language-model.mjs";

const PRODUCERS = 8;

const { labels, rows, classes } = await loadTokens();
const xent = await createXent({ shared: true });
const batch = xent.createBatch({ rows, classes });
batch.labels.set(labels);

const results = Array.from({ length: PRODUCERS }, async (_, i) => {
  const own = [(i * rows) / PRODUCERS, ((i + 1) * rows) / PRODUCERS];
  const workerData = { xent: xent.share(), batch: batch.share(), rows: own };
  const [result] = await once(new Worker(new URL("producer.mjs", import.meta.url), { workerData }), "message");
  return result;
});
const parts = await Promise.all(results);

const total = (name) => parts.reduce((sum, part) => sum + part[name], 0);
console.log(total("sum") / total("normalizer"), ...batch.loss);
