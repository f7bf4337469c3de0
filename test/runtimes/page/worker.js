import "/node_modules/xent/dist/pool/worker.js";
