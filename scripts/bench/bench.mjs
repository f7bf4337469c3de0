// How fast xent and its peers are: one process a peer, all shapes in turn, every peer in each round. See docs/measurements.
import { mkdirSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { root } from "../toolchain.mjs";
import { generate } from "./data.mjs";
import { install, newestNode, nodeBinary } from "./install.mjs";
import { commandLine, machine } from "./machine.mjs";
import { measure, problem } from "./measure.mjs";
import { peers } from "./peers.mjs";
import { Children, pinned } from "./processes.mjs";
import { ratios } from "./ratios.mjs";
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
    cases: { type: "string", multiple: true, default: [""] },
    // Only xent, each case beside plain rows; of another build, or beside one.
    ratios: { type: "boolean", default: false },
    variant: { type: "string", default: "relaxed,simd128" },
    dist: { type: "string" },
    beside: { type: "string" },
    out: { type: "string", default: join(root, "docs/measurements") },
  },
});

const settings = { rounds: Number(options.rounds), milliseconds: Number(options.milliseconds) };
const sweepSettings = { rounds: Math.ceil(settings.rounds / 2), milliseconds: settings.milliseconds / 2 };
const node = nodeBinary(options.node);
/** Whether a case was asked for. */
const wanted = (title) => options.cases.some((prefix) => title.startsWith(prefix));

if (options.ratios) {
  const children = new Children(node);
  const { variant, dist, beside } = options;
  const places = { dist: dist && resolve(dist), beside: beside && resolve(beside) };
  await ratios(children, { variants: variant.split(","), ...places, wanted, settings });
  children.close();
  process.exit();
}

const chosen = peers.filter(
  ({ name, language }) =>
    (options.native || language === "js") && options.peers.split(",").some((prefix) => name.startsWith(prefix)),
);

install({ native: options.native });
const children = new Children(node);
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
  ...machine(node),
  versions: children.versions,
  pinned,
  settings: { table: settings, sweep: sweepSettings },
  peers: chosen.map(({ name, bound = false, ours = false }) => ({ name, bound, ours })),
  measurements,
};
mkdirSync(options.out, { recursive: true });
writeFileSync(join(options.out, "bench.json"), `${JSON.stringify(report, null, 1)}\n`);
writeFileSync(join(options.out, "bench.md"), speedReport(report));

async function measureShape(shape, settings) {
  const { threads, rows, classes } = shape;
  const begin = performance.now();
  const given = problem(generate({ rows, classes, seed: classes }));
  for (const gradient of [false, true]) {
    const runs = chosen
      .filter((one) => one.threads.includes(threads))
      .map((peer) => ({ peer, problem: given, entry: { ...shape, gradient, peer: peer.name } }));
    measurements.push(...runs.map(({ entry }) => entry));
    await measure(children, runs, settings);
  }
  const seconds = ((performance.now() - begin) / 1000).toFixed(1);
  console.error(`${shape.part} ${rows}x${classes}, ${threads === 1 ? "1 thread" : `${threads} threads`}: ${seconds} s`);
}
