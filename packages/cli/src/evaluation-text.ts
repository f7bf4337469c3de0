import type { Evaluation } from "./evaluate.ts";
import { rateOf } from "./progress.ts";
import { bold, dim } from "./terminal.ts";

/** An evaluation to be read in a terminal. */
export function evaluationText(evaluation: Evaluation): string {
  const { logits, labels, rows, ignored, counted, mean, perplexity, bitsPerToken, correct, accuracy } = evaluation;
  const { variant, threads, bytes, seconds, notFinite } = evaluation;
  const line = (name: string, text: string): string => `${dim(name.padEnd(16))}${text}`;
  const { first } = notFinite;
  return [
    line("logits", `${logits.name}, [${logits.shape.join(", ")}] ${logits.dtype}`),
    line("labels", `${labels.name}, ${labels.dtype}`),
    line("rows", `${counted} counted, ${ignored} ignored, ${rows} in all`),
    line("mean loss", bold(`${digits(mean)} nat`)),
    line("perplexity", bold(digits(perplexity))),
    line("bits per token", digits(bitsPerToken)),
    line("accuracy", `${(100 * accuracy).toFixed(2)} %, ${correct} right`),
    ...(first ? [line("not finite", `${notFinite.rows} rows, first row ${first.row}: ${first.reason}`)] : []),
    line("kernel", `${variant}, threads: ${threads}`),
    line("time", `${seconds.toFixed(2)} s, ${rateOf(bytes, seconds)}`),
    "",
  ].join("\n");
}

function digits(value: number): string {
  return value.toPrecision(10);
}
