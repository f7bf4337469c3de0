// One of the producers of producers.mjs.
import { parentPort, workerData } from "node:worker_threads";
import { attach } from "xent";
import { loadTokens } from "./language-model.mjs";

const batch = attach(workerData.xent).attachBatch(workerData.batch);
const [begin, end] = workerData.rows;

const { logits } = await loadTokens(); // your model
batch.logits.set(logits.subarray(begin * batch.classes, end * batch.classes), begin * batch.classes);

parentPort.postMessage(batch.run({ rows: [begin, end] }));
