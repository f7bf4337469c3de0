import { type ComparedRows, type Comparison, changeOf, type Extremes } from "./comparison.ts";
import { htmlTable, page, type Section } from "./html.ts";
import { IGNORED } from "./labels.ts";
import { show } from "./numbers.ts";
import { lines, PICTURE } from "./report.ts";
import { EachNth, Largest, Positions } from "./report-rows.ts";
import { visible } from "./visible.ts";

const WORST = 20;
const MOST_POINTS = 3000;
/** Points on the line of divergences. */
const RANKS = 200;
/** Divergences below this part of the largest one are not drawn. */
const SMALLEST = 1e-8;

interface Point {
  readonly base: number;
  readonly other: number;
}

interface WorstRow extends Point {
  readonly file: string;
  readonly row: number;
  readonly label: number;
  readonly divergence: number;
  readonly predictions: readonly [base: number, other: number];
}

/** Collects what a report shows of single rows, batch by batch. */
export class ComparisonReport {
  readonly #points = new EachNth<Point>(MOST_POINTS);
  readonly #worst = new Largest<WorstRow>(WORST);
  readonly #base: Positions;
  readonly #other: Positions;

  /** `longest`: rows of the longest sequence. */
  constructor(longest: number) {
    this.#base = new Positions(longest);
    this.#other = new Positions(longest);
  }

  /** `sequence`: rows of one sequence in this file. */
  add({ first, labels, base, other, divergence }: ComparedRows, file: string, sequence: number): void {
    for (let i = 0; i < labels.length; i++) {
      const label = labels[i] as number;
      if (label === IGNORED) continue;
      const row = first + i;
      const [a, b, kl] = [base.loss[i] as number, other.loss[i] as number, divergence[i] as number];
      this.#points.add(() => ({ base: a, other: b }));
      this.#base.add(row % sequence, a);
      this.#other.add(row % sequence, b);
      this.#worst.add(kl, () => {
        const predictions = [base.predictions[i] as number, other.predictions[i] as number] as const;
        return { file, row, label, base: a, other: b, divergence: kl, predictions };
      });
    }
  }

  /** The whole page. */
  async html(comparison: Comparison, { divergences }: Extremes): Promise<string> {
    const { BLUE, darkColors, draw, GREY, ORANGE } = await import("./pictures.ts");
    const { base, other, difference, divergence, agreement, labelProbability: label, files, counted } = comparison;
    const sections: Section[] = [];
    const points = this.#points.rows.filter((point) => Number.isFinite(point.base) && Number.isFinite(point.other));
    if (points.length > 0) {
      const most = points.reduce((largest, point) => Math.max(largest, point.base, point.other), 0);
      const scale = { domain: [0, most], nice: false };
      const { step } = this.#points;
      sections.push({
        title: "The two losses against each other",
        about: `Each point is a row${step > 1 ? `; every ${step}th row is drawn` : ""}. Above the line, the other model has the larger loss.`,
        content: await draw({
          width: 460,
          height: 460,
          layer: [
            {
              data: { values: points },
              mark: { type: "circle", color: BLUE, opacity: 0.35, size: 18, aria: false },
              encoding: {
                x: { field: "base", type: "quantitative", title: "loss of the base, nat", scale },
                y: { field: "other", type: "quantitative", title: "loss of the other, nat", scale },
              },
            },
            {
              data: { values: [0, most].map((x) => ({ x, y: x })) },
              mark: { type: "line", color: GREY, strokeDash: [4, 4] },
              encoding: { x: { field: "x", type: "quantitative" }, y: { field: "y", type: "quantitative" } },
            },
          ],
        }),
      });
    }
    const ranked = rankedDivergences(divergences.count, (probabilities) => divergences.at(probabilities));
    if (ranked.length > 1) {
      sections.push({
        title: "Divergence by rank",
        about: `KL divergence of the rows, the largest first, on logarithmic scales. If the line is steep, the models differ on few rows; if it is flat, on most. Median ${show(divergence.median)}, 99 % ${show(divergence.percentile99)} nat.`,
        content: await draw({
          ...PICTURE,
          data: { values: ranked },
          mark: { type: "line", color: BLUE, strokeWidth: 2 },
          encoding: {
            x: {
              ...{ field: "rank", type: "quantitative", title: "rank of the row" },
              scale: { type: "log", nice: false },
              axis: { format: "~s" },
            },
            y: {
              ...{ field: "divergence", type: "quantitative", title: "KL divergence, nat" },
              scale: { type: "log", nice: false },
              axis: { format: "~g" },
            },
          },
        }),
      });
    }
    if (this.#base.points.length > 1) {
      const models = [
        { name: "base", points: this.#base.points },
        { name: "other", points: this.#other.points },
      ];
      const { width } = this.#base;
      sections.push({
        title: "Loss by position in the sequence",
        about: `Mean over all sequences${width > 1 ? `, of ${width} positions at a time` : ""}.`,
        content: await draw(lines(models, [BLUE, ORANGE])),
      });
    }
    const several = files.length > 1;
    sections.push({
      title: "Rows that differ most",
      about: "The rows with the largest KL divergence.",
      content: htmlTable(
        [
          ...(several ? ["file"] : []),
          ...["row", "label", "base predicts", "other predicts", "base loss", "other loss", "change of p(label)"],
          "divergence",
        ],
        this.#worst.rows.map((row) => [
          ...(several ? [visible(row.file)] : []),
          ...[row.row, row.label, ...row.predictions].map(String),
          ...[row.base, row.other].map((loss) => show(loss)),
          `${show(100 * changeOf(row.base, row.other), 4)} %`,
          show(row.divergence),
        ]),
      ),
    });
    const plusMinus = (value: number): string => (Number.isFinite(value) ? ` ± ${show(value, 3)}` : "");
    return page({
      title: `xent: ${visible(other.name)} beside ${visible(base.name)}`,
      facts: [
        ["rows", `${counted} counted, ${comparison.ignored} ignored`],
        ["mean loss", `${show(base.mean, 8)} → ${show(other.mean, 8)} nat`],
        ["difference", `${show(difference.mean)}${plusMinus(difference.standardError)}`],
        ["perplexity", `${show(base.perplexity, 8)} → ${show(other.perplexity, 8)}`],
        ["accuracy", `${show(100 * base.accuracy, 4)} → ${show(100 * other.accuracy, 4)} %`],
        ["KL divergence", `${show(divergence.mean)} nat${plusMinus(divergence.standardError)}`],
        ["same best class", `${show(100 * agreement.mean, 4)} %`],
        ["p of the label", `${show(label.base)} → ${show(label.other)}`],
        ...comparison.notices.map(({ file, message }) => ["notice", `${visible(file)}: ${message}`] as const),
      ],
      sections,
      darkColors,
    });
  }
}

/** Ranks at even distances on a logarithmic scale; only those whose divergence is positive and finite can be drawn. */
function rankedDivergences(
  count: number,
  at: (probabilities: readonly number[]) => readonly number[],
): { readonly rank: number; readonly divergence: number }[] {
  const ranks = new Set(Array.from({ length: RANKS }, (_, i) => Math.round(count ** (i / (RANKS - 1)))));
  const all = [...ranks];
  const values = at(all.map((rank) => (count > 1 ? (count - rank) / (count - 1) : 1)));
  return all
    .map((rank, i) => ({ rank, divergence: values[i] as number }))
    .filter(
      ({ divergence }) =>
        divergence > (Number.isFinite(values[0]) ? (values[0] as number) * SMALLEST : 0) && Number.isFinite(divergence),
    );
}
