import type { Evaluation } from "./evaluation.ts";
import { htmlTable, page, type Section } from "./html.ts";
import { IGNORED } from "./labels.ts";
import { show } from "./numbers.ts";
import { Distribution, Largest, Positions } from "./report-rows.ts";
import type { ComputedRows } from "./statistics.ts";
import { visible } from "./visible.ts";

const WORST = 20;
const BARS = 60;
export const PICTURE = { width: 760, height: 260 } as const;

interface WorstRow {
  readonly file: string;
  readonly row: number;
  readonly label: number;
  readonly prediction: number;
  readonly loss: number;
}

/** Collects what a report shows of single rows, batch by batch. */
export class EvaluationReport {
  readonly #losses = new Distribution();
  readonly #worst = new Largest<WorstRow>(WORST);
  readonly #positions: Positions;

  /** `longest`: rows of the longest sequence. */
  constructor(longest: number) {
    this.#positions = new Positions(longest);
  }

  /** `sequence`: rows of one sequence in this file. */
  add({ first, labels, loss, predictions }: ComputedRows, file: string, sequence: number): void {
    for (let i = 0; i < labels.length; i++) {
      const label = labels[i] as number;
      if (label === IGNORED) continue;
      const [row, value] = [first + i, loss[i] as number];
      this.#losses.add(value);
      this.#positions.add(row % sequence, value);
      this.#worst.add(value, () => ({ file, row, label, prediction: predictions[i] as number, loss: value }));
    }
  }

  /** The whole page. */
  async html(evaluation: Evaluation): Promise<string> {
    // Loading takes half a second, so load it only for a report.
    const pictures = await import("./pictures.ts");
    const { BLUE, draw, GREY, ORANGE } = pictures;
    const { files, calibration, mean, standardError } = evaluation;
    const sections: Section[] = [];
    const most = this.#losses.quantile(0.999);
    if (most > 0) {
      const { bars, more } = this.#losses.histogram(most, BARS);
      const beyond = Math.round(more);
      sections.push({
        title: "Distribution of the losses",
        about: `Number of rows by loss; the line is the mean.${beyond > 0 ? ` Not shown: ${beyond} rows above ${show(most, 3)} nat.` : ""}`,
        content: await draw({
          ...PICTURE,
          layer: [
            {
              data: { values: bars },
              mark: { type: "bar", color: BLUE, binSpacing: 1 },
              encoding: {
                x: {
                  field: "from",
                  type: "quantitative",
                  bin: { binned: true },
                  title: "loss, nat",
                  scale: { nice: false },
                },
                x2: { field: "to" },
                y: { field: "rows", type: "quantitative", title: "rows" },
              },
            },
            ...(mean <= most
              ? [
                  {
                    data: { values: [{ mean }] },
                    mark: { type: "rule", color: ORANGE, strokeWidth: 2 },
                    encoding: { x: { field: "mean", type: "quantitative" } },
                  },
                ]
              : []),
          ],
        }),
      });
    }
    const { points, width } = this.#positions;
    if (points.length > 1) {
      sections.push({
        title: "Loss by position in the sequence",
        about: `Mean over all sequences${width > 1 ? `, of ${width} positions at a time` : ""}.`,
        content: await draw(lines([{ name: "", points }], [BLUE])),
      });
    }
    if (calibration !== undefined) {
      const bins = calibration.bins.filter(({ rows }) => rows > 0);
      const most = Math.max(...bins.map(({ rows }) => rows));
      sections.push({
        title: "Calibration",
        about: `How often the likeliest class is correct, by its probability. A calibrated model lies on the dashed line. Expected calibration error ${show(calibration.expectedCalibrationError, 4)}. The size of a point is the number of rows.`,
        content: await draw({
          width: 380,
          height: 380,
          layer: [
            {
              data: { values: [0, 1].map((x) => ({ x, y: x })) },
              mark: { type: "line", color: GREY, strokeDash: [4, 4] },
              encoding: { x: { field: "x", type: "quantitative" }, y: { field: "y", type: "quantitative" } },
            },
            {
              data: { values: bins },
              mark: { type: "line", color: BLUE, strokeWidth: 1.5 },
              encoding: calibrationAxes,
            },
            {
              data: { values: bins },
              mark: { type: "circle", color: BLUE, opacity: 1 },
              encoding: {
                ...calibrationAxes,
                size: {
                  field: "rows",
                  type: "quantitative",
                  scale: { domain: [0, most], range: [20, 400] },
                  legend: null,
                },
              },
            },
          ],
        }),
      });
    }
    if (files.length > 1) {
      const names = files.map(({ name }) => visible(name));
      const values = files.flatMap((file, i) =>
        Number.isFinite(file.mean)
          ? [
              {
                ...file,
                name: names[i],
                low: file.mean - (file.standardError || 0),
                high: file.mean + (file.standardError || 0),
              },
            ]
          : [],
      );
      const y = { field: "name", type: "nominal", sort: null, title: null, axis: { labelLimit: 260 } };
      sections.push({
        title: "Files",
        about: "Mean loss of each file, plus and minus one standard error; the line is the mean of all rows.",
        content: await draw({
          width: 480,
          height: { step: 22 },
          layer: [
            {
              data: { values: [{ mean }] },
              mark: { type: "rule", color: GREY, strokeDash: [4, 4] },
              encoding: { x: { field: "mean", type: "quantitative" } },
            },
            {
              data: { values },
              mark: { type: "rule", color: BLUE },
              encoding: {
                y,
                x: { field: "low", type: "quantitative", scale: { zero: false }, title: "mean loss, nat" },
                x2: { field: "high" },
              },
            },
            {
              data: { values },
              mark: { type: "circle", color: BLUE, size: 60, opacity: 1 },
              encoding: { y, x: { field: "mean", type: "quantitative" } },
            },
          ],
        }),
      });
    }
    const several = files.length > 1;
    sections.push({
      title: "Worst rows",
      about: "The rows with the largest loss.",
      content: htmlTable(
        [...(several ? ["file"] : []), "row", "label", "prediction", "loss"],
        this.#worst.rows.map(({ file, row, label, prediction, loss }) => [
          ...(several ? [visible(file)] : []),
          ...[row, label, prediction].map(String),
          show(loss),
        ]),
      ),
    });
    const plusMinus = (value: number): string => (Number.isFinite(value) ? ` ± ${show(value, 3)}` : "");
    return page({
      title: `xent: ${visible(evaluation.logits.name)}`,
      facts: [
        ["logits", `[${evaluation.logits.shape.join(", ")}] ${evaluation.logits.dtype}`],
        ["labels", `${visible(evaluation.labels.name)}, ${evaluation.labels.dtype}`],
        ["rows", `${evaluation.counted} counted, ${evaluation.ignored} ignored`],
        ["mean loss", `${show(mean, 8)} nat${plusMinus(standardError)}`],
        ["perplexity", `${show(evaluation.perplexity, 8)}${plusMinus(evaluation.perplexityStandardError)}`],
        ["accuracy", `${show(100 * evaluation.accuracy, 4)} %, ${evaluation.correct} right`],
        ...(evaluation.topK ?? []).map(({ k, accuracy }) => [`top ${k}`, `${show(100 * accuracy, 4)} %`] as const),
        ...evaluation.notices.map(({ file, message }) => ["notice", `${visible(file)}: ${message}`] as const),
      ],
      sections,
      darkColors: pictures.darkColors,
    });
  }
}

const calibrationAxes = {
  x: {
    field: "confidence",
    type: "quantitative",
    title: "probability of the likeliest class",
    scale: { domain: [0, 1] },
  },
  y: { field: "accuracy", type: "quantitative", title: "how often it is correct", scale: { domain: [0, 1] } },
} as const;

/** A line chart of means by position, for one model or several. */
export function lines(
  models: readonly { readonly name: string; readonly points: Positions["points"] }[],
  colors: readonly string[],
): object {
  const values = models.flatMap(({ name, points }) => points.map((point) => ({ ...point, name })));
  const domain = models.map(({ name }) => name);
  return {
    ...PICTURE,
    data: { values },
    mark: { type: "line", strokeWidth: 1.5, strokeJoin: "round" },
    encoding: {
      x: { field: "position", type: "quantitative", title: "position", scale: { nice: false } },
      y: { field: "mean", type: "quantitative", title: "mean loss, nat", scale: { zero: false } },
      color: {
        field: "name",
        type: "nominal",
        scale: { domain, range: colors },
        ...(models.length === 1 ? { legend: null } : {}),
      },
    },
  };
}
