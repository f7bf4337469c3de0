// Compares the products of xent/linear with the peak of the engine: each kind of slice beside a loop of twelve independent chains
// of multiply-adds, on one pinned core. taskset -c 1 node scripts/bench/products.mjs --variant relaxed --shapes 256x768x9600
import { readFileSync } from "node:fs";
import { parseArgs } from "node:util";
import binaryen from "binaryen";
import { importSource } from "../import-source.mjs";
import { quartiles } from "./measure.mjs";

const product = await importSource("packages/xent/src/linear/product.ts");
const { BLOCK, KIND, LOGITS_ITEM, ROWS, scratchBytes, WEIGHT_ITEM, writeProduct } = product;

const { values: options } = parseArgs({
  options: {
    variant: { type: "string", default: "relaxed" },
    shapes: { type: "string", default: "256x768x9600,256x2048x4800,128x384x9600,256x384x1000" },
    rounds: { type: "string", default: "9" },
    columns: { type: "string", default: "256" },
    module: { type: "string" },
  },
});

const CHAINS = 12;
const ROUNDS = 1_000_000;

/** A function that runs a number of rounds, with one multiply-add of every chain in each. */
function peakLoop(variant) {
  const chains = Array.from({ length: CHAINS }, (_, i) => `$c${i}`);
  const madd = (chain) =>
    variant === "relaxed"
      ? `(f32x4.relaxed_madd (local.get ${chain}) (local.get $x) (local.get $y))`
      : `(f32x4.add (f32x4.mul (local.get ${chain}) (local.get $x)) (local.get $y))`;
  const sum = chains.slice(1).reduce((all, c) => `(f32x4.add ${all} (local.get ${c}))`, `(local.get ${chains[0]})`);
  const module =
    binaryen.parseText(`(module (func (export "peak") (param $n i32) (param $a f32) (param $b f32) (result f32)
    (local $x v128) (local $y v128) ${chains.map((c) => `(local ${c} v128)`).join(" ")}
    (local.set $x (f32x4.splat (local.get $a))) (local.set $y (f32x4.splat (local.get $b)))
    ${chains.map((c, i) => `(local.set ${c} (f32x4.splat (f32.const ${i})))`).join(" ")}
    (loop $again
      ${chains.map((c) => `(local.set ${c} ${madd(c)})`).join(" ")}
      (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
    (f32x4.extract_lane 0 ${sum})))`);
  module.setFeatures(binaryen.Features.All);
  return new WebAssembly.Instance(new WebAssembly.Module(module.emitBinary())).exports.peak;
}

const peak = peakLoop(options.variant);
const path = options.module ?? new URL(`../../packages/xent/dist/xent-linear-${options.variant}.wasm`, import.meta.url);
const module = new WebAssembly.Module(readFileSync(path));

// Processor time of this process, which other processes on its core do not lengthen.
const microseconds = () => {
  const { user, system } = process.cpuUsage();
  return user + system;
};

/** Multiply-adds per nanosecond. */
function timed(madds, run) {
  const begin = microseconds();
  run();
  return madds / (microseconds() - begin) / 1e3;
}
const peakSpeed = () => timed(4 * CHAINS * ROUNDS, () => peak(ROUNDS, 0.999, 0.001));

function measure(rows, features, classes) {
  const stride = Math.ceil(classes / 8) * 8 + 16;
  const columns = Math.min(Number(options.columns), features);
  let end = 65536;
  const place = (bytes) => {
    const at = end;
    end += Math.ceil(bytes / 64) * 64;
    return at;
  };
  const at = {
    record: place(128),
    source: place(4 * rows * features),
    index: place(4 * rows),
    packed: place(4 * (rows + ROWS) * (features + 8)),
    weight: place(4 * classes * features),
    logits: place(4 * (rows + ROWS) * stride),
    features_gradient: place(4 * rows * features),
    weight_gradient: place(4 * classes * features),
    scratch: place(scratchBytes(rows + ROWS, columns)),
  };
  const memory = new WebAssembly.Memory({ initial: Math.ceil(end / 65536), maximum: 65536 });
  const kernel = new WebAssembly.Instance(module, { env: { memory } }).exports;
  let state = 1;
  const random = () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32 - 0.5;
  };
  new Float32Array(memory.buffer, at.source, rows * features).forEach((_, i, all) => {
    all[i] = random();
  });
  new Float32Array(memory.buffer, at.weight, classes * features).forEach((_, i, all) => {
    all[i] = random();
  });
  // Touch each page once: the first access takes longer.
  new Float32Array(memory.buffer, at.logits, (rows + ROWS) * stride).fill(0);
  new Float32Array(memory.buffer, at.weight_gradient, classes * features).fill(0);
  new Uint32Array(memory.buffer, at.index, rows).forEach((_, i, all) => {
    all[i] = i;
  });
  const record = {
    ...at,
    bias: 0,
    bias_gradient: 0,
    weight_type: 0,
    rows,
    features,
    classes,
    stride,
    columns,
    scale: 1,
  };
  const run = (kind, begin, end, accumulate = 0) => {
    writeProduct(memory, at.record, { ...record, kind, accumulate });
    kernel.run(at.record, at.scratch, begin, end);
  };
  // A slice takes about ten milliseconds.
  const slice = (item) => Math.max(1, Math.round(2e8 / (rows * features * item)));
  const byClasses = (kind, item, accumulate) => ({
    items: Math.floor(classes / item),
    slice: slice(item),
    madds: rows * features * item,
    run: (begin, end) => run(kind, begin, end, accumulate),
  });
  const tasks = {
    "H W^T": byClasses(KIND.LOGITS, LOGITS_ITEM),
    "G W": {
      items: Math.floor(features / columns),
      slice: 1,
      madds: rows * classes * columns,
      run: (b, e) => run(KIND.FEATURES, b, e),
    },
    "G^T H": byClasses(KIND.WEIGHT, WEIGHT_ITEM, 0),
    "+= G^T H": byClasses(KIND.WEIGHT, WEIGHT_ITEM, 1),
  };
  const results = [];
  for (const [name, task] of Object.entries(tasks)) {
    run(
      name === "H W^T" ? KIND.PACK_ROWS : KIND.PACK_COLUMNS,
      0,
      Math.ceil(name === "H W^T" ? rows / ROWS : features / 8),
    );
    for (let i = 0; i < 20; i++) task.run(0, Math.min(task.items, task.slice));
    const ratios = [];
    const speeds = [];
    for (let round = 0; round < Number(options.rounds); round++) {
      for (let begin = 0; begin < task.items; begin += task.slice) {
        const end = Math.min(task.items, begin + task.slice);
        const before = peakSpeed();
        const speed = timed(task.madds * (end - begin), () => task.run(begin, end));
        ratios.push(speed / ((before + peakSpeed()) / 2));
        speeds.push(speed);
      }
    }
    const percent = quartiles(ratios);
    results.push(
      `${name} ${(100 * percent.median).toFixed(0)} % (${(100 * percent.lower).toFixed(0)}-${(100 * percent.upper).toFixed(0)}), ${quartiles(speeds).median.toFixed(1)}/ns`,
    );
  }
  console.log(`${process.version} ${options.variant} ${rows}x${features}x${classes}: ${results.join(" | ")}`);
}

if (BLOCK !== 512) throw new Error("unreachable");
for (let i = 0; i < 20; i++) peakSpeed();
for (const shape of options.shapes.split(",")) measure(...shape.split("x").map(Number));
