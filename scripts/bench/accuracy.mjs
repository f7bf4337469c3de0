// Measures how exact xent and its peers are. Uses the child processes of bench.mjs, but only their results. See docs/measurements.
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { families, gaps } from "./families.mjs";
import { install, newestNode, nodeBinary } from "./install.mjs";
import { commandLine, folderOf, machine } from "./machine.mjs";
import { isNormal, oracle, ulp } from "./oracle.mjs";
import { peers } from "./peers.mjs";
import { ChildFailure, Children, readResults, writeData } from "./processes.mjs";
import { accuracyReport } from "./report.mjs";

// The oracle's own error: it sums many logits in f64. Golden values have no such error.
const ORACLE_ERROR = 1e-11;
const SERIES = "confident rows, 10 classes";

const CHOICES = {
  peers: { type: "string", default: "" },
  families: { type: "string", default: "" },
};
const { values: options } = parseArgs({
  options: {
    ...CHOICES,
    native: { type: "boolean", default: false },
    node: { type: "string", default: newestNode },
    out: { type: "string" },
  },
});
const node = nodeBinary(options.node);
const startsWithOneOf = (prefixes, name) => prefixes.split(",").some((prefix) => name.startsWith(prefix));
const chosen = peers.filter(
  ({ name, language, bound, options: { oneCall } = {} }) =>
    // One call gives the same bits as a batch.
    !bound && !oneCall && (options.native || language === "js") && startsWithOneOf(options.peers, name),
);

install({ native: options.native });
const children = new Children(node);
const measurements = [];
const lossByGap = {};
for (const [family, batches] of families().filter(([name]) => startsWithOneOf(options.families, name))) {
  const begin = performance.now();
  const judged = batches.map((data) => ({ data, exact: oracle(data) }));
  for (const { data, exact } of judged) checkOracle(family, data, exact);
  for (const peer of chosen) {
    const tally = newTally();
    for (const { data, exact } of judged) await judge(peer, data, exact, tally, family);
    measurements.push({ family, peer: peer.name, ...summary(tally) });
  }
  console.error(`${family}: ${((performance.now() - begin) / 1000).toFixed(1)} s`);
}
children.close();

const report = {
  description:
    "Errors of sparse softmax cross-entropy in units in the last place of float32. Made by npm run accuracy.",
  command: commandLine("accuracy"),
  ...machine(node),
  versions: children.versions,
  peers: chosen.map(({ name }) => ({ name })),
  measurements,
  lossByGap: { family: SERIES, unit: "relative error of the loss", gaps, peers: lossByGap },
};
const out = folderOf(options, CHOICES);
mkdirSync(out, { recursive: true });
writeFileSync(join(out, "accuracy.json"), `${JSON.stringify(report, special, 1)}\n`);
writeFileSync(join(out, "accuracy.md"), accuracyReport(report));
console.error(`accuracy.json and accuracy.md are in ${out}`);

function newTally() {
  return { loss: [], labelGradient: [], otherGradient: [], specials: 0, wrongSpecials: 0, failures: [] };
}

async function judge(peer, data, exact, tally, family) {
  const { rows, classes, labels } = data;
  const ask = (operation, request) => children.ask(peer, 1, operation, request);
  let got;
  try {
    await ask("prepare", { gradient: true, ...writeData(data) });
    got = await readResults(children, peer, 1, true);
    await ask("release");
  } catch (error) {
    if (!(error instanceof ChildFailure)) throw error;
    tally.failures.push(`${rows}x${classes}: ${error.message}`);
    return;
  }
  for (let i = 0; i < rows; i++) {
    enter(tally, tally.loss, got.loss[i], exact.loss[i]);
    for (let j = 0, at = i * classes; j < classes; j++, at++) {
      const list = j === labels[i] ? tally.labelGradient : tally.otherGradient;
      enter(tally, list, got.gradient[at], exact.gradient[at]);
    }
  }
  if (family === SERIES) {
    lossByGap[peer.name] = Array.from(exact.loss, (loss, i) => short(Math.abs(got.loss[i] - loss) / loss));
  }
}

/** Records an error if the exact value is a normal float32. Infinities and NaN are counted as right or wrong. */
function enter(tally, list, got, exact) {
  if (isNormal(exact)) list.push(ulp(got, exact));
  else if (!Number.isFinite(exact)) {
    tally.specials += 1;
    if (!Object.is(got, exact)) tally.wrongSpecials += 1;
  }
}

function summary({ loss, labelGradient, otherGradient, ...rest }) {
  return { loss: spread(loss), labelGradient: spread(labelGradient), otherGradient: spread(otherGradient), ...rest };
}

function spread(errors) {
  const sorted = Float64Array.from(errors).sort();
  if (sorted.length === 0) return { count: 0 };
  return { count: sorted.length, worst: short(sorted.at(-1)), median: short(sorted[sorted.length >> 1]) };
}

function checkOracle(family, { expected }, { loss }) {
  expected?.forEach((value, i) => {
    if (!(Object.is(loss[i], value) || Math.abs(loss[i] - value) <= ORACLE_ERROR * Math.abs(value))) {
      throw new Error(`${family}: the oracle has ${loss[i]} where the golden value is ${value}`);
    }
  });
}

function short(value) {
  return Number(value.toPrecision(3));
}

/** Writes infinities as strings, as the golden files do: JSON has none. */
function special(_, value) {
  return typeof value === "number" && !Number.isFinite(value) ? String(value) : value;
}
