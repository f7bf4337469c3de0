import type { CalibrationResult } from "./calibration.ts";
import type { Evaluation, Summary } from "./evaluation.ts";
import type { FileSummary } from "./file-summary.ts";
import { type Merged, rangesText } from "./merge.ts";
import { show } from "./numbers.ts";
import { rateOf } from "./progress.ts";
import { table } from "./table.ts";
import { bold, dim, width } from "./terminal.ts";
import { visible } from "./visible.ts";

/** An evaluation as text for a terminal. */
export function evaluationText(evaluation: Evaluation): string {
  const { logits, labels, shards, rows, ignored, counted, variant, threads, bytes, seconds, notFinite } = evaluation;
  const { topK = [], calibration, bitsPerByte, textBytes } = evaluation;
  const { first } = notFinite;
  const where = first?.file === undefined ? "" : `${visible(first.file)}, `;
  return [
    line("logits", `${visible(logits.name)}, [${logits.shape.join(", ")}] ${logits.dtype}`),
    line("labels", `${visible(labels.name)}, ${labels.dtype}`),
    ...(shards === undefined ? [] : [line("files", String(shards))]),
    line("rows", `${counted} counted, ${ignored} ignored, ${rows} in all`),
    ...summaryLines(evaluation, evaluation),
    ...topK.map(({ k, correct, accuracy }) => line(`top ${k}`, percent(accuracy, correct))),
    ...(bitsPerByte === undefined ? [] : [line("bits per byte", `${digits(bitsPerByte)}, ${textBytes} bytes`)]),
    ...(calibration === undefined
      ? []
      : [line("calibration", `expected error ${show(calibration.expectedCalibrationError)}`)]),
    ...(first ? [line("not finite", `${notFinite.rows} rows, first ${where}row ${first.row}: ${first.reason}`)] : []),
    line("kernel", threads === undefined ? `${variant}, on the queue` : `${variant}, threads: ${threads}`),
    line("time", `${seconds.toFixed(2)} s, ${rateOf(bytes, seconds)}`),
    ...(calibration === undefined ? [] : ["", ...calibrationTable(calibration)]),
    ...(shards === undefined ? [] : ["", ...filesTable(evaluation)]),
    "",
  ].join("\n");
}

/** The result of a merge as text for a terminal. */
export function mergedText({ files, rows, classes, classesTotal, summary }: Merged): string {
  const seen = classes && rangesText(classes);
  return [
    line("files", String(files)),
    ...(rows === undefined ? [] : [line("rows", String(rows))]),
    ...(seen === undefined ? [] : [line("classes", `${seen} of ${classesTotal}`)]),
    ...(summary === undefined ? [] : [line("counted", `${summary.counted} rows`), ...summaryLines(summary)]),
    "",
  ].join("\n");
}

function summaryLines(
  { mean, perplexity, bitsPerToken, correct, accuracy }: Summary,
  uncertainty?: Pick<Evaluation, "standardError" | "perplexityStandardError" | "group">,
): string[] {
  const { standardError = NaN, perplexityStandardError = NaN, group } = uncertainty ?? {};
  const over = group === undefined || group.by === "row" ? "" : `, by ${group.count} ${group.by}s`;
  return [
    line("mean loss", `${bold(`${digits(mean)} nat`)}${plusMinus(standardError)}${over}`),
    line("perplexity", `${bold(digits(perplexity))}${plusMinus(perplexityStandardError)}`),
    line("bits per token", digits(bitsPerToken)),
    line("accuracy", percent(accuracy, correct)),
  ];
}

/** A standard error as text; empty if there is none. */
export function plusMinus(standardError: number): string {
  return Number.isFinite(standardError) ? ` ± ${standardError.toPrecision(3)}` : "";
}

export function percent(part: number, count: number, what = "right"): string {
  return `${(100 * part).toFixed(2)} %, ${count} ${what}`;
}

/** A table of the files, with the mean of all rows and the mean of the files. */
function filesTable({ files, macro, mean, standardError, perplexity, accuracy, rows, counted }: Evaluation): string[] {
  const micro = { name: "all rows (micro)", rows, counted, mean, standardError, perplexity, accuracy };
  const each = { name: "mean of files (macro)", rows: NaN, counted: NaN, standardError: NaN, ...macro };
  const ofFile = (file: FileSummary) => ({ ...file, name: visible(file.name), accuracy: file.correct / file.counted });
  const lines = [...files.map(ofFile), micro, each];
  const column = (title: string, cell: (row: (typeof lines)[number]) => string) => [title, ...lines.map(cell)] as const;
  return table(
    [
      column("file", ({ name }) => name),
      column("rows", (row) => orBlank(row.rows, String)),
      column("counted", (row) => orBlank(row.counted, String)),
      column("mean loss", (row) => orBlank(row.mean, (value) => value.toPrecision(6))),
      column("±", (row) => orBlank(row.standardError, (value) => value.toPrecision(3))),
      column("perplexity", (row) => orBlank(row.perplexity, (value) => value.toPrecision(6))),
      column("accuracy", (row) => orBlank(row.accuracy, (value) => `${(100 * value).toFixed(2)} %`)),
    ],
    width,
    (text, row) => (row === -1 ? dim(text) : text),
  );
}

/** A number as text; empty if there is none. */
export function orBlank(value: number, text: (value: number) => string): string {
  return Number.isNaN(value) ? "" : text(value);
}

function calibrationTable({ bins }: CalibrationResult): string[] {
  const some = bins.filter(({ rows }) => rows > 0);
  return table(
    [
      ["confidence", ...some.map(({ from, to }) => `${show(from, 3)} to ${show(to, 3)}`)],
      ["rows", ...some.map(({ rows }) => String(rows))],
      ["mean", ...some.map(({ confidence = NaN }) => confidence.toFixed(4))],
      ["accuracy", ...some.map(({ accuracy = NaN }) => accuracy.toFixed(4))],
      ["difference", ...some.map(({ accuracy = NaN, confidence = NaN }) => (accuracy - confidence).toFixed(4))],
    ],
    width,
    (text, row) => (row === -1 ? dim(text) : text),
  );
}

export function line(name: string, text: string): string {
  return `${dim(name.padEnd(16))}${text}`;
}

function digits(value: number): string {
  return value.toPrecision(10);
}
