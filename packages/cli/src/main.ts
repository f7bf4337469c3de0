#!/usr/bin/env node
import { createRequire } from "node:module";
import { Command, CommanderError, InvalidArgumentError, Option } from "commander";
import { runWhereAddressesAreFew } from "./address-space.ts";
import { USUAL_BINS } from "./calibration.ts";
import { type CompareFlags, compare } from "./compare.ts";
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
import { toJson } from "./numbers.ts";
import { type PartialsFlags, partials } from "./partials.ts";
import type { WorkFlags } from "./queue.ts";
import { QUEUE_VARIABLE } from "./queue-url.ts";
import { visible, visibleLines, withoutPasswords } from "./visible.ts";

const { version } = createRequire(import.meta.url)("../package.json") as { version: string };
const LOGITS = ".npy, .npz or .safetensors (file:name), or .bin, .raw, .f32 with --classes";
const LABELS = "the same with integers, .bin, .raw or .i32 (int32), or .txt";
const MOST_BINS = 10_000;
const program = new Command("xent")
  .description("Sparse softmax cross-entropy: what it is for one row, and what it is for files of logits.")
  .version(version)
  .configureOutput({
    writeErr: (text) => process.stderr.write(visibleLines(withoutPasswords(text))),
    outputError: (text, write) => write(text.replace(/^error: /, "xent: ")),
  })
  .exitOverride();

const explaining = program
  .command("explain")
  .description("Print the loss of one row, step by step. Logits are arguments, a list with commas, or standard input.")
  .argument("[logits...]", "numbers, also inf and -inf")
  // Some logits look like options: explain() says which of them are none.
  .allowUnknownOption()
  .requiredOption("--label <y>", "the class that is right", integer(Number.MIN_SAFE_INTEGER))
  .option("--class-weights <list>", "one weight a class, with commas between them");
addLossOptions(explaining).action((logits: string[], flags: ExplainFlags) => {
  const explanation = explain(logits, flags);
  process.stdout.write(flags.json ? toJson(explanation) : explanationText(explanation));
});

const QUEUE_NAME = ["--queue-name <name>", "of the queue at this Redis", queueName, "xent"] as const;

const evaluating = program
  .command("evaluate")
  .description(
    "Print mean loss, perplexity and accuracy of files of logits and labels, which may be larger than memory.",
  )
  .argument("[files...]", "files of logits, where there are several: shards of the rows")
  .option("--logits <file>", `${LOGITS}; may be given several times`, collected(String))
  .requiredOption("--labels <file>", `${LABELS}. For several files: {path}.txt, labels/{name}.npy, {file}:labels`);
addRowOptions(addFileOptions(evaluating))
  .option("--class-weights <file>", "one weight a class, .txt or as the logits")
  .option("--per-row <file>", "also write the loss of each row: .npy or .csv")
  .option("--totals <file>", "also write the exact sums, for xent merge")
  .option("--top-k <list>", "also how often the label is among the k largest logits: 1,5", topK)
  .addOption(
    new Option("--calibration [bins]", "also the expected calibration error, by so many bins")
      .argParser(bins)
      .preset(`${USUAL_BINS}`),
  )
  .option("--bytes <n or file>", "of the text: bits per byte; a number, or the text itself")
  .addOption(grouping())
  .option(
    "--html <file>",
    "also write a report with pictures: distribution of losses, positions, calibration, worst rows",
  )
  .option("--strict", "a row without a finite loss is an error")
  .option("--verify", "with --queue: compare all bytes of the files with those of the workers, not a sample")
  .option(
    "--queue [url]",
    `let xent work evaluate the files, through a Redis: redis://host:port (default: ${QUEUE_VARIABLE} of the environment)`,
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
  .description("Write what a file with a shard of the classes says of its rows.")
  .requiredOption("--logits <file>", LOGITS)
  .requiredOption("--labels <file>", `${LABELS}: classes of all`)
  .requiredOption("--class-offset <n>", "the first class of the file", integer(0))
  .requiredOption("--classes-total <C>", "all classes", integer(1))
  .requiredOption("--output <file>", "where to");
addFileOptions(sharding).option("--class-weights <file>", "one weight for each of all classes, .txt or as the logits");
addLossOptions(sharding).action(async (flags: PartialsFlags) => {
  await interruptible((signal) => partials(flags, signal));
});

program
  .command("merge")
  .description("Merge what xent partials or xent evaluate --totals have written, and print what follows.")
  .argument("<files...>", "in any order")
  .option("--output <file>", "also write what is merged")
  .option("--per-row <file>", "also write the loss of each row: .npy or .csv; of partials")
  .option("--json", "print everything as JSON")
  .action(async (files: string[], flags: MergeFlags) => {
    const merged = await interruptible((signal) => merge(files, flags, signal));
    if (merged === undefined) return;
    process.stdout.write(flags.json ? toJson(merged) : mergedText(merged));
  });

program
  .command("work")
  .description("Evaluate files for xent evaluate --queue, until it is interrupted.")
  .option("--queue [url]", `redis://host:port (default: ${QUEUE_VARIABLE} of the environment)`)
  .option(...QUEUE_NAME)
  .option("--threads <n>", 'threads that compute, or "auto"', threads, "auto")
  .option("--root <folder>", "where the files are (default: here)")
  .action(async (flags: WorkFlags) => {
    await interruptible(async (signal) => {
      const { work } = await import("./queue.ts");
      await work(flags, signal);
    });
  });

const comparing = program
  .command("compare")
  .description("Compare two models by their logits of the same rows: a quantised one with the one that it was made of.")
  .argument("[files...]", "BASE and OTHER, files of logits")
  .option("--base <files...>", "several files of the first model, where there are several")
  .option("--other <files...>", "as many of the second one, in the same order")
  .requiredOption("--labels <file>", `${LABELS}. For several files: {path}.txt, labels/{name}.npy, of the base`)
  .option("--per-row <file>", "also write each row: .csv, or .npy with the divergences")
  .option(
    "--html <file>",
    "also write a report with pictures: losses against each other, divergence by rank, positions",
  )
  .addOption(
    new Option("--other-dtype <type>", "as --dtype, of the second model, where it is another one").choices(FLOATS),
  )
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
  return new Option("--group <what>", "standard errors by clusters, whose rows depend on each other").choices(what);
}

function addFileOptions(command: Command): Command {
  return command
    .option("--classes <C>", "classes of a file without a shape", integer(1))
    .addOption(new Option("--dtype <type>", "numbers of a file without types (default: float32)").choices(FLOATS))
    .option("--shift <n>", "row i has label i + n of its sequence", integer(0), 0)
    .option("--sequence <rows>", "rows of a sequence (default: the last axis but one)", integer(1))
    .option("--batch-rows <n>", "rows in memory at a time, twice (default: 16 MiB)", integer(1))
    .option("--threads <n>", 'threads that compute, or "auto"', threads, "auto");
}

/** Which rows there are, and which count. */
function addRowOptions(command: Command): Command {
  return command
    .option("--mask <file>", "of each label whether it counts: 0 if not; uint8 or bool, as the labels")
    .option("--axis <n>", "of the classes: 1 for [N, C, T] (default: the last)", integer(Number.MIN_SAFE_INTEGER))
    .addOption(
      new Option("--labels-dtype <type>", "labels of a file without types (default: int32)").choices(INTEGERS),
    );
}

/** Undefined where it was interrupted. */
async function interruptible<T>(run: (signal: AbortSignal) => Promise<T>): Promise<T | undefined> {
  const interrupt = new AbortController();
  for (const [name, status] of Object.entries({ SIGINT: 130, SIGTERM: 143, SIGHUP: 129 })) {
    // Who asks twice does not want to wait.
    process.on(name, () => (interrupt.signal.aborted ? process.exit(status) : interrupt.abort(status)));
  }
  const interrupted = (): void => {
    process.stderr.write("xent: interrupted\n");
    process.exitCode = interrupt.signal.reason;
    // A connection that is about to be given up is not waited for.
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
    throw new InvalidArgumentError("Expected integers >= 1 with commas between them: 1,5.");
  }
  return [...new Set(list)].sort((a, b) => a - b);
}

function bins(text: string): number {
  const count = Number(text);
  if (!(Number.isInteger(count) && count >= 1 && count <= MOST_BINS)) {
    throw new InvalidArgumentError(`Expected a number of bins from 1 to ${MOST_BINS}.`);
  }
  return count;
}

function threads(text: string): number | "auto" {
  if (text === "auto") return text;
  const count = Number(text);
  if (!(Number.isInteger(count) && count >= 1 && count <= MOST_THREADS)) {
    throw new InvalidArgumentError(`Expected an integer from 1 to ${MOST_THREADS}, or "auto".`);
  }
  return count;
}

/** 1: files are not as they should be. 2: the command line is not. */
function exitCodeOf(error: unknown): 0 | 1 | 2 {
  // It has printed its message.
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
  report(error);
  return error instanceof Failure && error.exitCode === 2 ? 2 : 1;
}

/** One line. Files that cannot be opened have a code, memory that is not enough is a RangeError; the rest is a mistake in here. */
function report(error: unknown): void {
  const isExpected =
    error instanceof Failure || error instanceof RangeError || (error instanceof Error && "code" in error);
  const message = isExpected ? error.message : `something went wrong that should not: ${error}`;
  process.stderr.write(`xent: ${visible(withoutPasswords(message))}\n`);
  if (process.env["XENT_STACK"] && error instanceof Error) {
    process.stderr.write(`${visibleLines(withoutPasswords(`${error.stack}`))}\n`);
  }
}

// Errors that nothing has caught.
process.on("uncaughtException", (error) => {
  report(error);
  process.exit(1);
});
process.stderr.on("error", () => {});

// A reader like head that has seen enough.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code === "EPIPE") return;
  process.stderr.write(`xent: standard output: ${error.message}\n`);
  process.exitCode = 1;
});
try {
  const status = await runWhereAddressesAreFew();
  if (status === undefined) await program.parseAsync();
  else process.exitCode = status;
} catch (error) {
  process.exitCode = exitCodeOf(error);
}
