import { readFileSync } from "node:fs";
import { createXentSync, type Variant } from "xent";
import { badFile, badUsage } from "./failure.ts";
import type { LossFlags } from "./loss-options.ts";
import { digitsOf, parseFloat32, ulpOf } from "./numbers.ts";
import { lossInFloat32, type RowOptions, type Steps, stepsOf } from "./steps.ts";

export interface ExplainFlags extends LossFlags {
  readonly label: number;
  readonly classWeights?: string;
}

/** A loss, and its distance from the exact one. */
export interface Measured {
  readonly value: number;
  readonly digits: number;
  readonly ulp: number;
}

/** A row with one option left out. */
export interface Change {
  readonly option: keyof RowOptions;
  readonly value: number | readonly number[];
  readonly lossWithout: number;
  readonly gradientWithout: readonly number[];
}

/** The result of `xent explain`. */
export interface Explanation {
  readonly logits: readonly number[];
  readonly label: number;
  readonly options: RowOptions;
  readonly variant: Variant;
  /** Computed in f64. */
  readonly steps: Steps;
  readonly kernel: Measured;
  /** log(sum_j exp(x_j - m)) - (x_y - m), in f32 */
  readonly stable: Measured;
  /** -log(softmax(x)[y]), in f32 */
  readonly naive: Measured;
  /** Computed by the kernel. */
  readonly gradient: readonly number[];
  readonly changes: readonly Change[];
}

const OPTIONS = ["softcap", "temperature", "classWeights", "labelSmoothing", "zLoss", "ignoreIndex"] as const;

/** Throws a usage error for logits that are not numbers, and for a label that is not a class. */
export function explain(words: readonly string[], flags: ExplainFlags): Explanation {
  const logits = readLogits(words);
  const { label, variant } = flags;
  // The kernel takes one ignoreIndex: the one that equals the label, if any.
  const ignoreIndex = flags.ignoreIndex?.find((index) => index === label) ?? flags.ignoreIndex?.[0];
  if (label !== ignoreIndex && !(label >= 0 && label < logits.length)) {
    throw badUsage(`the label ${label} is outside of the range [0, ${logits.length}) of ${logits.length} logits`);
  }
  const classWeights = flags.classWeights === undefined ? undefined : numbersIn(flags.classWeights);
  if (classWeights !== undefined && classWeights.length !== logits.length) {
    throw badUsage(`--class-weights: expected one for each of ${logits.length} logits, got ${classWeights.length}`);
  }
  const all = { ...flags, classWeights, ignoreIndex };
  const given = OPTIONS.filter((name) => all[name] !== undefined);
  const options: RowOptions = Object.fromEntries(given.map((name) => [name, all[name]]));

  const xent = createXentSync({ variant });
  const kernel = (chosen: RowOptions): { loss: number; gradient: number[] } => {
    const result = xent.sparseSoftmaxCrossEntropyWithLogits([logits], [label], { ...chosen, gradient: true });
    return { loss: result.loss[0] as number, gradient: Array.from(result.gradient ?? []) };
  };
  const steps = stepsOf(logits, label, options);
  const measured = (value: number): Measured => {
    return { value, digits: digitsOf(value, steps.loss), ulp: ulpOf(value, steps.loss) };
  };
  const { loss, gradient } = kernel(options);
  const changes = given.flatMap((option): Change[] => {
    const { [option]: value, ...others } = options;
    // A label that is not a class has no loss unless it is ignored.
    if (value === undefined || (option === "ignoreIndex" && !(label in logits))) return [];
    const without = kernel(others);
    return [{ option, value, lossWithout: without.loss, gradientWithout: without.gradient }];
  });
  return {
    logits,
    label,
    options,
    variant: xent.variant,
    steps,
    kernel: measured(loss),
    stable: measured(lossInFloat32(logits, label, options, true)),
    naive: measured(lossInFloat32(logits, label, options, false)),
    gradient,
    changes,
  };
}

function readLogits(words: readonly string[]): number[] {
  const option = words.find((word) => word.startsWith("--"));
  if (option !== undefined) throw badUsage(`unknown option ${option}`);
  const isPiped = words.length === 0 || words.join() === "-";
  if (isPiped && process.stdin.isTTY) throw badUsage("expected logits: xent explain 2 -5 0.5 -0.1 --label 0");
  const logits = numbersIn(isPiped ? readInput() : words.join(" "));
  if (logits.length === 0) throw badUsage("expected logits, got none");
  return logits;
}

function readInput(): string {
  try {
    return readFileSync(process.stdin.fd, "utf8");
  } catch (cause) {
    throw badFile("standard input", cause as Error);
  }
}

/**
 * The numbers of one row, separated by white space or commas, with or without brackets, as other languages print them. Throws if
 * the text looks like several rows, lacks a number, or has commas within numbers.
 */
function numbersIn(text: string): number[] {
  let row = text.trim();
  while (row.startsWith("[") && row.endsWith("]")) row = row.slice(1, -1).trim();
  if (/[[\]]/.test(row)) throw badUsage("expected one row: numbers in one pair of brackets, or in none");
  if (row === "") return [];
  if (row === text.trim()) assertOneRow(row);
  const groups = row.split(/\s+/);
  // A list with a comma after each number may have blanks anywhere.
  if (/[^\s,]\s+[^\s,]/.test(row) && groups.every((group) => /^[^,]+,[^,]/.test(group))) {
    throw badUsage(`expected one row: commas between all numbers or between none, got ${groups.slice(0, 2).join(" ")}`);
  }
  const words = row.split(/\s*,\s*|\s+/);
  if (words.includes("")) throw badUsage("expected a number on both sides of each comma");
  return words.map(parseFloat32);
}

/** Throws if a text without brackets has several lines of equally many numbers, none of which is continued by a comma. */
function assertOneRow(text: string): void {
  const all = text.split(/[\r\n]+/).map((line) => line.trim());
  const lines = all.filter((line) => line !== "");
  if (lines.length < 2 || lines.some((line) => line.startsWith(",") || line.endsWith(","))) return;
  const [count = 0, ...others] = lines.map((line) => line.split(/[\s,]+/).length);
  if (count > 1 && others.every((other) => other === count)) {
    throw badUsage(`expected one row, got ${lines.length} lines of ${count} numbers`);
  }
}
