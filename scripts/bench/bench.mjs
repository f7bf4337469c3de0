// How fast xent and its peers are: one process a peer, all shapes in turn, every peer in each round. See docs/measurements.
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { root } from "../toolchain.mjs";
import { generate } from "./data.mjs";
import { install, newestNode } from "./install.mjs";
import { commandLine, machine } from "./machine.mjs";
import { mistake, oracle } from "./oracle.mjs";
import { peers } from "./peers.mjs";
import { ChildFailure, Children, pinned, readResults, writeData } from "./processes.mjs";
import { speedReport } from "./report.mjs";

const TABLE = ["4096x10", "1024x1000", "128x32000", "32x128256", "16x262144"];
const SWEEP = [2, 4, 10, 32, 100, 320, 1000, 3200, 10000, 32000, 100000, 262144];
const SWEEP_ELEMENTS = 2 ** 20;

const { values: options } = parseArgs({
  options: {
    native: { type: "boolean", default: false },
    shapes: { type: "string", default: TABLE.join() },
    peers: { type: "string", default: "" },
    threads: { type: "string", default: "1,2" },
    rounds: { type: "string", default: "9" },
    milliseconds: { type: "string", default: "50" },
    "no-sweep": { type: "boolean", default: false },
    node: { type: "string", default: newestNode },
    out: { type: "string", default: join(root, "docs/measurements") },
  },
});

const settings = { rounds: Number(options.rounds), milliseconds: Number(options.milliseconds) };
const sweepSettings = { rounds: Math.ceil(settings.rounds / 2), milliseconds: settings.milliseconds / 2 };
const chosen = peers.filter(
  ({ name, language }) =>
    (options.native || language === "js") && options.peers.split(",").some((prefix) => name.startsWith(prefix)),
);

install({ native: options.native });
const children = new Children(options.node);
const measurements = [];
for (const threads of options.threads.split(",").map(Number)) {
  for (const shape of options.shapes.split(",")) {
    const [rows, classes] = shape.split("x").map(Number);
    await measureShape({ part: "table", threads, rows, classes }, settings);
  }
  if (threads === 1 && !options["no-sweep"]) {
    for (const classes of SWEEP) {
      const rows = Math.max(1, Math.round(SWEEP_ELEMENTS / classes));
      await measureShape({ part: "sweep", threads, rows, classes }, sweepSettings);
    }
  }
  children.close();
}

const report = {
  description: "Sparse softmax cross-entropy: nanoseconds per logit. Made by npm run bench.",
  command: commandLine("bench"),
  ...machine(options.node),
  versions: children.versions,
  pinned,
  settings: { table: settings, sweep: sweepSettings },
  peers: chosen.map(({ name, bound = false, ours = false }) => ({ name, bound, ours })),
  measurements,
};
mkdirSync(options.out, { recursive: true });
writeFileSync(join(options.out, "bench.json"), `${JSON.stringify(report, null, 1)}\n`);
writeFileSync(join(options.out, "bench.md"), speedReport(report));

async function measureShape(shape, { rounds, milliseconds }) {
  const { threads, rows, classes } = shape;
  const begin = performance.now();
  const data = generate({ rows, classes, seed: classes });
  const exact = oracle(data);
  const files = writeData(data);
  for (const gradient of [false, true]) {
    const entries = [];
    for (const peer of chosen.filter((one) => one.threads.includes(threads))) {
      const entry = { ...shape, gradient, peer: peer.name, status: "ok" };
      measurements.push(entry);
      await attempt(entry, async () => {
        await children.ask(peer, threads, "prepare", { rows, classes, gradient, ...files });
        const results = await readResults(children, peer, threads, gradient);
        const wrong = results && mistake(results, exact, classes);
        if (wrong) Object.assign(entry, { status: "wrong", reason: wrong });
        else await children.ask(peer, threads, "warmUp");
      });
      if (entry.status === "ok") entries.push({ peer, entry, samples: [] });
      else if (entry.status === "wrong") await release(peer, entry);
    }
    for (let round = 0; round < rounds; round++) {
      // Another one begins each round, so that nobody always follows the same one.
      for (let k = 0; k < entries.length; k++) {
        const { peer, entry, samples } = entries[(k + round) % entries.length];
        if (entry.status !== "ok") continue;
        await attempt(entry, async () => {
          const { nanoseconds } = await children.ask(peer, threads, "measure", { milliseconds });
          samples.push(nanoseconds / (rows * classes));
        });
      }
    }
    for (const { peer, entry, samples } of entries) {
      if (entry.status !== "ok") continue;
      entry.nanoseconds = quartiles(samples);
      await release(peer, entry);
    }
  }
  const seconds = ((performance.now() - begin) / 1000).toFixed(1);
  console.error(`${shape.part} ${rows}x${classes}, ${threads === 1 ? "1 thread" : `${threads} threads`}: ${seconds} s`);
}

function release(peer, entry) {
  return attempt(entry, () => children.ask(peer, entry.threads, "release"));
}

/** Keeps what went wrong in the entry: one peer's failure is a result, not the end of the run. */
async function attempt(entry, action) {
  try {
    await action();
  } catch (error) {
    if (!(error instanceof ChildFailure)) throw error;
    Object.assign(entry, { status: error.status, reason: error.message });
    console.error(`    ${entry.peer}: ${entry.status}: ${entry.reason}`);
  }
}

function quartiles(samples) {
  const sorted = samples.toSorted((a, b) => a - b);
  const at = (part) => {
    const position = part * (sorted.length - 1);
    const below = Math.floor(position);
    return sorted[below] + (position - below) * (sorted[Math.ceil(position)] - sorted[below]);
  };
  return { median: round(at(0.5)), lower: round(at(0.25)), upper: round(at(0.75)) };
}

function round(value) {
  return Number(value.toPrecision(4));
}
