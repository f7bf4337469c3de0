// The options, types and layouts that are compared with plain rows: float32 logits, row-major, one int32 label for each row.
import { mulberry32 } from "../../test/support/random.mjs";
import { generate } from "./data.mjs";

const SIZES = [
  { rows: 4096, classes: 10 },
  { rows: 1024, classes: 1000 },
];
const PADDED = { 10: 16, 1000: 1024 };
const IGNORED = -100; // PyTorch's default
const IGNORED_PART = 0.15;

/** A target as a ratio to plain rows with the same number of classes: forward, and loss + gradient. */
const times = (forward, both) => ({ times: [forward, both] });
/** A target in nanoseconds per logit more than plain rows. */
const plus = (nanoseconds) => ({ plus: [nanoseconds, nanoseconds] });
/** A target in nanoseconds per row more than plain rows. */
const plusPerRow =
  (nanoseconds) =>
  ({ classes }) =>
    plus(nanoseconds / classes);

// `make` turns the data of a plain batch into those of the case.
const OPTIONS = [
  { name: "plain", make: () => {} },
  {
    name: "label smoothing",
    target: ({ classes }) => times(1.3, classes === 10 ? 1.35 : 1.3),
    make: ({ options }) => Object.assign(options, { labelSmoothing: 0.1 }),
  },
  { name: "softcap", target: times(3.2, 3), make: ({ options }) => Object.assign(options, { softcap: 30 }) },
  { name: "temperature", target: times(1.15, 1.15), make: ({ options }) => Object.assign(options, { temperature: 2 }) },
  {
    name: "class weights",
    target: ({ classes }) => (classes === 10 ? times(1.3, 1.25) : times(1.1, 1.1)),
    make: addClassWeights,
  },
  {
    name: "class weights, smoothing",
    target: times(1.35, 1.4),
    make(data) {
      addClassWeights(data);
      Object.assign(data.options, { labelSmoothing: 0.1 });
    },
  },
  { name: "soft targets", target: times(1.7, 1.75), make: addTargets },
  // Asked for: as fast as soft targets.
  { name: "divergence", target: times(1.7, 1.75), make: addTeacher },
  {
    name: "z-loss, sample weights",
    target: ({ classes }) => (classes === 10 ? times(1.3, 1.25) : times(1.1, 1.1)),
    make(data) {
      data.sampleWeights = weights(data.rows, 2);
      Object.assign(data.options, { zLoss: 1e-4 });
    },
  },
  {
    name: "ignored rows, 15 %",
    target: ({ classes }) => (classes === 10 ? times(1.3, 1.25) : times(1.1, 1.1)),
    make(data) {
      const u = mulberry32(3);
      data.labels = data.labels.map((label) => (u() < IGNORED_PART * 2 ** 32 ? IGNORED : label));
      Object.assign(data.options, { ignoreIndex: IGNORED });
    },
  },
  // These types represent multiples of 2^-7 and 2^-4 in [-8, 8) exactly.
  { name: "float16", type: "float16", bits: 11, target: plus(0.35), make: (data) => narrow(data, float16Bits) },
  { name: "bfloat16", type: "bfloat16", bits: 8, target: plus(0.15), make: (data) => narrow(data, bfloat16Bits) },
  {
    name: "float64",
    type: "float64",
    target: times(2.7, 2.8),
    make(data) {
      data.values = data.logits = Float64Array.from(data.logits);
    },
  },
  { name: "padded rows", target: plus(0.3), make: pad },
  {
    name: "int64 labels",
    labelsType: "int64",
    target: plusPerRow(0.3),
    make(data) {
      data.labels = BigInt64Array.from(data.labels, BigInt);
    },
  },
];

const SHAPES = [
  // Classes are 4096 bytes apart, so that all classes of a row share a few sets of the L1 cache.
  { shape: [2, 1000, 1024], target: times(1.25, 1.8) },
  { shape: [8, 21, 256, 256], target: times(1, 1.1) },
  { shape: [8, 2, 512, 512], target: times(1, 1.1) },
];

/** Plain rows of other sizes, for comparisons of two builds. */
export const plainCases = [
  [262144, 4],
  [10486, 100],
  [128, 32000],
  [32, 128256],
].map(([rows, classes]) => ({ name: "plain", rows, classes, make: () => {} }));

/** { name, rows, classes, target } and the arguments of `dataOf`. */
export const cases = [
  ...SIZES.flatMap((size) =>
    OPTIONS.map((option) => ({
      ...option,
      ...size,
      target: typeof option.target === "function" ? option.target(size) : option.target,
    })),
  ),
  ...SHAPES.map(({ shape, target }) => ({
    name: `axis 1 of ${shape.join("×")}`,
    rows: shape.reduce((a, b) => a * b) / shape[1],
    classes: shape[1],
    layout: { shape, axis: 1, inner: shape.slice(2).reduce((a, b) => a * b) },
    target,
    make: () => {},
  })),
];

export function title({ name, rows, classes, layout }) {
  return layout ? name : `${name}, ${rows}x${classes}`;
}

/** The data of a case: those of `generate`, changed by `make`. */
export function dataOf({ rows, classes, type = "float32", labelsType = "int32", bits = 24, layout, make }) {
  const plain = generate({ rows, classes, seed: classes, bits, shift: bits - 4 });
  const data = { ...plain, ...layout, type, labelsType, options: {} };
  make(data);
  return data;
}

/** The plain rows that a case is compared with. */
export function plainOf({ rows, classes }) {
  return dataOf({ rows, classes, make: () => {} });
}

function weights(count, seed) {
  const u = mulberry32(seed);
  return Float32Array.from({ length: count }, () => 0.5 + u() * 2 ** -32);
}

function addClassWeights(data) {
  data.classWeights = weights(data.classes, 1);
}

/** Probabilities of every class of a row, in the layout of the logits. */
function addTargets(data) {
  const { rows, classes } = data;
  data.targets = weights(rows * classes, 4);
  for (let i = 0; i < rows; i++) {
    const row = data.targets.subarray(i * classes, (i + 1) * classes);
    const sum = row.reduce((a, b) => a + b, 0);
    for (let j = 0; j < classes; j++) row[j] /= sum;
  }
}

/** The logits of another model, of which these are a quantised or distilled version. */
function addTeacher(data) {
  const u = mulberry32(5);
  data.teacher = data.logits.map((x) => x + 0.3 * (u() * 2 ** -32 - 0.5));
}

/** Rows of a padded vocabulary: the padding between them must not be read. */
function pad(data) {
  const { rows, classes, logits } = data;
  const stride = PADDED[classes];
  const padded = new Float32Array(rows * stride).fill(Number.NaN);
  for (let i = 0; i < rows; i++) padded.set(logits.subarray(i * classes, (i + 1) * classes), i * stride);
  Object.assign(data, { stride, logits: padded });
}

function narrow(data, toBits) {
  data.values = data.logits;
  data.logits = Uint16Array.from(new Uint32Array(data.logits.buffer), toBits);
}

/** From the bits of a float32 whose value is a normal float16, or 0. */
function float16Bits(word) {
  const sign = (word >>> 16) & 0x8000;
  return (word & 0x7fffffff) === 0 ? sign : sign | (((word >>> 13) - (112 << 10)) & 0x7fff);
}

function bfloat16Bits(word) {
  return word >>> 16;
}
