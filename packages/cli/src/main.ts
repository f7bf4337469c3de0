#!/usr/bin/env node
import { createRequire } from "node:module";
import { Command, CommanderError, InvalidArgumentError, Option } from "commander";
import { runWhereAddressesAreFew } from "./address-space.ts";
import { USUAL_BINS } from "./calibration.ts";
import { compare } from "./compare.ts";
import type { CompareFlags } from "./compared-files.ts";
import { comparisonText, noticesOf } from "./comparison-text.ts";
import { FLOATS, INTEGERS } from "./dtypes.ts";
import { type EvaluateFlags, evaluate } from "./evaluate.ts";
import { evaluationText, mergedText } from "./evaluation-text.ts";
import { type ExplainFlags, explain } from "./explain.ts";
import { explanationText } from "./explain-text.ts";
import { Failure } from "./failure.ts";
import { MOST_THREADS } from "./files.ts";
import { refuseRepeats } from "./given.ts";
import { addLossOptions, addModelOptions, collected, integer } from "./loss-options.ts";
import { type MergeFlags, merge } from "./merge.ts";
import { decimal, toJson } from "./numbers.ts";
import { type PartialsFlags, partials } from "./partials.ts";
import type { WorkFlags } from "./queue.ts";
import { QUEUE_VARIABLE } from "./queue-url.ts";
import { asArgument } from "./standard-input.ts";
import { visible, visibleLines, withoutPasswords } from "./visible.ts";

const { version } = createRequire(import.meta.url)("../package.json") as { version: string };
const LOGITS = ".npy, .npz or .safetensors (file:name), or .bin, .raw, .f32 with --classes";
const LABELS = "the same with integers, .bin, .raw or .i32 (int32), or .txt";
const MOST_BINS = 10_000;
const program = new Command("xent")
  .description("Sparse softmax cross-entropy of one row, or of files of logits.")
  .version(version)
  .configureOutput({
    writeErr: (text) => process.stderr.write(visibleLines(withoutPasswords(text))),
    outputError: (text, write) => write(text.replace(/^error: /, "xent: ")),
  })
  .exitOverride();

const explaining = program
  .command("explain")
  .description(
    "Print the loss of one row, step by step. Logits are arguments, a comma-separated list, or standard input.",
  )
  .argument("[logits...]", "numbers, also inf and -inf")
  // Negative logits look like options. explain() reports words that are neither.
  .allowUnknownOption()
  .requiredOption("--label <y>", "the correct class", integer(Number.MIN_SAFE_INTEGER))
  .option("--class-weights <list>", "one weight for each class, separated by commas");
addLossOptions(explaining).action((logits: string[], flags: ExplainFlags) => {
  const explanation = explain(logits, flags);
  process.stdout.write(flags.json ? toJson(explanation) : explanationText(explanation));
});

const QUEUE_NAME = ["--queue-name <name>", "name of the queue in this Redis", queueName, "xent"] as const;

const evaluating = program
  .command("evaluate")
  .description(
    "Print mean loss, perplexity and accuracy of files of logits and labels. Files may be larger than memory.",
  )
  .argument("[files...]", "one or more files of logits, each with some of the rows")
  .option("--logits <file>", `${LOGITS}; may be given several times`, collected(String))
  .requiredOption("--labels <file>", `${LABELS}. For several files: {path}.txt, labels/{name}.npy, {file}:labels`);
addRowOptions(addFileOptions(evaluating))
  .option("--class-weights <file>", "one weight for each class: .txt, or a format of the logits")
  .option("--per-row <file>", "also write the loss of each row: .npy or .csv")
  .option("--totals <file>", "also write the exact sums, for xent merge")
  .option("--top-k <list>", "also print how often the label is among the k largest logits: 1,5", topK)
  .addOption(
    new Option("--calibration [bins]", "also print the expected calibration error over this number of bins")
      .argParser(bins)
      .preset(`${USUAL_BINS}`),
  )
  .option("--bytes <n or file>", "size of the text, as a number or as its files: also print bits per byte")
  .addOption(grouping())
  .option(
    "--html <file>",
    "also write a report with pictures: distribution of losses, positions, calibration, worst rows",
  )
  .option("--strict", "fail if a row has no finite loss")
  .option("--verify", "with --queue: compare the workers' files by all bytes instead of a sample")
  .option(
    "--queue [url]",
    `evaluate on processes of xent work, through a Redis: redis://host:port (default: environment variable ${QUEUE_VARIABLE})`,
  )
  .option(...QUEUE_NAME);
addLossOptions(evaluating);
evaluating.action(async (files: string[], flags: EvaluateFlags) => {
  const evaluation = await interruptible((signal) => evaluate(files, flags, signal));
  if (evaluation === undefined) return;
  process.stdout.write(flags.json ? toJson(evaluation) : evaluationText(evaluation));
  for (const { file, message } of evaluation.notices) process.stderr.write(`xent: ${visible(file)}: ${message}\n`);
  const { rows, first } = evaluation.notFinite;
  if (first) {
    const count = rows === 1 ? "1 row has" : `${rows} rows have`;
    const where = first.file ?? evaluation.logits.name;
    const what = `${count} no finite loss; the first is row ${first.row}: ${first.reason}`;
    process.stderr.write(`xent: ${visible(where)}: ${what}\n`);
  }
});

const sharding = program
  .command("partials")
  .description("Write the partials of a file that has some of the classes of its rows.")
  .requiredOption("--logits <file>", LOGITS)
  .requiredOption("--labels <file>", `${LABELS}. Labels range over all classes`)
  .requiredOption("--class-offset <n>", "number of the file's first class", integer(0))
  .requiredOption("--classes-total <C>", "number of all classes", integer(1))
  .requiredOption("--output <file>", "file to write");
addFileOptions(sharding).option(
  "--class-weights <file>",
  "one weight for each of all classes: .txt, or a format of the logits",
);
addLossOptions(sharding).action(async (flags: PartialsFlags) => {
  await interruptible((signal) => partials(flags, signal));
});

program
  .command("merge")
  .description("Merge files of xent partials or of xent evaluate --totals, and print the results.")
  .argument("<files...>", "in any order")
  .option("--output <file>", "also write the merged file")
  .option("--per-row <file>", "with partials: also write the loss of each row: .npy or .csv")
  .option("--json", "print everything as JSON")
  .action(async (files: string[], flags: MergeFlags) => {
    const merged = await interruptible((signal) => merge(files, flags, signal));
    if (merged === undefined) return;
    process.stdout.write(flags.json ? toJson(merged) : mergedText(merged));
  });

program
  .command("work")
  .description("Evaluate files for xent evaluate --queue until interrupted.")
  .option("--queue [url]", `redis://host:port (default: environment variable ${QUEUE_VARIABLE})`)
  .option(...QUEUE_NAME)
  .option("--threads <n>", 'threads that compute, or "auto"', threads, "auto")
  .option("--root <folder>", "folder of the files (default: the current one)")
  .action(async (flags: WorkFlags) => {
    await interruptible(async (signal) => {
      const { work } = await import("./queue.ts");
      await work(flags, signal);
    });
  });

const comparing = program
  .command("compare")
  .description("Compare two models by their logits on the same rows, such as a quantised model and its original.")
  .argument("[files...]", "BASE and OTHER, files of logits")
  .option("--base <files...>", "files of the first model, if there are several")
  .option("--other <files...>", "the same number of files of the second model, in the same order")
  .requiredOption(
    "--labels <file>",
    `${LABELS}. For several files: {path}.txt, labels/{name}.npy, named after the base`,
  )
  .option("--per-row <file>", "also write each row: .csv, or .npy with the divergences")
  .option(
    "--html <file>",
    "also write a report with pictures: losses against each other, divergence by rank, positions",
  )
  .addOption(new Option("--other-dtype <type>", "--dtype of the second model, if it differs").choices(FLOATS))
  .addOption(grouping());
addModelOptions(addRowOptions(addFileOptions(comparing))).action(async (files: string[], flags: CompareFlags) => {
  const comparison = await interruptible((signal) => compare(files, flags, signal));
  if (comparison === undefined) return;
  process.stdout.write(flags.json ? toJson(comparison) : comparisonText(comparison));
  for (const notice of noticesOf(comparison)) process.stderr.write(`xent: ${visible(notice)}\n`);
});

for (const command of program.commands) {
  const own = command === evaluating ? ["logits"] : command === comparing ? ["base", "other"] : [];
  refuseRepeats(command, ["ignore-index", ...own]);
}

function grouping(): Option {
  const what = ["row", "sequence", "file"];
  return new Option("--group <what>", "compute standard errors over clusters, whose rows depend on each other").choices(
    what,
  );
}

function addFileOptions(command: Command): Command {
  return command
    .option("--classes <C>", "number of classes of a file without a shape", integer(1))
    .addOption(new Option("--dtype <type>", "number type of a file without types (default: float32)").choices(FLOATS))
    .option("--shift <n>", "row i has label i + n of its sequence", integer(0), 0)
    .option("--sequence <rows>", "rows in a sequence (default: the last axis but one)", integer(1))
    .option("--batch-rows <n>", "rows of a batch; two batches are in memory (default: 16 MiB)", integer(1))
    .option("--threads <n>", 'threads that compute, or "auto"', threads, "auto");
}

/** Options that say which rows there are, and which count. */
function addRowOptions(command: Command): Command {
  return command
    .option("--mask <file>", "one value for each label, 0 if it does not count; bool or a type of labels")
    .option("--axis <n>", "class axis: 1 for [N, C, T] (default: the last)", integer(Number.MIN_SAFE_INTEGER))
    .addOption(
      new Option("--labels-dtype <type>", "label type of a file without types (default: int32)").choices(INTEGERS),
    );
}

/** Resolves to undefined if the run was interrupted. */
async function interruptible<T>(run: (signal: AbortSignal) => Promise<T>): Promise<T | undefined> {
  const interrupt = new AbortController();
  for (const [name, status] of Object.entries({ SIGINT: 130, SIGTERM: 143, SIGHUP: 129 })) {
    // A second signal ends the process at once.
    process.on(name, () => (interrupt.signal.aborted ? process.exit(status) : interrupt.abort(status)));
  }
  const interrupted = (): void => {
    process.stderr.write("xent: interrupted\n");
    process.exitCode = interrupt.signal.reason;
    // Do not wait for a connection that takes long to close.
    setTimeout(() => process.exit(), 500).unref();
  };
  try {
    const result = await run(interrupt.signal);
    if (interrupt.signal.aborted) interrupted();
    return interrupt.signal.aborted ? undefined : result;
  } catch (error) {
    if (!interrupt.signal.aborted) throw error;
    interrupted();
    return undefined;
  }
}

function queueName(text: string): string {
  if (text === "" || text.includes(":")) throw new InvalidArgumentError('Expected a name without ":".');
  return text;
}

function topK(text: string): number[] {
  const list = text.split(",").map((part) => (/^\d+$/.test(part.trim()) ? Number(part) : NaN));
  if (!list.every((k) => Number.isSafeInteger(k) && k >= 1)) {
    throw new InvalidArgumentError("Expected integers >= 1, separated by commas: 1,5.");
  }
  return [...new Set(list)].sort((a, b) => a - b);
}

function bins(text: string): number {
  const count = decimal(text);
  if (!(Number.isInteger(count) && count >= 1 && count <= MOST_BINS)) {
    throw new InvalidArgumentError(`Expected a number of bins from 1 to ${MOST_BINS}.`);
  }
  return count;
}

function threads(text: string): number | "auto" {
  if (text === "auto") return text;
  const count = decimal(text);
  if (!(Number.isInteger(count) && count >= 1 && count <= MOST_THREADS)) {
    throw new InvalidArgumentError(`Expected an integer from 1 to ${MOST_THREADS}, or "auto".`);
  }
  return count;
}

/** 1: a file is wrong. 2: the command line is wrong. */
function exitCodeOf(error: unknown): 0 | 1 | 2 {
  // Commander has printed its message.
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
  report(error);
  return error instanceof Failure && error.exitCode === 2 ? 2 : 1;
}

/** Prints one line. A file error has a code, and lack of memory is a RangeError; any other error is a bug of this program. */
function report(error: unknown): void {
  const isExpected =
    error instanceof Failure || error instanceof RangeError || (error instanceof Error && "code" in error);
  const message = isExpected ? error.message : `internal error: ${error}`;
  process.stderr.write(`xent: ${visible(withoutPasswords(message))}\n`);
  if (process.env["XENT_STACK"] && error instanceof Error) {
    process.stderr.write(`${visibleLines(withoutPasswords(`${error.stack}`))}\n`);
  }
}

// Errors that nothing caught.
process.on("uncaughtException", (error) => {
  report(error);
  process.exit(1);
});
process.stderr.on("error", () => {});

// EPIPE: the reader, such as head, has closed the pipe.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code === "EPIPE") return;
  process.stderr.write(`xent: standard output: ${error.message}\n`);
  process.exitCode = 1;
});
try {
  const status = await runWhereAddressesAreFew();
  if (status === undefined) await program.parseAsync(process.argv.map(asArgument));
  else process.exitCode = status;
} catch (error) {
  process.exitCode = exitCodeOf(error);
}
