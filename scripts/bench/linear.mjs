// A linear layer with its loss: xent/linear and its peers, a process each. Their time in turn, and the memory that a pass takes.
import { spawn } from "node:child_process";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { nodeBinary, venvPython } from "./install.mjs";
import { quartiles } from "./measure.mjs";

const here = fileURLToPath(new URL(".", import.meta.url));
const JS = ["xent relaxed", "xent simd128", "onnxruntime-web, product", "onnxruntime-node, product", "tfjs wasm"];
const PYTHON = ["PyTorch", "PyTorch compiled"];
const SHAPES = ["1024x384x1000", "256x768x32000"];
/** For memory: few features, so that the weight is small beside the logits. */
const VOCABULARIES = [1000, 4000, 16_000, 64_000, 128_000];
const MEMORY = ["xent relaxed", "onnxruntime-web, product", "tfjs wasm", "PyTorch"];
const ROWS = 1024;
const FEATURES = 64;
const PASSES = ["forward", "both"];

/** Measures the peers whose names begin with one of these. */
export async function linear({ node, native, peers, threads, rounds }) {
  const able = [...JS, ...(native ? PYTHON : [])].filter((name) => peers.some((prefix) => name.startsWith(prefix)));
  const start = (name, threads, shape) => startPeer(nodeBinary(node), name, threads, shape);
  const times = [];
  for (const count of threads) {
    for (const shape of SHAPES) times.push(...(await timesOf(able, count, shape, rounds, start)));
  }
  const memory = [];
  for (const name of able.filter((name) => MEMORY.includes(name))) {
    for (const classes of VOCABULARIES) {
      for (const pass of PASSES) {
        const child = start(name, 1, `${ROWS}x${FEATURES}x${classes}`);
        const grown = (await child.ask(pass))?.grown;
        child.end();
        if (grown !== undefined) memory.push({ peer: name, classes, gradient: pass === "both", bytes: grown });
      }
    }
  }
  return { times, memory: { rows: ROWS, features: FEATURES, measurements: memory } };
}

async function timesOf(names, threads, shape, rounds, start) {
  const children = new Map(names.map((name) => [name, start(name, threads, shape)]));
  const found = new Map(names.map((name) => [name, { forward: [], both: [] }]));
  // Round 0 warms up.
  for (let round = 0; round <= rounds; round++) {
    for (const [name, child] of children) {
      for (const pass of PASSES) {
        const answer = await child.ask(pass);
        if (answer?.wall !== undefined && round > 0) found.get(name)[pass].push(answer);
      }
    }
  }
  for (const child of children.values()) child.end();
  return [...found].flatMap(([peer, passes]) =>
    PASSES.filter((pass) => passes[pass].length > 0).map((pass) => {
      const of = (kind) => quartiles(passes[pass].map((answer) => answer[kind]));
      const { mean } = passes[pass][0];
      return { peer, threads, shape, gradient: pass === "both", milliseconds: of("wall"), processor: of("cpu"), mean };
    }),
  );
}

function startPeer(node, name, threads, shape) {
  const [program, script] = JS.includes(name) ? [node, "linear-peers.mjs"] : [venvPython, "linear_peers.py"];
  const cores = threads === 1 ? "1" : "0,1";
  const child = spawn("taskset", ["-c", cores, program, join(here, script), name, String(threads), shape], {
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
