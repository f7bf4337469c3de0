import type { Change, Explanation, Measured } from "./explain.ts";
import { MOST_FLOAT32, show } from "./numbers.ts";
import type { RowOptions } from "./steps.ts";
import { type Column, table } from "./table.ts";
import { bold, dim, fold, green, width } from "./terminal.ts";

const FLAGS: Record<keyof RowOptions, string> = {
  softcap: "softcap",
  temperature: "temperature",
  classWeights: "class-weights",
  labelSmoothing: "label-smoothing",
  zLoss: "z-loss",
  ignoreIndex: "ignore-index",
};

/** The most classes of a row that are shown. */
const MOST_CLASSES = 20;

/** An explanation as text for a terminal. */
export function explanationText(explanation: Explanation): string {
  const { label, options, steps, changes, logits } = explanation;
  const classes = shownClasses(explanation);
  const of = (title: string, values: readonly number[]): Column => [
    title,
    ...classes.map((j) => show(values[j] as number)),
  ];
  const markLabel = (line: string, row: number): string =>
    row < 0 ? dim(line) : classes[row] === label ? green(line) : line;
  const u = transformedName(options);
  const names: Column = ["class", ...classes.map((j) => (j === label ? `y = ${j}` : `${j}`))];
  const columns: Column[] = [
    names,
    of("x", logits),
    ...(u === "u" ? [of("u", steps.transformed)] : []),
    of(`${u} - m`, steps.shifted),
    of(`exp(${u} - m)`, steps.exp),
    of("softmax", steps.softmax),
    of("gradient", explanation.gradient),
  ];
  const left = logits.length - classes.length;
  return [
    ...formula(explanation).flatMap(fold).map(bold),
    "",
    ...table(columns, width, markLabel),
    ...(left > 0 ? fold(`and ${left} classes with smaller logits; --json has all`).map(dim) : []),
    "",
    ...fold(`m = ${show(steps.max)}, sum of exp = ${show(steps.sum)}, log(sum) = ${show(steps.log)}`),
    ...(label === options.ignoreIndex ? fold(`the label ${label} is ignored: loss and gradient are 0`) : []),
    "",
    ...losses(explanation, u),
    ...(changes.length > 0 ? ["", ...changed(explanation, names, of, markLabel)] : []),
    "",
  ].join("\n");
}

/** "u" if softcap or temperature transform the logits x, else "x". */
function transformedName({ softcap, temperature }: RowOptions): "u" | "x" {
  return softcap === undefined && temperature === undefined ? "x" : "u";
}

/** The label and the classes with the largest logits, in ascending order. */
function shownClasses({ label, steps }: Explanation): number[] {
  const all = [...steps.transformed.keys()];
  if (all.length <= MOST_CLASSES) return all;
  const value = (j: number): number => (j === label ? Infinity : (steps.transformed[j] as number));
  return all
    .sort((a, b) => (value(a) === value(b) ? a - b : value(b) - value(a)))
    .slice(0, MOST_CLASSES)
    .sort((a, b) => a - b);
}

function formula({ options }: Explanation): string[] {
  const { softcap: c, temperature: t, labelSmoothing: e, zLoss: z, classWeights } = options;
  if (Object.keys(options).every((name) => name === "ignoreIndex")) {
    return [
      "loss = -log(softmax(x)[y])",
      "     = log(sum_j exp(x_j - m)) - (x_y - m),  m = max_j x_j",
      "d loss / d x_j = softmax(x)_j - [j = y]",
    ];
  }
  const u = transformedName(options);
  const capped = c === undefined ? "x_j" : `${c} tanh(x_j / ${c})`;
  const slope = `${c === undefined ? "" : ` (1 - tanh(x_j / ${c})^2)`}${t === undefined ? "" : ` / ${t}`}`;
  const pull = z === undefined ? "" : ` + 2 * ${z} L`;
  const w = classWeights ? "w_j " : "";
  const targets = e === undefined ? `${w}[j = y]` : `${w}((1 - ${e}) [j = y] + ${e} / C)`;
  return [
    ...(u === "u" ? [`u_j = ${capped}${t === undefined ? "" : ` / ${t}`}`] : []),
    `q_j = ${targets}`,
    `L   = log(sum_j exp(${u}_j - m)) + m,  m = max_j ${u}_j`,
    `loss = sum_j q_j (L - ${u}_j)${z === undefined ? "" : ` + ${z} L^2`}`,
    `d loss / d x_j = ((sum_k q_k${pull}) softmax(${u})_j - q_j)${slope}`,
  ];
}

function losses({ steps, kernel, stable, naive, variant }: Explanation, u: string): string[] {
  const rows: [string, Measured | undefined][] = [
    ["exact (f64)", undefined],
    [`xent (${variant})`, kernel],
    ["stable in f32", stable],
    ["naive in f32", naive],
  ];
  const cell = (value: number | undefined, text: (value: number) => string): string =>
    value === undefined ? "" : text(value);
  const columns: Column[] = [
    ["loss", ...rows.map(([name]) => name)],
    ["", ...rows.map(([, measured]) => show(measured?.value ?? steps.loss, measured ? 9 : 16))],
    ["right digits", ...rows.map(([, m]) => cell(m?.digits, (n) => (n === Infinity ? "all" : n.toFixed(1))))],
    ["ulp of f32", ...rows.map(([, m]) => cell(m?.ulp, (ulp) => (ulp < 100 ? ulp.toFixed(2) : ulp.toPrecision(3))))],
  ];
  return [
    ...table(columns, width, (line, row) => (row < 0 ? dim(line) : row === 1 ? green(line) : line)),
    ...fold(`stable: log(sum_j exp(${u}_j - m)) - (${u}_y - m); naive: -log(softmax(${u})[y])`).map(dim),
    ...(Number.isFinite(steps.loss) && Math.abs(steps.loss) >= MOST_FLOAT32
      ? fold("the exact loss is more than f32 can hold: Infinity is right")
      : []),
  ];
}

function changed(
  { kernel, gradient, changes }: Explanation,
  names: Column,
  of: (title: string, values: readonly number[]) => Column,
  mark: (line: string, row: number) => string,
): string[] {
  const flag = ({ option, value }: Change): string =>
    `--${FLAGS[option]}${typeof value === "number" ? ` ${value}` : ""}`;
  const columns: Column[] = [
    ["option", ...changes.map(flag)],
    ["loss without it", ...changes.map(({ lossWithout }) => show(lossWithout))],
    ["with it", ...changes.map(() => show(kernel.value))],
    ["change", ...changes.map(({ lossWithout }) => show(kernel.value - lossWithout, 3))],
  ];
  return [
    ...table(columns, width, (line, row) => (row < 0 ? dim(line) : line)),
    "",
    ...fold("gradient, with everything and without one option"),
    ...table(
      [
        names,
        of("with all", gradient),
        ...changes.map((change) => of(`no ${FLAGS[change.option]}`, change.gradientWithout)),
      ],
      width,
      mark,
    ),
  ];
}
