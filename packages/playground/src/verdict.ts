import { type Computed, errorOf, type Losses } from "./f32.ts";
import type { Texts } from "./texts/index.ts";

export type Verdict = keyof Texts["compare"]["verdict"];

/** The error that is usually quoted. */
export const USUAL = 2e-6;
/** Two to five units in the last place. */
const LAST_PLACES = 3e-7;

/** The smallest `f32` above 0. */
export const SMALLEST: number = 2 ** -149;

/** What happened to a loss. `largest` is the largest logit of the row. */
export function verdictOn(losses: Losses, of: Computed, largest: number): Verdict {
  const loss = losses[of];
  const { difference, relative } = errorOf(losses, of);
  const overflows = Math.exp(largest) > 3.4e38;
  if (Number.isNaN(loss)) return overflows ? "overflow" : "vanished";
  if (loss === Infinity) return overflows ? "overflowOfOthers" : "infinite";
  if (loss === 0 && losses.exact > 0 && losses.exact <= SMALLEST / 2) return "tiny";
  if (relative < LAST_PLACES || difference <= 3 * SMALLEST) return "exact";
  if (loss === 0) return of === "naive" ? "zero" : "stableZero";
  if (difference > USUAL) return "far";
  return relative > 0.01 ? "digits" : "fine";
}

export function isBad(verdict: Verdict): boolean {
  return !["exact", "fine", "tiny"].includes(verdict);
}
