// The measurements as Markdown tables.
import { reference } from "./peers.mjs";

export function speedReport(report) {
  const { settings, peers, measurements, linear } = report;
  const lines = [
    "# Speed",
    "",
    "Nanoseconds per logit (time of a call / (rows x classes)); less is better.",
    "",
    ...provenance(report),
    "",
    "How to read it:",
    "",
    `- Each peer is a process${report.pinned ? "; those of one thread share a core" : ""}. It is checked against the f64 oracle, warmed up, and then`,
    `  measured for ${settings.table.milliseconds} ms in each of ${settings.table.rounds} rounds, in turn with the others. The number is the median over the rounds, in`,
    "  parentheses half the distance between the quartiles in percent of the median, if that is 3 or more.",
    `- x: ratio to ${reference}. Bold: the fastest, apart from the bounds.`,
    `- Options, types and layouts: x is the ratio to plain rows of ${reference} with as many classes, in the same rounds; for another`,
    "  variant of xent, to its own. Plain: float32, row-major, one int32 label for each row. The data: scripts/bench/cases.mjs;",
    `  ${settings.cases.rounds} rounds of ${settings.cases.milliseconds} ms.`,
    "- max-scan only reads the logits, memcpy copies them: no forward pass or gradient can be faster. Both run on one thread.",
    "- The head of each file in scripts/bench/peers says what a call includes. In short: the logits are where the library",
    "  keeps them, except for onnxruntime-web and xent one call, which copy; the caller can read the results.",
    "",
  ];
  for (const part of ["table", "sweep"]) {
    for (const threads of [1, 2]) {
      for (const gradient of [false, true]) {
        const entries = measurements.filter(
          (one) => one.part === part && one.threads === threads && one.gradient === gradient,
        );
        if (entries.length === 0) continue;
        const title = `${gradient ? "Loss + gradient" : "Forward"}, ${threads === 1 ? "one thread" : "two threads"}`;
        lines.push(
          `## ${title}${part === "sweep" ? ", 2^20 logits in all" : ""}`,
          "",
          ...table(entries, peers, part === "table"),
          "",
        );
      }
    }
    if (part === "table") lines.push(...[false, true].flatMap((gradient) => casesSection(measurements, gradient)));
  }
  if (linear) lines.push(...linearSection(linear));
  return lines.join("\n");
}

/** A linear layer and its loss: rows are peers, columns are shapes (rows x features x classes) and passes. */
function linearSection({ times, memory }) {
  const lines = [];
  const unique = (entries, of) => [...new Set(entries.map(of))];
  for (const threads of unique(times, (one) => one.threads)) {
    const entries = times.filter((one) => one.threads === threads);
    const columns = unique(entries, ({ shape, gradient }) => `${shape}, ${gradient ? "loss + gradients" : "forward"}`);
    const cell = (peer, column) => {
      const one = entries.find(
        ({ shape, gradient, ...own }) =>
          own.peer === peer && column === `${shape}, ${gradient ? "loss + gradients" : "forward"}`,
      );
      return one ? digits(one.milliseconds.median) : "";
    };
    const rows = unique(entries, ({ peer }) => peer).map((peer) => [peer, ...columns.map((each) => cell(peer, each))]);
    const title = `A linear layer and its loss, ms, ${threads === 1 ? "one thread" : `${threads} threads`}`;
    lines.push(`## ${title}`, "", ...markdown(["", ...columns], rows), "");
  }
  const sizes = unique(memory.measurements, ({ classes }) => classes);
  const rows = unique(memory.measurements, ({ peer, gradient }) => JSON.stringify([peer, gradient])).map((key) => {
    const [peer, gradient] = JSON.parse(key);
    const of = (classes) =>
      memory.measurements.find((one) => one.peer === peer && one.gradient === gradient && one.classes === classes);
    return [`${peer}${gradient ? ", with gradients" : ""}`, ...sizes.map((size) => digits(of(size).bytes / 1e6))];
  });
  const what = `Memory that a pass takes beside features and weight, MB: ${memory.rows} rows of ${memory.features} features`;
  return [...lines, `## ${what}`, "", ...markdown(["classes", ...sizes.map(String)], rows), ""];
}

/** Rows are peers, columns are shapes. */
function table(entries, peers, withTimes) {
  const shape = ({ rows, classes }) => `${rows}x${classes}`;
  const shapes = [...new Set(entries.map(shape))];
  const find = (name, column) => entries.find((one) => one.peer === name && shape(one) === column);
  const isBound = new Set(peers.filter(({ bound }) => bound).map(({ name }) => name));
  const fastest = new Map(
    shapes.map((column) => [
      column,
      fastestOf(entries.filter((one) => shape(one) === column && !isBound.has(one.peer))),
    ]),
  );
  const reasons = [];
  const cell = (name, column) => {
    const entry = find(name, column);
    const own = median(find(reference, column));
    const times = withTimes && own && name !== reference && !isBound.has(name) ? median(entry) / own : undefined;
    return cellOf(entry, { fastest: fastest.get(column), times, reasons });
  };
  const ratio = (bound) => [
    `${reference} / ${bound}`,
    ...shapes.map((column) => {
      const [own, least] = [median(find(reference, column)), median(find(bound, column))];
      return own && least ? `${digits(own / least, 2)}x` : "";
    }),
  ];
  const names = peers.map(({ name }) => name).filter((name) => shapes.some((column) => find(name, column)));
  const rows = names.map((name) => [name, ...shapes.map((column) => cell(name, column))]);
  for (const bound of isBound) if (names.includes(bound) && names.includes(reference)) rows.push(ratio(bound));
  return [...markdown(["", ...shapes], rows), ...notes(reasons)];
}

/** Rows are options, types and layouts, columns are peers. One table for each size, and one for layouts. */
function casesSection(measurements, gradient) {
  const entries = measurements.filter((one) => one.part === "cases" && one.gradient === gradient);
  const names = [...new Set(entries.map(({ peer }) => peer))];
  const group = ({ rows, classes, shape }) => (shape ? "class axis not last" : `${rows}x${classes}`);
  const lines = [];
  for (const one of new Set(entries.map(group))) {
    const inGroup = entries.filter((entry) => group(entry) === one);
    const reasons = [];
    const rows = [...new Set(inGroup.map((entry) => entry.case))].map((name) => {
      const ofCase = inGroup.filter((entry) => entry.case === name);
      const fastest = fastestOf(ofCase);
      const cell = (peer) => {
        const entry = ofCase.find((entry) => entry.peer === peer);
        return cellOf(entry, { fastest, times: entry?.timesPlain, reasons });
      };
      return [name, ...names.map(cell)];
    });
    const what = `${gradient ? "loss + gradient" : "forward"}, one thread`;
    lines.push(
      `## Options, types and layouts: ${one}, ${what}`,
      "",
      ...markdown(["", ...names], rows),
      ...notes(reasons),
      "",
    );
  }
  return lines;
}

function median(entry) {
  return entry?.nanoseconds?.median;
}

function fastestOf(entries) {
  return Math.min(...entries.map((one) => median(one) ?? Infinity));
}

/** The time of a peer, in bold if it is the fastest, with its spread and its ratio. */
function cellOf(entry, { fastest, times, reasons }) {
  if (entry === undefined) return "";
  if (entry.status !== "ok") {
    reasons.push(`${entry.peer}: ${entry.status}: ${entry.reason}`);
    return entry.status;
  }
  const { median: value, lower, upper } = entry.nanoseconds;
  const spread = Math.round((50 * (upper - lower)) / value);
  const number = value === fastest ? `**${digits(value)}**` : digits(value);
  return `${number}${spread >= 3 ? ` (±${spread}%)` : ""}${times === undefined ? "" : `, ${digits(times, 2)}x`}`;
}

export function notes(reasons) {
  const unique = [...new Set(reasons)];
  return unique.length === 0 ? [] : ["", ...unique.map((reason) => `- ${reason}`)];
}

export function markdown(head, rows) {
  const line = (cells) => `| ${cells.join(" | ")} |`;
  return [line(head), line(head.map((_, column) => (column === 0 ? "---" : "--:"))), ...rows.map(line)];
}

/** Command, date, machine and versions of a measurement. */
export function provenance(report) {
  const { command, date, commit, changedSinceCommit, machine, node, versions } = report;
  const caches = Object.entries(machine.caches).map(([level, size]) => `${level} ${size}`);
  const names = Object.entries(versions).map(([name, version]) => `${name} ${version}`);
  return [
    `Made by \`${command}\` on ${date}, commit ${commit?.slice(0, 12)}${changedSinceCommit ? " with changes" : ""}.`,
    `${machine.cpu}, ${machine.cores} cores, ${caches.join(", ")}, ${machine.memory}, ${machine.system}, Node.js ${node}.`,
    `Peers: ${names.join("; ")}.`,
  ];
}

export function digits(value, precision = value < 1 ? 2 : 3) {
  if (value === 0 || !Number.isFinite(value)) return String(value);
  if (value >= 1e5 || value < 1e-3) return value.toExponential(1).replace("+", "");
  return value >= 100 ? value.toFixed(0) : value.toPrecision(precision);
}

export function accuracyReport(report) {
  const { measurements, peers } = report;
  const lines = [
    "# Exactness",
    "",
    "Errors in units in the last place (ulp) of float32, worst / median; less is better, 0.5 is a correctly rounded result.",
    "",
    ...provenance(report),
    "",
    "How to read it:",
    "",
    "- Loss and gradient are computed together, and compared with an f64 oracle, which is checked against the golden values.",
    "- Only entries whose exact value is a normal float32 count. 8e6 to 1.7e7 means that all digits are lost: the result is 0.",
    "- not finite: how many of the exact infinities and NaN a peer gets wrong.",
    "- The families are in scripts/bench/families.mjs. Normal rows: logits from N(0, 3), any label. Confident rows, unlikely",
    "  labels: the label's logit is 5, 6, ... 103 above or below all others. Shared offsets: random rows plus 0, 1e2, 1e4, 1e6, 1e8.",
    "",
  ];
  for (const family of new Set(measurements.map((one) => one.family))) {
    const entries = measurements.filter((one) => one.family === family);
    const reasons = [];
    const rows = peers.map(({ name }) => {
      const entry = entries.find(({ peer }) => peer === name);
      for (const failure of entry.failures) reasons.push(`${name}: ${failure}`);
      const parts = [entry.loss, entry.labelGradient, entry.otherGradient].map(({ count, worst, median }) =>
        count === 0 ? "" : `${digits(worst)} / ${digits(median)}`,
      );
      return [name, ...parts, entry.specials === 0 ? "" : `${entry.wrongSpecials} of ${entry.specials}`];
    });
    const head = ["", "loss", "gradient at the label", "gradient elsewhere", "not finite"];
    lines.push(`## ${family[0].toUpperCase()}${family.slice(1)}`, "", ...markdown(head, rows), ...notes(reasons), "");
  }
  return lines.join("\n");
}
