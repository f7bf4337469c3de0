import type { Evaluation, Summary } from "./evaluate.ts";
import { type Merged, rangesText } from "./merge.ts";
import { rateOf } from "./progress.ts";
import { bold, dim } from "./terminal.ts";
import { visible } from "./visible.ts";

/** An evaluation to be read in a terminal. */
export function evaluationText(evaluation: Evaluation): string {
  const { logits, labels, shards, rows, ignored, counted, variant, threads, bytes, seconds, notFinite } = evaluation;
  const { first } = notFinite;
  const where = first?.file === undefined ? "" : `${visible(first.file)}, `;
  return [
    line("logits", `${visible(logits.name)}, [${logits.shape.join(", ")}] ${logits.dtype}`),
    line("labels", `${visible(labels.name)}, ${labels.dtype}`),
    ...(shards === undefined ? [] : [line("files", String(shards))]),
    line("rows", `${counted} counted, ${ignored} ignored, ${rows} in all`),
    ...summaryLines(evaluation),
    ...(first ? [line("not finite", `${notFinite.rows} rows, first ${where}row ${first.row}: ${first.reason}`)] : []),
    line("kernel", threads === undefined ? `${variant}, on the queue` : `${variant}, threads: ${threads}`),
    line("time", `${seconds.toFixed(2)} s, ${rateOf(bytes, seconds)}`),
    "",
  ].join("\n");
}

/** What has come of merging. */
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

function summaryLines({ mean, perplexity, bitsPerToken, correct, accuracy }: Summary): string[] {
  return [
    line("mean loss", bold(`${digits(mean)} nat`)),
    line("perplexity", bold(digits(perplexity))),
    line("bits per token", digits(bitsPerToken)),
    line("accuracy", `${(100 * accuracy).toFixed(2)} %, ${correct} right`),
  ];
}

function line(name: string, text: string): string {
  return `${dim(name.padEnd(16))}${text}`;
}

function digits(value: number): string {
  return value.toPrecision(10);
}
