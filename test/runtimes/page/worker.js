import "/node_modules/xent/dist/worker.js";
