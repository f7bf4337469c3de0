// Measures how fast xent and its peers are. Each peer has a process; for every shape and case, each round runs all peers. See
// docs/measurements.
import { mkdirSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { cases, dataOf, plainCases, plainOf, title } from "./cases.mjs";
import { generate } from "./data.mjs";
import { install, newestNode, nodeBinary } from "./install.mjs";
import { linear } from "./linear.mjs";
import { commandLine, folderOf, machine } from "./machine.mjs";
import { measure, problem, ratio } from "./measure.mjs";
import { peers, reference } from "./peers.mjs";
import { Children, pinned } from "./processes.mjs";
import { ratios } from "./ratios.mjs";
import { speedReport } from "./report.mjs";

const TABLE = ["4096x10", "1024x1000", "128x32000", "32x128256", "16x262144"];
const SWEEP = [2, 4, 10, 32, 100, 320, 1000, 3200, 10000, 32000, 100000, 262144];
const SWEEP_ELEMENTS = 2 ** 20;

/** Options that leave something out of the measurements. */
const CHOICES = {
  parts: { type: "string", default: "table,sweep,cases,linear" },
  shapes: { type: "string", default: TABLE.join() },
  cases: { type: "string", multiple: true, default: [""] },
  peers: { type: "string", default: "" },
  threads: { type: "string", default: "1,2" },
};
const { values: options } = parseArgs({
  options: {
    ...CHOICES,
    native: { type: "boolean", default: false },
    rounds: { type: "string", default: "9" },
    milliseconds: { type: "string", default: "50" },
    node: { type: "string", default: newestNode },
    out: { type: "string" },
    // Only the cases of xent: see ratios.mjs.
    ratios: { type: "boolean", default: false },
    variant: { type: "string", default: "relaxed,simd128" },
    dist: { type: "string" },
    beside: { type: "string" },
  },
});

const settings = { rounds: Number(options.rounds), milliseconds: Number(options.milliseconds) };
const shortSettings = { rounds: Math.ceil(settings.rounds / 2), milliseconds: settings.milliseconds / 2 };
const node = nodeBinary(options.node);
const children = new Children(node);
const wanted = (one) => options.cases.some((prefix) => title(one).startsWith(prefix));
const chosenCases = cases.filter(wanted);

if (options.ratios) {
  const variants = options.variant.split(",");
  const [dist, beside] = [options.dist, options.beside].map((path) => path && resolve(path));
  const more = beside ? plainCases.filter(wanted) : [];
  await ratios(children, [...more, ...chosenCases], { variants, dist, beside, settings });
} else await compare();
children.close();

/** Measures all peers and writes a report. */
async function compare() {
  const chosen = peers.filter(
    ({ name, language }) =>
      (options.native || language === "js") && options.peers.split(",").some((prefix) => name.startsWith(prefix)),
  );
  const parts = options.parts.split(",");
  install({ native: options.native });
  const measurements = [];
  for (const threads of options.threads.split(",").map(Number)) {
    const able = chosen.filter((one) => one.threads.includes(threads));
    if (parts.includes("table")) {
      for (const shape of options.shapes.split(",")) {
        const [rows, classes] = shape.split("x").map(Number);
        measurements.push(...(await shapeOf(able, { part: "table", threads, rows, classes }, settings)));
      }
    }
    if (parts.includes("sweep") && threads === 1) {
      for (const classes of SWEEP) {
        const rows = Math.max(1, Math.round(SWEEP_ELEMENTS / classes));
        measurements.push(...(await shapeOf(able, { part: "sweep", threads, rows, classes }, shortSettings)));
      }
    }
    if (parts.includes("cases") && threads === 1) {
      for (const one of chosenCases) measurements.push(...(await caseOf(able, one)));
    }
    children.close();
  }
  const ofLinear = {
    node: options.node,
    native: options.native,
    peers: options.peers.split(","),
    threads: options.threads.split(",").map(Number),
    rounds: shortSettings.rounds,
  };

  const report = {
    description: "Sparse softmax cross-entropy: nanoseconds per logit. Made by npm run bench.",
    command: commandLine("bench"),
    ...machine(node),
    versions: Object.fromEntries(
      Object.entries(children.versions).filter(([name]) => chosen.some((peer) => peer.name === name)),
    ),
    pinned,
    settings: { table: settings, sweep: shortSettings, cases: shortSettings },
    peers: chosen.map(({ name, bound = false, ours = false }) => ({ name, bound, ours })),
    measurements,
    ...(parts.includes("linear") ? { linear: await timed("linear", () => linear(ofLinear)) } : {}),
  };
  const out = folderOf(options, CHOICES);
  mkdirSync(out, { recursive: true });
  writeFileSync(join(out, "bench.json"), `${JSON.stringify(report, null, 1)}\n`);
  writeFileSync(join(out, "bench.md"), speedReport(report));
  console.error(`bench.json and bench.md are in ${out}`);
}

/** Measures plain rows of a shape. */
async function shapeOf(able, shape, settings) {
  const { part, threads, rows, classes } = shape;
  return timed(`${part} ${rows}x${classes}, ${threads === 1 ? "1 thread" : `${threads} threads`}`, async () => {
    const given = problem(generate({ rows, classes, seed: classes }));
    const entries = [];
    for (const gradient of [false, true]) {
      const runs = able.map((peer) => ({ peer, problem: given, entry: { ...shape, gradient, peer: peer.name } }));
      await measure(children, runs, settings);
      entries.push(...runs.map(({ entry }) => entry));
    }
    return entries;
  });
}

/** Measures an option, type or layout, also as a ratio to plain rows: of the same variant for xent, of the reference for a peer. */
async function caseOf(able, one) {
  return timed(title(one), async () => {
    const given = problem(dataOf(one), "case");
    const plain = problem(plainOf(one), "plain");
    const entries = [];
    for (const gradient of [false, true]) {
      const run = (peer, data, name) => ({
        peer: { ...peer, name },
        problem: data,
        entry: entryOf(one, gradient, name),
      });
      const runs = able.filter((peer) => peer.cases).map((peer) => run(peer, given, peer.name));
      const plains = able
        .filter((peer) => peer.cases && peer.ours)
        .map((peer) => run(peer, plain, plainName(peer.name)));
      await measure(children, [...runs, ...plains], shortSettings);
      for (const own of runs) {
        const find = (name) => plains.find(({ peer }) => peer.name === plainName(name));
        const compared = find(own.peer.name) ?? find(reference);
        own.entry.plain = compared?.entry.nanoseconds?.median;
        own.entry.timesPlain = compared && ratio(own, compared);
        entries.push(own.entry);
      }
    }
    return entries;
  });
}

function entryOf(one, gradient, peer) {
  const { name, rows, classes, layout } = one;
  return { part: "cases", case: name, threads: 1, rows, classes, shape: layout?.shape, gradient, peer };
}

function plainName(name) {
  return `${name}, plain rows`;
}

async function timed(name, action) {
  const begin = performance.now();
  const result = await action();
  console.error(`${name}: ${((performance.now() - begin) / 1000).toFixed(1)} s`);
  return result;
}
