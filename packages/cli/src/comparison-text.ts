import type { Comparison, Estimate, ModelSummary, RowValue } from "./comparison.ts";
import { line, orBlank, percent, plusMinus } from "./evaluation-text.ts";
import { show } from "./numbers.ts";
import { rateOf } from "./progress.ts";
import { table } from "./table.ts";
import { bold, dim, width } from "./terminal.ts";
import { visible } from "./visible.ts";

/** A comparison as text for a terminal. */
export function comparisonText(comparison: Comparison): string {
  const { base, other, labels, rows, classes, counted, ignored, group, variant, threads, bytes, seconds } = comparison;
  const { difference, divergence, agreement, labelProbability: label, files } = comparison;
  const model = ({ name, dtype }: ModelSummary): string => `${visible(name)}, ${rows} x ${classes} ${dtype}`;
  return [
    line("base", model(base)),
    line("other", model(other)),
    line("labels", `${visible(labels.name)}, ${labels.dtype}`),
    ...(files.length > 1 ? [line("files", `${files.length} of each`)] : []),
    line("rows", `${counted} counted, ${ignored} ignored, ${rows} in all`),
    ...(group.by === "row" ? [] : [line("standard errors", `by ${group.count} ${group.by}s`)]),
    "",
    ...table(
      [
        ["", "mean loss", "perplexity", "accuracy"],
        ["base", ...ofModel(base)],
        ["other", ...ofModel(other)],
        [
          "other - base",
          signed(difference.mean) + plusMinus(difference.standardError),
          `x ${show(difference.perplexityRatio, 7)}${plusMinus(difference.perplexityRatioStandardError)}`,
          `${signed(100 * (other.accuracy - base.accuracy))} %`,
        ],
      ],
      width,
      (text, row) => (row === -1 ? dim(text) : text),
    ),
    "",
    line("KL divergence", bold(`${show(divergence.mean)} nat`) + plusMinus(divergence.standardError)),
    line("  median", show(divergence.median)),
    line("  99 %", show(divergence.percentile99) + (divergence.quantiles === "exact" ? "" : ", both within 0.2 %")),
    line("  largest", at(divergence.largest, show)),
    line("same best class", percent(agreement.mean, agreement.rows, "rows") + inPercent(agreement)),
    line("p of the label", `${show(label.base)} -> ${show(label.other)}: ${ofChange(label.change)}`),
    line("  all changes", `root mean square ${show(100 * label.rootMeanSquareChange)} %`),
    line("  largest drop", at(label.largestDecrease, percentage)),
    line("  largest rise", at(label.largestIncrease, percentage)),
    line("kernel", `${variant}, threads: ${threads}`),
    line("time", `${seconds.toFixed(2)} s, ${rateOf(bytes, seconds)}`),
    ...(files.length > 1 ? ["", ...filesTable(comparison)] : []),
    "",
  ].join("\n");
}

/** Warnings about the numbers of a comparison. */
export function noticesOf({ base, other, divergence, notices }: Comparison): string[] {
  const infinite = [base, other].flatMap(({ name, notFinite: { rows, first } }) => {
    if (first === undefined) return [];
    const count = rows === 1 ? "1 row has" : `${rows} rows have`;
    return [`${first.file ?? name}: ${count} no finite loss; the first is row ${first.row}: ${first.reason}`];
  });
  const { notFinite, largest } = divergence;
  // A base with finite losses has finite divergences from any finite model.
  const where = base.notFinite.rows === 0 ? other.name : `${base.name} and ${other.name}`;
  const rows = notFinite === 1 ? "1 row has" : `${notFinite} rows have`;
  return [
    ...notices.map(({ file, message }) => `${file}: ${message}`),
    ...infinite,
    ...(notFinite === 0 || largest === undefined
      ? []
      : [`${where}: ${rows} no finite divergence; the largest is ${at(largest, String)}`]),
  ];
}

function ofModel({ mean, standardError, perplexity, perplexityStandardError, accuracy }: ModelSummary): string[] {
  return [
    mean.toPrecision(8) + plusMinus(standardError),
    perplexity.toPrecision(8) + plusMinus(perplexityStandardError),
    `${(100 * accuracy).toFixed(2)} %`,
  ];
}

function ofChange({ mean, standardError }: Estimate): string {
  return `${percentage(mean)}${plusMinus(100 * standardError)}`;
}

function inPercent({ standardError }: Estimate): string {
  return plusMinus(100 * standardError);
}

const signed = (value: number): string => `${value > 0 ? "+" : ""}${show(value)}`;
const percentage = (value: number): string => `${signed(100 * value)} %`;

function at(found: RowValue | undefined, text: (value: number) => string): string {
  if (found === undefined) return "";
  const file = found.file === undefined ? "" : ` of ${visible(found.file)}`;
  return `${text(found.value)}, row ${found.row}${file}`;
}

function filesTable({ files }: Comparison): string[] {
  return table(
    [
      ["base file", ...files.map(({ base }) => visible(base))],
      ["counted", ...files.map(({ counted }) => String(counted))],
      ["base", ...files.map(({ baseMean }) => orBlank(baseMean, (value) => value.toPrecision(6)))],
      ["other", ...files.map(({ otherMean }) => orBlank(otherMean, (value) => value.toPrecision(6)))],
      ["difference", ...files.map(({ difference }) => orBlank(difference.mean, signed))],
      ["±", ...files.map(({ difference }) => orBlank(difference.standardError, (value) => show(value, 3)))],
      ["KL", ...files.map(({ divergence }) => orBlank(divergence.mean, show))],
      ["same best", ...files.map(({ agreement }) => orBlank(agreement, (value) => `${(100 * value).toFixed(2)} %`))],
    ],
    width,
    (text, row) => (row === -1 ? dim(text) : text),
  );
}
