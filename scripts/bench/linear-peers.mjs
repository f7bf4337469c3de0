// A process of linear.mjs for one peer. Answers each line that asks for "forward" or "both" with a line of JSON.
import { readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, sep } from "node:path";
import { createInterface } from "node:readline";

const [name, threads, shape] = process.argv.slice(2);
const [rows, features, classes] = shape.split("x").map(Number);

function numbers(length, size) {
  let state = 1;
  return Float32Array.from({ length }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return size * (state / 2 ** 32 - 0.5);
  });
}
const h = numbers(rows * features, 2);
const w = numbers(classes * features, 0.2);
const labels = Int32Array.from({ length: rows }, (_, i) => (i * 7919) % classes);

/**
 * Each returns functions { forward, both } that return the mean loss. A peer may lack `both`. `prepare` does what is not measured.
 */
const peers = {
  async xent(variant) {
    const { createXent } = await import("../../packages/xent/dist/index.js");
    const { createLinear } = await import("../../packages/xent/dist/linear.js");
    const xent = await createXent({ threads: Number(threads), variant });
    const layers = {};
    // One without gradients takes less memory.
    const prepare = (pass) => {
      if (layers[pass]) return;
      const head = createLinear(xent, { rows, features, classes, gradient: pass === "both" });
      head.features.set(h);
      head.weight.set(w);
      head.labels.set(labels);
      layers[pass] = head;
    };
    const run = (pass) => () => layers[pass].run({ gradient: pass === "both", reduction: "mean" }).mean;
    return { prepare, forward: run("forward"), both: run("both") };
  },
  "xent relaxed": () => peers.xent("relaxed"),
  "xent simd128": () => peers.xent("simd128"),
  "onnxruntime-web, product": async () => {
    const ort = await import("onnxruntime-web");
    ort.env.wasm.numThreads = Number(threads);
    ort.env.logLevel = "error";
    return product(ort);
  },
  "onnxruntime-node, product": async () => product((await import("onnxruntime-node")).default),
  async "tfjs wasm"() {
    const require = createRequire(import.meta.url);
    const tf = require("@tensorflow/tfjs-core");
    const backend = require("@tensorflow/tfjs-backend-wasm");
    backend.setWasmPaths(dirname(require.resolve("@tensorflow/tfjs-backend-wasm")) + sep);
    await tf.setBackend("wasm");
    const [a, b] = [tf.tensor2d(h, [rows, features]), tf.tensor2d(w, [classes, features])];
    const own = tf.tensor1d(
      labels.map((label, i) => i * classes + label),
      "int32",
    );
    return {
      forward() {
        tf.engine().startScope();
        const x = tf.matMul(a, b, false, true);
        const loss = tf.sub(tf.logSumExp(x, 1), tf.gather(tf.reshape(x, [rows * classes]), own)).dataSync();
        tf.engine().endScope();
        return loss.reduce((p, q) => p + q, 0) / rows;
      },
    };
  },
};

/** A model that computes only the logits. */
async function product(ort) {
  const { constant, model, node, value } = await import("../onnx.mjs");
  const transposed = new Float32Array(features * classes);
  for (let j = 0; j < classes; j++) {
    for (let k = 0; k < features; k++) transposed[k * classes + j] = w[j * features + k];
  }
  const bytes = model({
    inputs: [value("h", "float32", [rows, features])],
    outputs: [value("x", "float32", [rows, classes])],
    nodes: [node("MatMul", ["h", "w"], ["x"])],
    constants: [constant("w", "float32", [features, classes], transposed)],
  });
  const session = await ort.InferenceSession.create(bytes, {
    intraOpNumThreads: Number(threads),
    interOpNumThreads: 1,
  });
  const feeds = { h: new ort.Tensor("float32", h, [rows, features]) };
  return { forward: async () => void (await session.run(feeds)) };
}

/** The memory of this process now and at most since the last call, where the system tells. */
function memory() {
  try {
    const status = readFileSync("/proc/self/status", "utf8");
    const of = (field) => 1024 * Number(new RegExp(`^${field}:\\s+(\\d+)`, "m").exec(status)[1]);
    const found = { now: of("VmRSS"), most: of("VmHWM") };
    writeFileSync("/proc/self/clear_refs", "5");
    return found;
  } catch {
    return undefined;
  }
}

const peer = await peers[name]();
for await (const line of createInterface({ input: process.stdin })) {
  let answer = {};
  if (peer[line] !== undefined) {
    peer.prepare?.(line);
    const before = memory();
    const [cpu, begin] = [process.cpuUsage(), performance.now()];
    const mean = await peer[line]();
    const wall = performance.now() - begin;
    const { user, system } = process.cpuUsage(cpu);
    const grown = before && memory().most - before.now;
    answer = { cpu: (user + system) / 1000, wall, mean, grown };
  }
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}
process.exit(0);
