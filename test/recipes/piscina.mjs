import { Piscina } from "piscina";
import { createXent } from "xent";

const xent = await createXent({ shared: true });
const batch = xent.createBatch({ rows: 8, classes: 1000 });
for (let i = 0; i < batch.logits.length; i++) batch.logits[i] = (i % 7) + (i % 11); // your logits
for (let i = 0; i < batch.rows; i++) batch.labels[i] = 100 * i;

// Made once, for every round: a share is one task's at a time, whichever worker runs it.
const tasks = [0, 2, 4, 6].map((begin) => ({ xent: xent.share(), batch: batch.share(), rows: [begin, begin + 2] }));
const pool = new Piscina({ filename: import.meta.resolve("./piscina-worker.mjs"), maxThreads: tasks.length });
const parts = await Promise.all(tasks.map((task) => pool.run(task)));
await pool.close();

console.log(...parts.flatMap(({ loss }) => [...loss]));
