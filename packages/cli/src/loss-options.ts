import { type Command, InvalidArgumentError, Option } from "commander";
import type { Variant } from "xent";
import { decimal } from "./numbers.ts";

/** The options of the loss, which several commands share. */
export interface LossFlags {
  readonly labelSmoothing?: number;
  readonly zLoss?: number;
  readonly softcap?: number;
  readonly temperature?: number;
  readonly ignoreIndex?: readonly number[];
  readonly variant: Variant | "auto";
  readonly json?: true;
}

export function addLossOptions(command: Command): Command {
  command
    .option(
      "--smoothing, --label-smoothing <e>",
      "spread e of the target over all classes",
      number("a number in [0, 1)", (e) => e >= 0 && e < 1),
    )
    .option(
      "--z-loss <z>",
      "add z (log-sum-exp)^2",
      number("a number >= 0", (z) => z >= 0 && z < Infinity),
    )
    .option("--softcap <c>", "x <- c tanh(x / c) first", positive);
  return addModelOptions(command, "x <- x / t, after the softcap");
}

const positive = number("a number > 0", (x) => x > 0 && x < Infinity);

/** Options of a model's softmax, without those of a loss. */
export function addModelOptions(command: Command, temperature = "x <- x / t"): Command {
  return command
    .option("--temperature <t>", temperature, positive)
    .option(
      "--ignore-index <i>",
      "rows with this label do not count; may be given several times",
      collected(integer(Number.MIN_SAFE_INTEGER)),
    )
    .addOption(
      new Option("--variant <name>", "build of the kernel").choices(["auto", "simd128", "relaxed"]).default("auto"),
    )
    .option("--json", "print everything as JSON");
}

/** A parser that collects all values of an option. */
export function collected<T>(parse: (text: string) => T): (text: string, before?: readonly T[]) => readonly T[] {
  return (text, before = []) => [...before, parse(text)];
}

/** A parser of integers >= `minimum`. */
export function integer(minimum: number): (text: string) => number {
  const most = minimum < 0 ? "an integer" : `an integer >= ${minimum}`;
  return number(most, (value) => Number.isSafeInteger(value) && value >= minimum);
}

function number(expected: string, accepts: (value: number) => boolean): (text: string) => number {
  return (text) => {
    const value = decimal(text);
    if (!accepts(value)) throw new InvalidArgumentError(`Expected ${expected}.`);
    return value;
  };
}
