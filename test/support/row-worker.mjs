// A worker that runs rows of batches that the owner of the memory shares with it.
import { parentPort, workerData } from "node:worker_threads";
import { attach } from "xent";

const xent = attach(workerData);

parentPort.on("message", ({ batch, options }) => {
  const result = xent.attachBatch(batch).run(options);
  parentPort.postMessage(result);
});
