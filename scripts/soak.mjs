// Runs random jobs on all threads, compares their bits with those of one thread, and kills workers during jobs:
// npm run search -- pool --minutes 10 [--threads 3] [--seed 1]. Exits with 1 if a result is wrong, a job does not end as it should,
// or memory or handles grow. Needs --expose-gc, which scripts/search.mjs passes.
import { once } from "node:events";
import { existsSync, readdirSync } from "node:fs";
import { availableParallelism } from "node:os";
import { parseArgs } from "node:util";
import { Worker } from "node:worker_threads";
import { createXent, createXentSync, WorkerError } from "xent";
import { mulberry32 } from "../test/support/random.mjs";

const { values } = parseArgs({
  options: {
    minutes: { type: "string", default: "1" },
    threads: { type: "string", default: String(Math.max(3, availableParallelism())) },
    seed: { type: "string", default: String(Math.floor(Math.random() * 2 ** 31)) },
  },
});
const [minutes, threads, seed] = [values.minutes, values.threads, values.seed].map(Number);
if (!(minutes > 0 && threads >= 2 && Number.isInteger(seed))) {
  console.error("usage: npm run search -- pool [--minutes N] [--threads N] [--seed N]");
  process.exit(2);
}

/** Faults of test/support/fault-worker.mjs. "silence" is rare, because the pool waits for such a worker for seconds. */
const FAULTS = [...Array(12).fill(["throw", "exit", "exit"]).flat(), "memory", "memory", "silence"];
const MAX_ALIVE = 6;
/** Memory may be this much larger in the last quarter than in the second, because what an engine retains varies. */
const SLACK = { heapUsed: 8e6, arrayBuffers: 8e6, rss: 96e6 };

const next = mulberry32(seed);
const random = (below) => next() % below;
const pick = (of) => of[random(of.length)];
const file = (path) => new URL(`../test/support/${path}`, import.meta.url);

const seen = { jobs: 0, faults: 0, lost: 0, wrong: 0 };
const armed = new Int32Array(new SharedArrayBuffer(4));
/** The number of resources that keep the process alive, except output streams, plus its threads and files if the system lists them. */
const handles = () => {
  const resources = process
    .getActiveResourcesInfo()
    .filter((name) => !/^(Pipe|TTY|CloseReq|FSReq|FileHandle)/.test(name));
  const count = (folder) => (existsSync(folder) ? readdirSync(folder).length : 0);
  return resources.length + count("/proc/self/task") + count("/proc/self/fd");
};
console.log(`soak: ${minutes} minutes, ${threads} threads, seed ${seed}`);
const handlesAtFirst = handles();
const alone = createXentSync();
/** This instance lasts for the whole run. */
const resident = await createXent({ threads });
const helper = new Worker(file("row-worker.mjs"), { workerData: resident.share() });
/** The workers of this instance die. */
let victim = await startVictim();

async function startVictim() {
  const fault = pick(FAULTS);
  const createWorker = () =>
    new Worker(file("fault-worker.mjs"), {
      workerData: { armed, fault },
      resourceLimits: { maxOldGenerationSizeMb: 32 },
    });
  return createXent({ threads, createWorker });
}

function report(what, job) {
  seen.wrong++;
  console.error(`soak: ${what}: seed ${seed}, job ${seen.jobs}: ${JSON.stringify(job)}`);
}

/** Sizes range from a few logits to far more than make a second thread worthwhile. */
function randomJob() {
  const classes = 1 + random(pick([4, 40, 300, 3000, 40_000]));
  const rows = 1 + random(Math.ceil(400_000 / classes / pick([1, 10, 100])) % 20_000 || 1);
  const gradient = pick([false, true, "in-place"]);
  const options = { predictions: random(2) === 0, gradient: gradient !== false };
  if (random(3) === 0) options.reduction = "mean";
  if (random(4) === 0) options.temperature = 2;
  if (random(4) === 0) options.labelSmoothing = 0.1;
  if (random(4) === 0) options.classWeights = new Float32Array(classes).fill(0.5);
  if (random(4) === 0) options.ignoreIndex = 0;
  const begin = random(4) === 0 ? random(rows) : 0;
  if (begin > 0) options.rows = [begin, rows];
  return { spec: { rows, classes, gradient }, options };
}

function fill(batch) {
  const { logits, labels, classes } = batch;
  let x = random(2 ** 31);
  for (let i = 0; i < logits.length; i++) {
    x = (Math.imul(x, 1664525) + 1013904223) | 0;
    logits[i] = x / 2 ** 28;
  }
  for (let row = 0; row < labels.length; row++) labels[row] = random(classes);
}

/** A copy of a result. */
const copy = (result) => {
  const bytes = (array) => Buffer.from(array.buffer, array.byteOffset, array.byteLength);
  return Object.entries(result).map(([name, value]) => [
    name,
    ArrayBuffer.isView(value) ? Buffer.from(bytes(value)) : value,
  ]);
};
const same = (a, b) =>
  a.length === b.length &&
  a.every(
    ([name, value], i) =>
      name === b[i][0] && (Buffer.isBuffer(value) ? value.equals(b[i][1]) : Object.is(value, b[i][1])),
  );

function expectedOf({ spec, options }, given) {
  const batch = alone.createBatch(spec);
  batch.logits.set(given.logits);
  batch.labels.set(given.labels);
  const result = copy(batch.run(options));
  batch.dispose();
  return result;
}

let helperIsBusy = Promise.resolve();
/** Runs jobs one at a time on a worker outside of the pool. */
function inHelper(batch, options) {
  helperIsBusy = helperIsBusy.then(async () => {
    const answer = once(helper, "message");
    helper.postMessage({ batch: batch.share(), options });
    return (await answer)[0];
  });
  return helperIsBusy;
}

/** Jobs on the instance without faults: many live batches, concurrent jobs, on the pool and on a worker outside of it. */
async function calm(alive) {
  const jobs = Array.from({ length: 1 + random(3) }, () => {
    const job = randomJob();
    const batch = resident.createBatch(job.spec);
    alive.push(batch);
    return { job, batch };
  });
  // From here on no batch is created, so the views stay valid.
  for (const each of jobs) fill(each.batch);
  for (const each of jobs) each.expected = expectedOf(each.job, each.batch);
  const results = jobs.map(async ({ job, batch }) => {
    const how = random(4);
    if (how === 0) return batch.run(job.options);
    if (how < 3) return batch.runAsync(job.options);
    return inHelper(batch, job.options);
  });
  for (const [i, { job, expected }] of jobs.entries()) {
    seen.jobs++;
    if (!same(copy(await results[i]), expected)) report("wrong result", job);
  }
  while (alive.length > MAX_ALIVE) alive.splice(random(alive.length), 1)[0].dispose();
}

/** Jobs on the instance whose workers die: a job may fail only if a worker died, and the instance then continues. */
async function harmed() {
  const job = randomJob();
  const batch = victim.createBatch(job.spec);
  fill(batch);
  const given = { logits: batch.logits.slice(), labels: batch.labels.slice() };
  const expected = expectedOf(job, given);
  if (random(8) === 0) armed[0] = 1;
  for (;;) {
    seen.jobs++;
    const mayFail = armed[0] === 1;
    try {
      const result = random(2) === 0 ? batch.run(job.options) : await batch.runAsync(job.options);
      if (!same(copy(result), expected)) report("wrong result after a fault", job);
      break;
    } catch (error) {
      if (!(error instanceof WorkerError && mayFail && armed[0] === 0)) {
        report(`unexpected ${error}`, job);
        break;
      }
      seen.faults++;
      if (!error.canContinue) break;
      batch.logits.set(given.logits);
    }
  }
  if (victim.threads === threads && random(200) > 0) {
    try {
      batch.dispose();
      victim.createBatch({ rows: 0, classes: 1 }).dispose();
      return;
    } catch (error) {
      if (!(error instanceof WorkerError)) report(String(error), job);
    }
  }
  seen.lost++;
  victim.dispose();
  armed[0] = 0;
  victim = await startVictim();
}

const samples = [];
function sample() {
  globalThis.gc?.();
  const { rss, heapUsed, arrayBuffers } = process.memoryUsage();
  samples.push({
    rss,
    heapUsed,
    arrayBuffers,
    handles: handles(),
    memory: resident.memory.buffer.byteLength,
  });
}

const start = performance.now();
const length = minutes * 60_000;
const alive = [];
for (let next = 0; performance.now() - start < length; ) {
  await calm(alive);
  if (random(3) === 0) await harmed();
  const now = performance.now() - start;
  if (now < (next * length) / 40) continue;
  sample();
  if (next++ % 4 === 0) {
    const { rss, heapUsed, memory, handles } = samples.at(-1);
    const megabytes = [rss, heapUsed, memory].map((bytes) => (bytes / 1e6).toFixed(0));
    console.log(
      `soak: ${(now / 60_000).toFixed(1)} min, ${seen.jobs} jobs, ${seen.faults} faults, ${seen.lost} instances replaced; MB: rss ${megabytes[0]}, heap ${megabytes[1]}, kernel's memory ${megabytes[2]}; ${handles} handles`,
    );
  }
}
for (const batch of alive) batch.dispose();
victim.dispose();
resident.dispose();
await helper.terminate();
// Threads take a moment to end.
for (let wait = 0; wait < 100 && handles() > handlesAtFirst; wait++)
  await new Promise((resolve) => setTimeout(resolve, 20));

/** The samples of a quarter. Compares the second quarter, after the warm-up, with the last. */
const quarter = (from) =>
  samples.slice(Math.floor((samples.length * from) / 4), Math.floor((samples.length * (from + 1)) / 4));
const median = (of, name) => of.map((each) => each[name]).sort((a, b) => a - b)[of.length >> 1] ?? 0;
for (const [name, slack] of Object.entries(SLACK)) {
  const [before, after] = [median(quarter(1), name), median(quarter(3), name)];
  console.log(
    `soak: ${name}: ${(before / 1e6).toFixed(1)} MB in the second quarter, ${(after / 1e6).toFixed(1)} MB in the last one`,
  );
  if (after > before + slack) report(`${name} grows`, { before, after });
}
const [most, last] = [1, 3].map((each) => Math.max(...quarter(each).map(({ handles }) => handles)));
// One instance may still be closing.
if (last > most + 3 * threads) report("handles grow", { most, last });
const left = handles();
console.log(
  `soak: handles: ${handlesAtFirst} at first, ${most} in the second quarter, ${last} in the last, ${left} at the end`,
);
if (left > handlesAtFirst) report("handles are left", process.getActiveResourcesInfo());
const { jobs, faults, lost, wrong } = seen;
console.log(`soak: ${jobs} jobs, ${faults} failed as they should, ${lost} instances replaced, ${wrong} deviations`);
process.exitCode = wrong > 0 ? 1 : 0;
