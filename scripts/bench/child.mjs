// A process that measures: it reads lines of JSON and answers each with one. child.py has the same protocol.
import { readFileSync, writeFileSync } from "node:fs";
import { createInterface } from "node:readline";

const LONGEST_WARM_UP = 1000; // ms
const SETTLED = 0.03;

/** 16-bit floats are passed as bits. */
const TYPES = {
  float16: Uint16Array,
  bfloat16: Uint16Array,
  float32: Float32Array,
  float64: Float64Array,
  int32: Int32Array,
  int64: BigInt64Array,
};

const opened = new Map();
const prepared = new Map();

function read(file) {
  const { buffer, byteOffset, byteLength } = readFileSync(file);
  return buffer.slice(byteOffset, byteOffset + byteLength);
}

const operations = {
  async open({ peer, module, options, threads }) {
    const { open } = await import(`./peers/${module}.mjs`);
    const implementation = await open({ ...options, threads });
    opened.set(peer, implementation);
    return { version: implementation.version };
  },

  async prepare({ peer, files, ...data }) {
    const { logits, labels, ...others } = files;
    data.logits = new TYPES[data.type](read(logits));
    data.labels = new TYPES[data.labelsType](read(labels));
    for (const [name, file] of Object.entries(others)) data[name] = new Float32Array(read(file));
    prepared.set(peer, { data, ...(await opened.get(peer).prepare(data)) });
    return {};
  },

  /** Makes one call and writes its results to files, the gradient without padding. */
  async results({ peer, loss, gradient }) {
    const { run, results, data } = prepared.get(peer);
    await run();
    const result = await results();
    if (result === undefined) return { none: true };
    writeFileSync(loss, new Float32Array(result.loss));
    if (result.gradient) writeFileSync(gradient, new Float32Array(withoutPadding(result.gradient, data)));
    return {};
  },

  /** Calls until the time of a call no longer falls: engines compile while they run. */
  async warmUp({ peer }) {
    const { run } = prepared.get(peer);
    const begin = performance.now();
    let best = Infinity;
    for (let steady = 0; steady < 3 && performance.now() - begin < LONGEST_WARM_UP; ) {
      const { nanoseconds } = await measure(run, 20);
      steady = nanoseconds < best * (1 - SETTLED) ? 0 : steady + 1;
      best = Math.min(best, nanoseconds);
    }
    return {};
  },

  measure: ({ peer, milliseconds }) => measure(prepared.get(peer).run, milliseconds),

  async release({ peer }) {
    await prepared.get(peer)?.dispose();
    prepared.delete(peer);
    return {};
  },
};

/** Makes at least one call, and calls for about this long. */
async function measure(run, milliseconds) {
  const begin = performance.now();
  let calls = 0;
  let elapsed = 0;
  do {
    const pending = run();
    if (pending instanceof Promise) await pending;
    calls += 1;
    elapsed = performance.now() - begin;
  } while (elapsed < milliseconds);
  return { nanoseconds: (elapsed * 1e6) / calls, calls };
}

function withoutPadding(gradient, { rows, classes, stride }) {
  if (stride === classes) return gradient;
  const whole = new Float32Array(rows * classes);
  for (let i = 0; i < rows; i++) whole.set(gradient.subarray(i * stride, i * stride + classes), i * classes);
  return whole;
}

for await (const line of createInterface({ input: process.stdin })) {
  const { operation, ...request } = JSON.parse(line);
  let answer;
  try {
    answer = await operations[operation](request);
  } catch (error) {
    answer = { error: String(error?.message ?? error).slice(0, 300) };
  }
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}
process.exit(0);
