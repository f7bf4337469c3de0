// What xent must do in every runtime. Runs unchanged in Node.js, Deno, Bun and a page, and says what it has seen; what that
// should be, test/runtimes/runtimes.test.ts knows.
import { createXent, createXentSync, sparseSoftmaxCrossEntropyWithLogits } from "xent";

/** [rows, classes]: all paths of the kernel, each long enough to be worth two threads. */
const shapes = [
  [20_000, 2],
  [10_000, 10],
  [1_000, 100],
  [200, 1_000],
  [5, 20_000],
];
const everything = { gradient: true, predictions: true };

/**
 * Runs all parts; one that fails leaves its error. The host has what the web has no name for: `read(url)` gives a file's
 * bytes, and each of `workers` starts a worker of the user's own, as {@link startWebWorker} does.
 */
export async function suite(host) {
  const seen = {};
  for (const [name, part] of Object.entries(parts)) {
    try {
      seen[name] = await part(host);
    } catch (error) {
      seen[name] = String(error);
    }
  }
  return seen;
}

const parts = {
  async engine() {
    const { variant } = await createXent();
    return { variant, fuses: hasRelaxed() && fuses(), isolated: globalThis.crossOriginIsolated };
  },

  rows() {
    const logits = [
      [2, -5, 0.5, -0.1],
      [0, 0, 1.9, 1.4],
      [30, 0, -2, -5],
      [0, -Infinity, 1, -Infinity],
      [-Infinity, 0, 0, 0],
      [Number.NaN, 0, 0, 0],
      [2, 2, 2, 2],
    ];
    const { loss, gradient } = sparseSoftmaxCrossEntropyWithLogits(logits, [0, 3, 0, 2, 0, 1, 1], { gradient: true });
    // As strings: JSON has neither NaN nor Infinity.
    return { loss: Array.from(loss, String), gradient: Array.from(gradient, String) };
  },

  labels() {
    const { logits, labels } = example([5, 5]);
    const loss = (given) => bits(sparseSoftmaxCrossEntropyWithLogits(logits, given, everything));
    return {
      numbers: loss(Array.from(labels)),
      int32: loss(labels),
      bigInt64: loss(BigInt64Array.from(labels, BigInt)),
      outOfRange: thrown(() => loss(BigInt64Array.of(0n, 1n, 2n, 7n, 4n))),
    };
  },

  async batches() {
    const variants = hasRelaxed() ? ["simd128", "relaxed"] : ["simd128"];
    const seen = {};
    for (const variant of variants) {
      seen[variant] = await everyShape(createXentSync({ variant }), (batch) => bits(batch.run(everything)));
    }
    return seen;
  },

  growth() {
    const xent = createXentSync();
    const first = fill(xent, [10, 10]);
    const before = bits(first.run(everything));
    const { logits } = first;
    const { byteLength } = xent.memory.buffer;
    const second = bits(fill(xent, [500, 1_000]).run(everything));
    return {
      grown: xent.memory.buffer.byteLength > byteLength,
      views: [logits.length, first.logits.length],
      firstIsSame: bits(first.run(everything)) === before,
      secondIsRight: second === bits(fill(createXentSync(), [500, 1_000]).run(everything)),
    };
  },

  async threads() {
    const xent = await createXent({ threads: 2 });
    const { threads } = xent;
    const run = await everyShape(xent, (batch) => bits(batch.run(everything)));
    const runAsync = await everyShape(xent, async (batch) => bits(await batch.runAsync(everything)));
    xent.dispose();
    return { threads, run, runAsync };
  },

  /** The worker takes the first half of the rows, this thread the second. */
  async share({ workers }) {
    const seen = {};
    const kinds = typeof Worker === "function" ? { ...workers, web: startWebWorker } : workers;
    for (const [kind, start] of Object.entries(kinds)) {
      const xent = createXentSync({ shared: true });
      const worker = start(xent.share());
      seen[kind] = await everyShape(xent, async (batch) => {
        const whole = batch.run(everything);
        for (const array of arraysOf(whole)) array.fill(77);
        const half = Math.floor(batch.rows / 2);
        await worker.run(batch.share(), { ...everything, rows: [0, half] });
        batch.run({ ...everything, rows: [half, batch.rows] });
        return bits(whole);
      });
      worker.end();
      xent.dispose();
    }
    return seen;
  },

  async module({ read }) {
    const module = await WebAssembly.compile(await read(import.meta.resolve("xent/xent-simd128.wasm")));
    const xent = await createXent({ module });
    return { variant: xent.variant, run: await everyShape(xent, (batch) => bits(batch.run(everything))) };
  },

  dispose() {
    const xent = createXentSync();
    const batch = xent.createBatch({ rows: 1, classes: 1 });
    batch.dispose();
    const run = thrown(() => batch.run());
    xent.dispose();
    return { run, createBatch: thrown(() => xent.createBatch({ rows: 1, classes: 1 })) };
  },
};

function startWebWorker(xent) {
  const worker = new Worker(new URL("web-worker.mjs", import.meta.url), { type: "module" });
  return {
    run: (batch, options) =>
      new Promise((resolve, reject) => {
        worker.onmessage = resolve;
        worker.onerror = reject;
        worker.postMessage({ url: import.meta.resolve("xent"), xent, batch, options });
      }),
    end: () => worker.terminate(),
  };
}

/** What `look` sees in a batch of each shape. */
async function everyShape(xent, look) {
  const seen = [];
  for (const shape of shapes) {
    const batch = fill(xent, shape);
    seen.push(await look(batch));
    batch.dispose();
  }
  return seen;
}

function fill(xent, [rows, classes]) {
  const batch = xent.createBatch({ rows, classes, gradient: true });
  const { logits, labels } = example([rows, classes]);
  batch.logits.set(logits);
  batch.labels.set(labels);
  return batch;
}

const examples = new Map();

/** Logits in [-8, 8) and labels, from integers only: the same in every runtime. Made once, for an emulator takes seconds. */
function example(shape) {
  const name = shape.join();
  if (!examples.has(name)) examples.set(name, drawn(shape));
  return examples.get(name);
}

function drawn([rows, classes]) {
  let state = rows ^ classes;
  const next = () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state >>> 16;
  };
  return {
    logits: Float32Array.from({ length: rows * classes }, () => (next() - 32768) / 4096),
    labels: Int32Array.from({ length: rows }, () => next() % classes),
  };
}

function arraysOf(result) {
  return Object.values(result).filter((value) => ArrayBuffer.isView(value));
}

/** A result in short: its numbers, and a checksum of the bits of each of its arrays. */
function bits(result) {
  const sums = arraysOf(result).map((array) => {
    let sum = 0;
    for (const word of new Uint32Array(array.buffer, array.byteOffset, array.length))
      sum = Math.imul(sum ^ word, 0x01000193);
    return sum >>> 0;
  });
  return [result.sum, result.normalizer, result.correct, ...sums].join(" ");
}

function thrown(call) {
  try {
    call();
  } catch (error) {
    return String(error);
  }
  return "nothing";
}

function hasRelaxed() {
  return thrown(() => createXentSync({ variant: "relaxed" })) === "nothing";
}

/** Whether this engine's relaxed multiply-add rounds once. */
export function fuses() {
  // (module (func (export "madd") (param f32 f32 f32) (result f32) (f32x4.extract_lane 0
  //   (f32x4.relaxed_madd (f32x4.splat (local.get 0)) (f32x4.splat (local.get 1)) (f32x4.splat (local.get 2))))))
  // biome-ignore format: bytes
  const bytes = new Uint8Array([
    0, 97, 115, 109, 1, 0, 0, 0, 1, 8, 1, 96, 3, 125, 125, 125, 1, 125, 3, 2, 1, 0, 7, 8, 1, 4, 109, 97, 100, 100, 0, 0, 10,
    22, 1, 20, 0, 32, 0, 253, 19, 32, 1, 253, 19, 32, 2, 253, 19, 253, 133, 2, 253, 31, 0, 11,
  ]);
  const { madd } = new WebAssembly.Instance(new WebAssembly.Module(bytes)).exports;
  // The square is 1 + 2^-11 + 2^-24, whose last term no float has room for.
  return madd(1 + 2 ** -12, 1 + 2 ** -12, -(1 + 2 ** -11)) !== 0;
}
