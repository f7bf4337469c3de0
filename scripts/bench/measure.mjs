// Checks the results of implementations, and then measures them in turn.
import { mistake, oracle } from "./oracle.mjs";
import { ChildFailure, readResults, writeData } from "./processes.mjs";

/** Data with their expected results. Problems that are measured together need different names. */
export function problem(data, name) {
  return {
    classes: data.classes,
    logits: data.rows * data.classes,
    exact: oracle(data),
    request: writeData(data, name),
  };
}

/**
 * Each run is { peer, problem, entry }. Its entry { threads, gradient, ... } gets a status and, if this is "ok", the quartiles of
 * the nanoseconds per logit; `samples` has the nanoseconds of each round.
 */
export async function measure(children, runs, { rounds, milliseconds }) {
  const ready = [];
  for (const run of runs) {
    if (await prepare(children, run)) ready.push(Object.assign(run, { samples: [] }));
  }
  for (let round = 0; round < rounds; round++) {
    // Each round begins with another peer.
    for (let k = 0; k < ready.length; k++) {
      const { peer, problem, entry, samples } = ready[(k + round) % ready.length];
      if (entry.status !== "ok") continue;
      await attempt(entry, async () => {
        const { nanoseconds } = await children.ask(peer, entry.threads, "measure", { milliseconds });
        samples.push(nanoseconds / problem.logits);
      });
    }
  }
  for (const { peer, entry, samples } of ready) {
    if (entry.status !== "ok") continue;
    entry.nanoseconds = quartiles(samples);
    await release(children, peer, entry);
  }
}

/** The median over the rounds of the ratio of one run's time to another's, if both succeeded. */
export function ratio(run, other) {
  if (run.entry.status !== "ok" || other?.entry.status !== "ok") return undefined;
  return quartiles(run.samples.map((value, round) => value / other.samples[round])).median;
}

async function prepare(children, { peer, problem, entry }) {
  const { threads, gradient } = entry;
  entry.status = "ok";
  await attempt(entry, async () => {
    await children.ask(peer, threads, "prepare", { gradient, ...problem.request });
    const results = await readResults(children, peer, threads, gradient);
    const wrong = results && mistake(results, problem.exact, problem.classes);
    if (wrong) fail(entry, "wrong", wrong);
    else await children.ask(peer, threads, "warmUp");
  });
  if (entry.status === "wrong") await release(children, peer, entry);
  return entry.status === "ok";
}

function release(children, peer, entry) {
  return attempt(entry, () => children.ask(peer, entry.threads, "release"));
}

/** Records a failure in the entry: the failure of one peer is a result and does not end the run. */
async function attempt(entry, action) {
  try {
    await action();
  } catch (error) {
    if (!(error instanceof ChildFailure)) throw error;
    fail(entry, error.status, error.message);
  }
}

function fail(entry, status, reason) {
  Object.assign(entry, { status, reason });
  console.error(`    ${entry.peer}: ${status}: ${reason}`);
}

export function quartiles(samples) {
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
