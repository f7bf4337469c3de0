import { createXent } from "/node_modules/xent/dist/index.js";

async function lossOf(options) {
  const xent = await createXent(options);
  const batch = xent.createBatch({ rows: 64, classes: 10_000 });
  batch.logits.set(batch.logits.map((_, i) => (i % 1024) / 64));
  const { loss } = await batch.runAsync();
  return { threads: xent.threads, loss: Array.from(loss) };
}

const createWorker = () => new Worker("/worker.js", { type: "module" });
const seen = {
  alone: await lossOf({ threads: 1 }),
  embedded: await lossOf({ threads: 2 }).catch(String),
  ofFiles: await lossOf({ threads: 2, createWorker }).catch(String),
};
console.log(JSON.stringify(seen));
