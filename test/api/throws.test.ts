// V8's coverage finds every throw statement. Each has a case here, after which no byte of any memory has changed.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { attach, createXent, createXentSync, type Xent } from "xent";
import { copyBytes, firstChange } from "../support/bytes.ts";
import { EVERYTHING, exampleBatch, exampleRows } from "../support/example.ts";
import { BEGIN } from "../support/place.ts";
import { shardThrows } from "../support/shard-throws.ts";
import { throwsLeft } from "../support/throw-statements.ts";
import { taken } from "../support/variants.ts";

const dist = fileURLToPath(new URL("../../packages/xent/dist/", import.meta.url));
const PAGE = 65536;
const ROWS = 4;
const CLASSES = 6;
const SPEC = { rows: ROWS, classes: CLASSES };

/** Throw statements that no case here reaches, and why. */
const OTHERS: Record<string, RegExp> = {
  "a job has begun, whose results WorkerError calls undefined: threads/faults.test.ts":
    /^throw (mine|this\.#(lost|failure\(\)));/,
  "rejects with Error: threads/faults.test.ts": /^throw notStarted\(/,
  "throws Error where nothing may be compiled: runtimes/environments.test.ts": /^throw notCompiled\(/,
  "nothing gets there": /unreachable/,
  ...(taken.includes("relaxed") && { "this engine has it": /this engine has no relaxed SIMD/ }),
};

/** From here on, before xent is loaded, V8 counts how often each block runs. */
const session = await vi.hoisted(async () => {
  const { Session } = await import("node:inspector/promises");
  const session = new Session();
  session.connect();
  await session.post("Profiler.enable");
  await session.post("Profiler.startPreciseCoverage", { callCount: true, detailed: true });
  return session;
});

const xent = createXentSync({ maxBytes: 4 * PAGE });
const batch = exampleBatch(xent, { ...SPEC, gradient: true });
const plain = exampleBatch(xent, SPEC);
const soft = xent.createBatch({ ...SPEC, targets: true });
const taught = xent.createBatch({ ...SPEC, targets: "logits" });
const bigLabels = xent.createBatch({ ...SPEC, labels: "int64" });
bigLabels.labels.fill(99n);
const badLabels = exampleBatch(xent, SPEC);
badLabels.labels[2] = -1;
const filled = createXentSync({ maxBytes: 2 * PAGE });
// Logits, and 64 bytes each for the label, the loss before it is rounded, and three results: all that there is.
const full = filled.createBatch({ rows: 1, classes: (2 * PAGE - BEGIN - 5 * 64) / 4 });
const weightsOfFull = new Float32Array(full.logits.length);
const owner = createXentSync({ shared: true });
const lent = exampleBatch(owner, { ...SPEC, gradient: true });
const [share, lentShare] = [owner.share(), lent.share()];
const attached = attach(share);
const borrowed = attached.attachBatch(lentShare);
const disposed = createXentSync();
const left = exampleBatch(disposed, SPEC);
disposed.dispose();
const gone = exampleBatch(xent, SPEC);
gone.dispose();
const early = exampleBatch(xent, SPEC);
const detached = new Float32Array(ROWS * CLASSES);
structuredClone(detached, { transfer: [detached.buffer] });
const detachedMask = new Uint8Array(ROWS);
structuredClone(detachedMask, { transfer: [detachedMask.buffer] });
const detachedLabels = new Int32Array(ROWS);
structuredClone(detachedLabels, { transfer: [detachedLabels.buffer] });
const ended = attach(owner.share());
const stale = ended.attachBatch(lentShare);
ended.dispose();
let pooled: Xent;
beforeAll(async () => {
  pooled = await createXent({ threads: 2 });
  // A run writes the same values again.
  await plain.runAsync();
});
afterAll(() => pooled.dispose());

const { logits, labels } = exampleRows(ROWS, CLASSES);
const nest = (array: unknown, times: number): unknown => (times === 0 ? array : nest([array], times - 1));
const one = (...given: unknown[]) =>
  (xent.sparseSoftmaxCrossEntropyWithLogits as (...given: unknown[]) => unknown)(...given);
const oneSoft = (...given: unknown[]) =>
  (xent.softmaxCrossEntropyWithLogits as (...given: unknown[]) => unknown)(...given);
const oneDivergence = (...given: unknown[]) =>
  (xent.klDivergenceWithLogits as (...given: unknown[]) => unknown)(...given);
const create = (spec: unknown) => xent.createBatch(spec as never);
const run = (options: unknown, of = batch) => of.run(options as never);
const instance = (options: unknown) => createXentSync(options as never);

const empty = Uint8Array.of(0, 97, 115, 109, 1, 0, 0, 0);
/** A module that claims to be simd128, and exports nothing. */
const impostor = new WebAssembly.Module(Uint8Array.of(...empty, 0, 12, 4, ...Buffer.from("xentsimd128")));
const wasm = (name: string) => new WebAssembly.Module(readFileSync(join(dist, `xent-${name}.wasm`)));

/** All cases. The groups have no meaning. */
const CASES: Record<string, () => unknown> = {
  // Instances.
  "instance options that are no object": () => instance(3),
  "an unknown instance option": () => instance({ Threads: 1 }),
  "maxBytes too small": () => instance({ maxBytes: 1 }),
  "maxBytes of the wrong type": () => instance({ maxBytes: "1" }),
  "createWorker that is no function": () => instance({ createWorker: 1 }),
  "shared of the wrong type": () => instance({ shared: 1 }),
  "threads over a private memory": () => instance({ threads: 2, shared: false }),
  "threads that are a word": () => instance({ threads: "all" }),
  "threads below 1": () => instance({ threads: 0 }),
  "threads in createXentSync": () => instance({ threads: 2 }),
  "an unknown variant": () => instance({ variant: "avx" }),
  "a variant other than that of the module": () => instance({ variant: "relaxed", module: wasm("simd128") }),
  "relaxed SIMD": () => (taken.includes("relaxed") ? instance({ variant: "avx" }) : instance({ variant: "relaxed" })),
  "a module that is an object": () => instance({ module: {} }),
  "a module of another program": () => instance({ module: new WebAssembly.Module(empty) }),
  "a module without exports": () => instance({ module: impostor }),
  "a module for the other kind of memory": () => instance({ module: wasm("simd128-shared") }),
  "a module for the other kind of memory, in createXent": () => createXent({ module: wasm("simd128"), shared: true }),
  "instance options that are no object, in createXent": () => createXent(3 as never),
  "a worker that is an object": () => createXent({ threads: 2, createWorker: () => ({}) as never }),
  "attach to nothing": () => attach(undefined as never),
  "attach to a module without exports": () => attach({ ...share, module: impostor }),
  "an engine without memory": () => {
    const { Memory } = WebAssembly;
    Object.assign(WebAssembly, {
      Memory: () => {
        throw new RangeError("no");
      },
    });
    try {
      return instance({});
    } finally {
      Object.assign(WebAssembly, { Memory });
    }
  },

  // Batches.
  "a specification that is no object": () => create(3),
  "a specification with an unknown property": () => create({ ...SPEC, gradients: true }),
  "a batch without classes": () => create({ rows: 1, classes: 0 }),
  "a negative number of rows": () => create({ rows: -1, classes: 1 }),
  "a stride below the classes": () => create({ ...SPEC, stride: 1 }),
  "an unknown type of logits": () => create({ ...SPEC, logits: "int8" }),
  "an unknown type of labels": () => create({ ...SPEC, labels: "float32" }),
  "targets of the wrong type": () => create({ ...SPEC, targets: 1 }),
  "a gradient of the wrong type": () => create({ ...SPEC, gradient: 1 }),
  "an in-place gradient of 16-bit logits": () => create({ ...SPEC, gradient: "in-place", logits: "float16" }),
  "a shift below 0": () => create({ ...SPEC, shift: -1 }),
  "a shift without labels": () => create({ ...SPEC, targets: true, shift: 1 }),
  "a sequence below 1": () => create({ ...SPEC, sequence: 0 }),
  "a sequence that does not divide the rows": () => create({ ...SPEC, sequence: 3 }),
  "an axis without a shape": () => create({ ...SPEC, axis: 1 }),
  "a shape and rows": () => create({ ...SPEC, shape: [1, 2] }),
  "a shape that is a number": () => create({ shape: 3 }),
  "a shape without axes": () => create({ shape: [] }),
  "a negative shape": () => create({ shape: [2, -1] }),
  "an axis outside of the shape": () => create({ shape: [2, 2], axis: 2 }),
  "a shape without classes": () => create({ shape: [2, 0] }),
  "a shape with too many rows": () => create({ shape: [2 ** 31, 2 ** 31, 1] }),
  "a row of 2 GiB": () => create({ rows: 1, classes: 2 ** 30 }),
  "a batch above maxBytes": () => create({ rows: 1000, classes: 1000 }),
  "a batch beyond the memory of the engine": () => {
    const { grow } = xent.memory;
    xent.memory.grow = () => {
      throw new RangeError("no");
    };
    try {
      return create({ rows: 100, classes: 300 });
    } finally {
      xent.memory.grow = grow;
    }
  },
  "a batch of a disposed instance": () => disposed.createBatch(SPEC),
  "a batch of an attached instance": () => attached.createBatch(SPEC),
  "a batch that was not shared": () => attached.attachBatch({} as never),
  "a batch of another memory": () => attached.attachBatch({ ...lentShare, id: 1 }),
  "a batch that is attached to a disposed instance": () => disposed.attachBatch(lentShare),
  "labels of a batch that has targets": () => soft.labels,
  "arrays of a disposed batch": () => gone.logits,
  "labels of a disposed batch": () => gone.labels,
  "targets of a disposed batch": () => gone.targets,
  "gradient of a disposed batch": () => gone.gradient,
  "loss of a disposed batch": () => gone.loss,

  // What is shared.
  "sharing a private memory": () => xent.share(),
  "sharing a batch of a private memory": () => batch.share(),
  "sharing a disposed instance": () => disposed.share(),
  "sharing a disposed batch": () => gone.share(),
  "sharing an attached instance": () => attached.share(),
  "sharing an attached batch": () => borrowed.share(),

  // Runs.
  "a run of a disposed batch": () => run({}, gone),
  "a run of a disposed instance": () => run({}, left),
  "a run of a batch that is attached to a disposed instance": () => run({}, stale),
  "a runAsync of a disposed batch": () => gone.runAsync(),
  "a run whose batch is disposed before it begins": () => {
    const job = early.runAsync();
    early.dispose();
    return job;
  },
  "a run in the middle of another": async () => {
    const [first, second] = [plain.runAsync(), plain.runAsync()];
    await Promise.allSettled([first, second]);
    // The first call is valid, the second one throws.
    return { error: second };
  },
  "options that are no object": () => run(3),
  "an unknown option": () => run({ gradients: true }),
  "rows that are no range": () => run({ rows: 3 }),
  "rows that begin too early": () => run({ rows: [-1, 2] }),
  "rows that end too late": () => run({ rows: [0, ROWS + 1] }),
  "a gradient without memory for it": () => run({ gradient: true }, plain),
  "an ignoreIndex for targets": () => run({ ignoreIndex: 0 }, soft as never),
  "a mask of the wrong type": () => run({ mask: 1 }, taught as never),
  "a mask of numbers": () => run({ mask: new Array(ROWS).fill(1) }, taught as never),
  "a mask of the wrong length": () => run({ mask: [true] }, taught as never),
  "a mask that is detached": () => run({ mask: detachedMask }, taught as never),
  "an ignoreIndex for a divergence": () => run({ ignoreIndex: 0 }, taught as never),
  "an option that a divergence does not have": () => run({ softcap: 30 }, taught as never),
  "an unknown kind of targets": () => create({ ...SPEC, targets: "soft" }),
  "a label that is no class": () => run({}, badLabels),
  "a label that is no class, with weights": () => run({ classWeights: new Float32Array(CLASSES) }, badLabels),
  "a label of 64 bits that is no class": () => run({}, bigLabels as never),
  "a run that needs more memory than is left": () => run({ classWeights: weightsOfFull }, full),
  "a label that is no class, in a run that needs working memory": () => run({ temperature: 2 }, badLabels),
  "gradient of the wrong type": () => run({ gradient: 1 }),
  "reduction of the wrong value": () => run({ reduction: "average" }),
  "ignoreIndex of the wrong value": () => run({ ignoreIndex: 0.5 }),
  "labelSmoothing of the wrong type": () => run({ labelSmoothing: "0" }),
  "labelSmoothing of the wrong value": () => run({ labelSmoothing: 1 }),
  "zLoss of the wrong value": () => run({ zLoss: -1 }),
  "softcap of the wrong value": () => run({ softcap: 0 }),
  "temperature of the wrong value": () => run({ temperature: 0 }),
  "predictions of the wrong type": () => run({ predictions: 1 }),
  "invalidLabels of the wrong value": () => run({ invalidLabels: "ignore" }),
  "classWeights of the wrong type": () => run({ classWeights: "1" }),
  "sampleWeights of the wrong type": () => run({ sampleWeights: ["1"] }),
  "classWeights of the wrong length": () => run({ classWeights: [1] }),
  "sampleWeights of the wrong length": () => run({ sampleWeights: [1] }),
  "sampleWeights that are detached": () => run({ sampleWeights: detached }),
  "classWeights that are detached": () => run({ classWeights: detached }),
  "classWeights that are detached while sampleWeights are read": () => {
    const classWeights = new Float32Array(CLASSES);
    const sampleWeights = new Array<number>(ROWS).fill(1);
    const detach = (): number => {
      if (classWeights.length > 0) structuredClone(classWeights, { transfer: [classWeights.buffer] });
      return 1;
    };
    Object.defineProperty(sampleWeights, 0, { get: detach });
    return run({ classWeights, sampleWeights });
  },
  "a run of an attached batch without memory of its own": () =>
    attached.attachBatch({ ...lentShare, buffer: 0 }).run({ temperature: 2 }),

  // What is written for the caller.
  "bits for a batch of float32": () => batch.setLogits(new Uint16Array(1)),
  "logits that do not fit": () => batch.setLogits([1, 2], ROWS * CLASSES - 1),
  "logits at a negative offset": () => batch.setLogits([1], -1),
  "rows that are no rows of the batch": () => batch.setLogits([[1]]),
  "logits for a disposed batch": () => gone.setLogits([1]),
  "labels of another type than the batch": () => plain.setLabels([2 ** 31]),
  "labels that do not fit": () => plain.setLabels(labels, 1),
  "labels for a disposed batch": () => gone.setLabels([1]),
  "targets that do not fit the batch": () => soft.setTargets([1], ROWS * CLASSES),
  "rows of targets that are no rows of the batch": () => soft.setTargets([[1]]),
  "targets for a batch with labels": () => batch.setTargets([1]),
  "targets for a disposed batch": () => gone.setTargets([1]),
  "a copy of the wrong type": () => run({ copy: 1 }),
  "weights in arrays of arrays": () => run({ classWeights: [[1]] }),

  // One call.
  "one call of a disposed instance": () => disposed.sparseSoftmaxCrossEntropyWithLogits([[1]], [0]),
  "one call with soft targets of a disposed instance": () =>
    disposed.softmaxCrossEntropyWithLogits([[1]], Float32Array.of(0)),
  "one divergence of a disposed instance": () => disposed.klDivergenceWithLogits([[1]], [[1]]),
  "one divergence of an attached instance": () => attached.klDivergenceWithLogits([[1]], [[1]]),
  "target logits that are no array": () => oneDivergence([[1]], 3),
  "target logits of another shape": () => oneDivergence([[1, 2]], [[1], [2]]),
  "too few target logits": () => oneDivergence(logits, logits.slice(1), { shape: [ROWS, CLASSES] }),
  "target logits of a wider type": () => oneDivergence(logits, Float64Array.from(logits), { shape: [ROWS, CLASSES] }),
  "one call of an attached instance": () => attached.sparseSoftmaxCrossEntropyWithLogits([[1]], [0]),
  "one call with soft targets of an attached instance": () =>
    attached.softmaxCrossEntropyWithLogits([[1]], Float32Array.of(0)),
  "labels that are no array": () => one(logits, 3),
  "labels that are detached": () => one(logits, detachedLabels),
  "a label in an array that is no integer": () => one(logits, [0, 1, 1.5, 2]),
  "a label in an array that is no class": () => one(logits, [0, 1, 2, 99]),
  "labels that do not fit the shape": () => one(logits, labels, { shape: [2, 12] }),
  "labels that do not divide the logits": () => one(logits, new Int32Array(5)),
  "labels without logits": () => one([], labels),
  "options of one call that are no object": () => one(logits, labels, 3),
  "an option that one call does not have": () => one(logits, labels, { rows: [0, 1] }),
  "the type of 16 bits for an array of numbers": () => one([[1, 2]], [0], { logits: "float16" }),
  "16 bits of an unknown type": () => one(new Uint16Array(24), labels),
  "16 bits with an unknown type": () => one(new Uint16Array(24), labels, { logits: "int16" }),
  "logits that are no array": () => one(3, labels),
  "a typed array that can not be logits": () => one(new Int32Array(24), labels),
  "logits that are detached": () => one(detached, labels),
  "a logit that is no number": () => one(["1"], [0]),
  "a row without logits": () => one([[]], [0]),
  "a row that is a number": () => one([[1], 1], [0, 0]),
  "a longer row": () => one([[1], [1, 2]], [0, 0]),
  "a logit in a row that is no number": () => one([[1, "1"]], [0]),
  "logits that are nested too deeply": () => one(nest([1], 32), [0]),
  "rows of typed arrays that can not be logits": () => one([new Int32Array(6)], [0]),
  "rows of logits that are detached": () => one([detached], [0]),
  "rows of typed arrays that can not be labels": () => one(logits, [new Float32Array(ROWS)]),
  "labels of other sizes than the rows": () => one(logits, [[0, 1, 2, 3]], { shape: [2, 2, CLASSES] }),
  "a shape of one call that is a number": () => one(logits, labels, { shape: 3 }),
  "a shape that does not fit": () => one(logits, labels, { shape: [ROWS, 1] }),
  "a call above maxBytes": () => one(new Float32Array(1e6), new Int32Array(10)),
  "targets that are no array": () => oneSoft([[1]], ["1"]),
  "targets that are bits": () => oneSoft([[1]], new Uint16Array(1)),
  "targets of other sizes": () => oneSoft([[1, 2]], [[1], [2]]),
  "targets that are detached": () => oneSoft(logits, detached, { shape: [ROWS, CLASSES] }),
  "targets that do not fit": () => oneSoft([[1]], new Float32Array(2)),
  "targets without a shape": () => oneSoft(logits, logits),
  "targets and an ignoreIndex": () => oneSoft([[1]], new Float32Array(1), { ignoreIndex: 0 }),

  ...shardThrows(),
};

describe("a call that throws has written nothing and taken no memory", () => {
  const memories = [xent, owner, disposed, filled].map((each) => each.memory);

  test.each(Object.entries(CASES))("%s", async (_, call) => {
    const before = memories.map(copyBytes);
    const error = await thrownBy(call);
    expect(String(error)).toMatch(/^(Type|Range)Error: /);
    for (const [i, memory] of memories.entries()) {
      expect(memory.buffer.byteLength).toBe(before[i]?.length);
      expect(firstChange(memory, before[i] as Uint8Array)).toBeUndefined();
    }
  });

  test("a job that has begun has written in its own batch only", async () => {
    const big = createXentSync();
    const own = exampleBatch(big, SPEC);
    const slow = big.createBatch({ rows: 4, classes: 2 ** 18 });
    const shared = pooled.createBatch({ rows: 1000, classes: 100 });
    const { loss, logits } = own;
    loss.fill(7);
    const before = [loss, logits].map(copyBytes);
    // No slice of rows is short enough.
    let now = 0;
    const clock = vi.spyOn(Date, "now").mockImplementation(() => (now += 1000));
    const jobs = [slow, shared].map((batch) => thrownBy(() => batch.runAsync()));
    for (let tick = 0; tick < 5; tick++) await undefined;
    for (const batch of [slow, shared]) batch.dispose();
    for (const error of await Promise.all(jobs)) {
      expect(String(error)).toBe("TypeError: this batch was disposed");
    }
    clock.mockRestore();
    expect([loss, logits].map(copyBytes)).toEqual(before);
  });

  test("every throw statement has a case here, except for those in OTHERS", async () => {
    const left = await throwsLeft(session);
    expect(left.filter((text) => !Object.values(OTHERS).some((other) => other.test(text)))).toEqual([]);
    for (const other of Object.values(OTHERS)) expect(left.join("\n")).toMatch(new RegExp(other.source, "m"));
  });
});

async function thrownBy(call: () => unknown): Promise<unknown> {
  try {
    const result = await call();
    await (result as { error?: unknown } | undefined)?.error;
  } catch (error) {
    return error;
  }
  throw new Error("nothing was thrown");
}

test("the objects still work after all cases", () => {
  expect(batch.run(EVERYTHING).sum).toBe(
    exampleBatch(createXentSync(), { ...SPEC, gradient: true }).run(EVERYTHING).sum,
  );
});
