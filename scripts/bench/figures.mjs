// Draws the pictures of docs/measurements from the measurements beside them.
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { install } from "./install.mjs";
import { measurements } from "./machine.mjs";

const { values: options } = parseArgs({
  options: { out: { type: "string", default: measurements } },
});

install();
const vega = await import("vega");
const vegaLite = await import("vega-lite");

// xent has thick lines, JavaScript peers have warm colours, native peers cool ones; bounds are grey and dashed. `dark`: the colour
// in dark mode.
const LINES = {
  "xent relaxed": { color: "#d0021b", dark: "#ff4a5d", width: 3.5 },
  "xent simd128": { color: "#ff7f7f", width: 2.5 },
  "xent one call": { color: "#8c1a2b", dark: "#d8506a", width: 1.5, dash: [2, 2] },
  "plain JavaScript": { color: "#111111", dark: "#f2f2f2", width: 1.8 },
  "onnxruntime-node": { color: "#e08a00", width: 1.8 },
  "onnxruntime-web": { color: "#b8a200", width: 1.8 },
  "tfjs wasm": { color: "#8a5a2b", dark: "#c4905c", width: 1.8 },
  "jax-js wasm": { color: "#c957b0", width: 1.8 },
  PyTorch: { color: "#1f5fbf", dark: "#4f8df5", width: 1.8, dash: [6, 2] },
  "PyTorch compiled": { color: "#58a6e8", dark: "#9ad0ff", width: 1.8, dash: [6, 2] },
  "TensorFlow op": { color: "#0b7a53", dark: "#27a877", width: 1.8, dash: [6, 2] },
  "TensorFlow XLA": { color: "#57b894", dark: "#86dcbb", width: 1.8, dash: [6, 2] },
  "JAX + optax jit": { color: "#6a3fb5", dark: "#b18cff", width: 1.8, dash: [6, 2] },
  memcpy: { color: "#888888", width: 1.5, dash: [3, 3] },
  "max-scan": { color: "#bbbbbb", dark: "#666666", width: 1.5, dash: [3, 3] },
};

/** CSS for dark mode. */
function darkStyle() {
  const colors = [
    ["white", "#0d1117"],
    ["#e8e8e8", "#262c36"],
    ["#ccc", "#444c56"],
    ...Object.values(LINES).map(({ color, dark }) => [color, dark]),
  ].filter(([, dark]) => dark);
  const rules = colors.map(([light, dark]) => `[fill="${light}"]{fill:${dark}}[stroke="${light}"]{stroke:${dark}}`);
  return `<style>@media (prefers-color-scheme:dark){text{fill:#d1d7e0}${rules.join("")}}</style>`;
}

// Without a canvas, Vega overestimates the width of text: long lines would add a margin to the picture.
const style = {
  $schema: "https://vega.github.io/schema/vega-lite/v6.json",
  background: "white",
  padding: 14,
  config: {
    font: "Helvetica, Arial, sans-serif",
    axis: { labelFontSize: 12, titleFontSize: 12, titleFontWeight: "normal", gridColor: "#e8e8e8", tickColor: "#999" },
    title: {
      fontSize: 15,
      anchor: "start",
      subtitleFontSize: 12,
      subtitleColor: "#555",
      subtitlePadding: 5,
      offset: 12,
    },
    legend: { labelFontSize: 12, symbolSize: 260, symbolStrokeWidth: 3, labelLimit: 200, rowPadding: 3 },
    view: { stroke: "#ccc" },
  },
};

/** The encodings of one line for each peer, in the order and style of LINES. */
function lineEncodings(names) {
  const domain = Object.keys(LINES).filter((name) => names.has(name));
  const range = (property, absent) => domain.map((name) => LINES[name][property] ?? absent);
  return {
    color: { field: "peer", type: "nominal", title: null, sort: domain, scale: { domain, range: range("color") } },
    strokeWidth: {
      field: "peer",
      type: "ordinal",
      title: null,
      sort: domain,
      scale: { domain, range: range("width") },
    },
    strokeDash: { field: "peer", type: "nominal", title: null, scale: { domain, range: range("dash", [1, 0]) } },
  };
}

function speed({ measurements, machine }) {
  const values = measurements
    .filter(({ part, status }) => part === "sweep" && status === "ok")
    .map(({ peer, classes, gradient, nanoseconds }) => ({ peer, classes, gradient, ns: nanoseconds.median }))
    .reverse(); // the first peer is drawn last, on top
  if (values.length === 0) return undefined;
  const classes = [2, 10, 100, 1000, 10000, 100000];
  const all = values.map(({ ns }) => ns);
  const domain = [Math.min(...all) * 0.9, Math.max(...all) * 1.1];
  const panel = (gradient, title) => ({
    width: 310,
    height: 400,
    title: { text: title, fontSize: 13, fontWeight: "normal", anchor: "middle", offset: 6 },
    transform: [{ filter: `datum.gradient === ${gradient}` }],
    mark: { type: "line", strokeJoin: "round" },
    encoding: {
      x: {
        field: "classes",
        type: "quantitative",
        title: "classes",
        scale: { type: "log", domain: [2, 262144], nice: false },
        axis: { values: classes, format: "~s", labelOverlap: false },
      },
      y: {
        field: "ns",
        type: "quantitative",
        title: gradient ? null : "ns per logit",
        scale: { type: "log", domain, nice: false },
        axis: { values: [0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500], format: "~g" },
      },
      ...lineEncodings(new Set(values.map(({ peer }) => peer))),
    },
  });
  return {
    ...style,
    title: {
      text: "Time for each logit, by number of classes (lower is faster)",
      subtitle: [
        `One thread, 2^20 logits in all, ${machine.cpu}.`,
        "Grey: only reading (max-scan) or copying (memcpy) the logits.",
      ],
    },
    data: { values },
    hconcat: [panel(false, "forward: loss"), panel(true, "loss + gradient")],
    spacing: 14,
  };
}

const DOTS = {
  "xent relaxed": { shape: "circle", size: 110 },
  "plain JavaScript": { shape: "cross", size: 55 },
  PyTorch: { shape: "square", size: 50 },
  "PyTorch compiled": { shape: "diamond", size: 60 },
  "JAX + optax jit": { shape: "triangle-up", size: 55 },
};

/** Draws one row for each option, type or layout. */
function cases({ measurements, machine }) {
  const group = ({ classes, shape }) => (shape ? "axis not last" : `${classes} classes`);
  const values = measurements
    .filter(({ part, status, peer }) => part === "cases" && status === "ok" && DOTS[peer])
    .map((one) => ({ ...one, group: group(one), ns: one.nanoseconds.median }))
    .reverse(); // xent is drawn last, on top
  if (values.length === 0) return undefined;
  const names = new Set(values.map(({ peer }) => peer));
  const domain = Object.keys(DOTS).filter((name) => names.has(name));
  const range = (of) => domain.map((name) => of(name));
  const byPeer = (range, more) => ({
    field: "peer",
    type: "nominal",
    title: null,
    sort: domain,
    scale: { domain, range },
    ...more,
  });
  const all = values.map(({ ns }) => ns);
  const x = {
    field: "ns",
    type: "quantitative",
    scale: { type: "log", domain: [Math.min(...all) * 0.85, Math.max(...all) * 1.15], nice: false },
  };
  const ticks = { values: [0.5, 1, 2, 5, 10, 20, 50, 100], format: "~g" };
  const groups = [...new Set(values.map((one) => one.group))].reverse();
  const panel = (one, gradient) => {
    const order = [...new Set(values.filter((value) => value.group === one).map((value) => value.case))].reverse();
    const y = {
      field: "case",
      type: "nominal",
      sort: order,
      title: null,
      axis: { labels: !gradient, labelLimit: 320, ticks: false, domain: false, labelPadding: 8 },
    };
    const last = one === groups.at(-1);
    return {
      width: 290,
      height: { step: 18 },
      title: {
        text: `${one}: ${gradient ? "loss + gradient" : "forward"}`,
        fontSize: 12,
        fontWeight: "normal",
        anchor: "start",
        frame: "group",
        offset: 4,
      },
      transform: [
        {
          filter: {
            and: [
              { field: "group", equal: one },
              { field: "gradient", equal: gradient },
            ],
          },
        },
      ],
      layer: [
        {
          mark: { type: "rule", stroke: "#ccc" },
          encoding: { y, x: { ...x, aggregate: "min" }, x2: { field: "ns", aggregate: "max" } },
        },
        {
          mark: { type: "point", filled: true, opacity: 1 },
          encoding: {
            y,
            x: { ...x, title: last ? "ns per logit" : null, axis: ticks },
            color: byPeer(
              range((name) => LINES[name].color),
              { legend: { orient: "top", columns: 3, symbolSize: 90, symbolStrokeWidth: 1.5, columnPadding: 8 } },
            ),
            shape: byPeer(range((name) => DOTS[name].shape)),
            size: byPeer(range((name) => DOTS[name].size)),
          },
        },
      ],
    };
  };
  return {
    ...style,
    title: {
      text: "Time for each logit, by option, type and layout",
      subtitle: [
        `Further left is faster. One thread, ${machine.cpu}.`,
        "4096 rows of 10 classes, 1024 of 1000.",
        "Plain: float32, row-major, int32 labels.",
      ],
    },
    data: { values },
    vconcat: groups.map((one) => ({ hconcat: [panel(one, false), panel(one, true)], spacing: 12 })),
    spacing: 10,
    resolve: { legend: { color: "shared", shape: "shared" } },
  };
}

/** What a linear layer and its loss take, by number of classes. */
function linearMemory({ linear }) {
  const values = (linear?.memory.measurements ?? []).map(({ peer, classes, gradient, bytes }) => ({
    peer: peer.replace(/, product$/, ""),
    classes,
    gradient,
    megabytes: bytes / 1e6,
  }));
  if (values.length === 0) return undefined;
  const { rows, features } = linear.memory;
  const panel = (gradient, title) => ({
    width: 310,
    height: 300,
    title: { text: title, fontSize: 13, fontWeight: "normal", anchor: "middle", offset: 6 },
    transform: [{ filter: `datum.gradient === ${gradient}` }],
    mark: { type: "line", point: { size: 30 } },
    encoding: {
      x: { field: "classes", type: "quantitative", title: "classes", axis: { format: "~s" } },
      y: { field: "megabytes", type: "quantitative", title: gradient ? null : "MB" },
      ...lineEncodings(new Set(values.map(({ peer }) => peer))),
    },
  });
  return {
    ...style,
    title: {
      text: "Memory that the last layer and its loss take, by vocabulary",
      subtitle: [
        `Beside features and weight: ${rows} rows of ${features} features, one thread.`,
        "onnxruntime-web: the product alone. The gradient of the weight, 33 MB at 128,000 classes, is included on the right.",
      ],
    },
    data: { values },
    hconcat: [panel(false, "forward: loss"), panel(true, "loss + gradients")],
    spacing: 14,
    resolve: { scale: { y: "shared" } },
  };
}

const LEAST = 0.01; // smaller errors are drawn as this
const LAST_NORMAL = 87; // exp(-gap) is a normal float32

function error({ lossByGap }) {
  const values = Object.entries(lossByGap.peers)
    .reverse()
    .flatMap(([peer, errors]) =>
      errors.map((relative, i) => ({ peer, gap: lossByGap.gaps[i], ulp: Math.max(LEAST, Number(relative) * 2 ** 23) })),
    );
  if (values.length === 0) return undefined;
  const x = {
    field: "gap",
    type: "quantitative",
    title: "gap between the label's logit and the others",
    scale: { domain: [lossByGap.gaps[0], LAST_NORMAL], nice: false, zero: false },
  };
  const y = {
    field: "ulp",
    type: "quantitative",
    title: "relative error, in 2^-23 (1 ulp)",
    scale: { type: "log", domain: [LEAST, 1e8], nice: false },
    axis: {
      values: [0.01, 0.1, 1, 10, 100, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8],
      labelExpr: "datum.value < 1000 ? format(datum.value, '~g') : '1e' + round(log(datum.value) / LN10)",
    },
  };
  return {
    ...style,
    title: {
      text: "Error of the loss where the label is nearly certain: only xent keeps it",
      subtitle: [
        "10 classes, the label's logit above all others by the gap.",
        "The true loss is log1p(9 exp(-gap)), a normal float32 throughout.",
      ],
    },
    data: { values: values.filter(({ gap }) => gap <= LAST_NORMAL) },
    width: 640,
    height: 360,
    layer: [
      {
        mark: { type: "line", strokeJoin: "round", opacity: 0.9 },
        encoding: { x, y, ...lineEncodings(new Set(values.map(({ peer }) => peer))) },
      },
      {
        data: { values: [{ ulp: 2 ** 23, gap: LAST_NORMAL, text: "all digits are lost: the result is 0" }] },
        mark: { type: "text", align: "right", dx: -6, dy: -10, fontSize: 12, color: "#555" },
        encoding: { x, y, text: { field: "text" } },
      },
    ],
  };
}

for (const [figure, source, draw] of [
  ["speed.svg", "bench.json", speed],
  ["options.svg", "bench.json", cases],
  ["linear-memory.svg", "bench.json", linearMemory],
  ["error.svg", "accuracy.json", error],
]) {
  const file = join(options.out, source);
  const spec = existsSync(file) ? draw(JSON.parse(readFileSync(file, "utf8"))) : undefined;
  if (spec === undefined) {
    console.error(`${figure}: ${source} has no data for it`);
    continue;
  }
  const view = new vega.View(vega.parse(vegaLite.compile(spec).spec), { renderer: "none" });
  const svg = await view.toSVG();
  writeFileSync(join(options.out, figure), `${svg.replace(/^<svg[^>]*>/, (begin) => begin + darkStyle())}\n`);
}
