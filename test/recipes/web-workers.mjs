import { createXent } from "xent";

const xent = await createXent({ shared: true });
const batch = xent.createBatch({ rows: 8, classes: 1000 });
for (let i = 0; i < batch.logits.length; i++) batch.logits[i] = (i % 7) + (i % 11); // your logits
for (let i = 0; i < batch.rows; i++) batch.labels[i] = 100 * i;

const results = [0, 2, 4, 6].map(async (begin) => {
  const worker = new Worker(new URL("web-worker.mjs", import.meta.url), { type: "module" });
  worker.postMessage({ xent: xent.share(), batch: batch.share(), rows: [begin, begin + 2] });
  const { data } = await new Promise((resolve, reject) => {
    worker.onmessage = resolve;
    worker.onerror = reject;
  });
  worker.terminate();
  return data;
});
const parts = await Promise.all(results);

console.log(...parts.flatMap(({ loss }) => [...loss]));
