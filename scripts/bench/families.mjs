// The rows of accuracy.mjs, in families: [name, batches]. A batch is { rows, classes, logits, labels }.
import { readFileSync } from "node:fs";
import { generate, normal } from "./data.mjs";

const FIRST_GAP = 5;
const LAST_GAP = 103;
export const gaps = Array.from({ length: LAST_GAP - FIRST_GAP + 1 }, (_, i) => FIRST_GAP + i);

export function families() {
  return [
    ["golden: numerics", bySize(plainCases("numerics"))],
    ["golden: the peers' own tests", bySize(plainCases("named"))],
    ["golden: large, random", generated(({ name }) => name.startsWith("generated"))],
    ["golden: large, all logits equal", generated(({ name }) => name.startsWith("constant"))],
    ["confident rows, 10 classes", [byGap(10, 1)]],
    ["confident rows, 1000 classes", [byGap(1000, 1)]],
    ["unlikely labels, 10 classes", [byGap(10, -1)]],
    ["unlikely labels, 1000 classes", [byGap(1000, -1)]],
    ["shared offsets up to 1e8", [10, 1000].map(offsets)],
    ...[2, 10, 32, 100, 1000].map((classes) => [
      `normal rows, deviation 3, ${classes} classes`,
      [normal({ rows: Math.min(4096, Math.round(2 ** 19 / classes)), classes, seed: classes, deviation: 3 })],
    ]),
  ];
}

/** One row for each gap: the label's logit is this much above (sign 1) or below (-1) the others, which are equal. */
function byGap(classes, sign) {
  return fromRows(
    classes,
    gaps.map((gap) => ({ label: gap % classes, logit: (j) => (j === gap % classes ? sign * gap : 0) })),
  );
}

/** Random rows, each with a constant added. */
function offsets(classes) {
  const each = 64;
  const { logits } = generate({ rows: 1, classes, seed: 9 });
  const rows = [0, 1e2, 1e4, 1e6, 1e8].flatMap((offset) =>
    Array.from({ length: each }, (_, k) => ({
      label: k % classes,
      logit: (j) => offset + logits[(j + k) % classes],
    })),
  );
  return fromRows(classes, rows);
}

function fromRows(classes, rows) {
  const logits = new Float32Array(rows.length * classes);
  for (const [i, { logit }] of rows.entries()) for (let j = 0; j < classes; j++) logits[i * classes + j] = logit(j);
  return { rows: rows.length, classes, logits, labels: Int32Array.from(rows, ({ label }) => label) };
}

function golden(file) {
  return JSON.parse(readFileSync(new URL(`../../test/golden/${file}.json`, import.meta.url), "utf8")).cases;
}

function isPlain({ dtype, options, targets, kerasProbabilities }) {
  return dtype === "float32" && Object.keys(options).length === 0 && !targets && !kerasProbabilities;
}

function plainCases(file) {
  return golden(file)
    .filter((one) => isPlain(one) && one.logits && one.shape.length > 1 && !one.shape.includes(0))
    .map(({ shape, logits, labels, loss }) => ({
      classes: shape.at(-1),
      logits: Float32Array.from([logits].flat(Infinity), Number),
      labels: Int32Array.from([labels].flat(Infinity)),
      expected: [loss].flat(Infinity).map(Number),
    }));
}

/** Joins cases with the same number of classes into one batch: some peers compile for each size. */
function bySize(cases) {
  return [...new Set(cases.map(({ classes }) => classes))].map((classes) => {
    const group = cases.filter((one) => one.classes === classes);
    return {
      classes,
      rows: group.reduce((sum, { labels }) => sum + labels.length, 0),
      logits: Float32Array.from(group.flatMap(({ logits }) => [...logits])),
      labels: Int32Array.from(group.flatMap(({ labels }) => [...labels])),
      expected: group.flatMap(({ expected }) => expected),
    };
  });
}

function generated(wanted) {
  return golden("generated")
    .filter((one) => isPlain(one) && wanted(one))
    .map(({ generator, loss }) => ({ ...generate(generator), expected: loss.map(Number) }));
}
