// Measures a linear layer with its loss, by xent/linear and its peers: milliseconds of processor time, in turn, one process each,
// and peak memory. node scripts/bench/linear.mjs --shapes 256x768x32000 --native
import { spawn } from "node:child_process";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { install, newestNode, nodeBinary, venvPython } from "./install.mjs";
import { quartiles } from "./measure.mjs";

const { values: options } = parseArgs({
  options: {
    shapes: { type: "string", default: "1024x384x1000,256x768x32000" },
    threads: { type: "string", default: "1" },
    peers: { type: "string", default: "" },
    rounds: { type: "string", default: "5" },
    native: { type: "boolean", default: false },
    node: { type: "string", default: newestNode },
  },
});
const here = fileURLToPath(new URL(".", import.meta.url));
const JS = ["xent relaxed", "xent simd128", "onnxruntime-web, product", "onnxruntime-node, product", "tfjs wasm"];
const PYTHON = ["PyTorch", "PyTorch compiled"];

install({ native: options.native });
const names = [...JS, ...(options.native ? PYTHON : [])].filter((name) =>
  options.peers.split(",").some((prefix) => name.startsWith(prefix)),
);

function start(name, threads, shape) {
  const [program, script] = JS.includes(name)
    ? [nodeBinary(options.node), "linear-peers.mjs"]
    : [venvPython, "linear_peers.py"];
  const cores = threads === "1" ? "1" : "0,1";
  const child = spawn("taskset", ["-c", cores, program, join(here, script), name, threads, shape], {
    stdio: ["pipe", "pipe", process.env.XENT_BENCH_VERBOSE ? "inherit" : "ignore"],
    env: { ...process.env, OMP_NUM_THREADS: threads, MKL_NUM_THREADS: threads, CUDA_VISIBLE_DEVICES: "" },
  });
  child.stdin.on("error", () => {});
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  return {
    async ask(pass) {
      child.kill("SIGCONT");
      child.stdin.write(`${pass}\n`);
      for (;;) {
        const { value, done } = await lines.next();
        if (done) return undefined;
        if (!value.startsWith("{")) continue;
        // Stop the process: threads that a library leaves running would take time from the others.
        child.kill("SIGSTOP");
        return JSON.parse(value);
      }
    },
    end: () => child.kill("SIGKILL"),
  };
}

for (const threads of options.threads.split(",")) {
  for (const shape of options.shapes.split(",")) {
    const children = new Map(names.map((name) => [name, start(name, threads, shape)]));
    const found = new Map(names.map((name) => [name, { forward: [], both: [] }]));
    // Round 0 warms up.
    for (let round = 0; round <= Number(options.rounds); round++) {
      for (const [name, child] of children) {
        for (const pass of ["forward", "both"]) {
          const answer = await child.ask(pass);
          if (answer?.wall !== undefined && round > 0) found.get(name)[pass].push(answer);
        }
      }
    }
    for (const child of children.values()) child.end();
    for (const [name, { forward, both }] of found) {
      const cell = (answers) => {
        if (answers.length === 0) return "-";
        const [cpu, wall] = ["cpu", "wall"].map((kind) => quartiles(answers.map((answer) => answer[kind])).median);
        return `${cpu} ms cpu, ${wall} ms`;
      };
      const last = both.at(-1) ?? forward.at(-1);
      const peak = last ? `${Math.round(last.peak / 1e6)} MB` : "-";
      const mean = last?.mean?.toFixed(6) ?? "";
      console.log([shape, `${threads} threads`, name, cell(forward), cell(both), peak, mean].join(" | "));
    }
  }
}
