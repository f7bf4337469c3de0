// The second thread of xent.mjs: the newest batch that was posted, whenever the signal says so.
import { parentPort, receiveMessageOnPort, workerData } from "node:worker_threads";
import { attach } from "xent";
import { Signal } from "./signal.mjs";

const xent = attach(workerData.xent);
const signal = new Signal(workerData.signal);
let batch;
let options;
for (;;) {
  signal.awaitStart();
  for (let posted = receiveMessageOnPort(parentPort); posted; posted = receiveMessageOnPort(parentPort)) {
    batch = xent.attachBatch(posted.message.batch);
    options = posted.message.options;
  }
  batch.run(options);
  signal.done();
}
