// The suite in Node.js, Deno and Bun, and then the programs in its arguments.
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { Worker } from "node:worker_threads";
import { suite } from "./suite.mjs";

function startNodeWorker(xent) {
  const worker = new Worker(new URL("row-worker.mjs", import.meta.url), { workerData: xent });
  return {
    run(batch, options) {
      worker.postMessage({ batch, options });
      return once(worker, "message");
    },
    end: () => worker.terminate(),
  };
}

const seen = await suite({ read: (url) => readFile(new URL(url)), workers: { node: startNodeWorker } });
console.log(JSON.stringify(seen));
for (const program of process.argv.slice(2)) await import(new URL(program, import.meta.url));
