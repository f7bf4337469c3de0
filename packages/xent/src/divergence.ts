import { wrongType } from "./errors.ts";
import { type LossOptions, readOptions, type Settings } from "./options.ts";
import { assertAttached, typedArrayKind } from "./typed-array.ts";

/** Whether each row counts: 0 or false if not. */
export type Mask = Uint8Array | readonly boolean[];

/** Options of a divergence: the options of a loss that apply to it, and which rows count. */
export interface DivergenceOptions<G extends boolean = boolean, P extends boolean = boolean>
  extends Pick<LossOptions<G, P>, "gradient" | "reduction" | "sampleWeights" | "predictions"> {
  /** t > 0: the logits of both models are divided by it. Default 1. */
  temperature?: number | undefined;
  /** [rows]. A row with 0 or false is ignored: its loss and gradient are 0, and it does not count. Default: all rows count. */
  mask?: Mask | undefined;
}

/** Options of a loss that a divergence does not take. */
const OTHERS = ["ignoreIndex", "classWeights", "labelSmoothing", "zLoss", "softcap", "invalidLabels"] as const;

/** Checked options of a divergence. Sample weights are 0 in rows that do not count. */
export interface Divergence {
  readonly settings: Settings;
  /** 0 for each row that does not count. */
  readonly mask: Uint8Array | undefined;
}

/** How many of these rows count. */
export function countRows(mask: Uint8Array, begin: number, end: number): number {
  return mask.subarray(begin, end).reduce((sum, counts) => sum + (counts === 0 ? 0 : 1), 0);
}

/** Like {@link readOptions}, for a divergence. Throws TypeError for an option that does not apply to it. */
export function readDivergence(
  options: (LossOptions & DivergenceOptions) | undefined,
  rows: number,
  classes: number,
  others: readonly string[] = [],
): Divergence {
  for (const name of OTHERS) {
    if (options?.[name] === undefined) continue;
    const instead = name === "ignoreIndex" ? ': give a "mask"' : "";
    throw new TypeError(`"${name}" is no option of a divergence${instead}`);
  }
  const settings = readOptions(options, rows, classes, ["mask", ...others]);
  const mask = readMask(options?.mask, rows);
  if (mask === undefined) return { settings, mask };
  const { sampleWeights } = settings;
  const weights = Float32Array.from(mask, (counts, row) => (counts === 0 ? 0 : (sampleWeights?.[row] ?? 1)));
  return { settings: { ...settings, sampleWeights: weights }, mask };
}

function readMask(mask: unknown, rows: number): Uint8Array | undefined {
  if (mask === undefined) return undefined;
  const expected = "a Uint8Array, or an array of true and false";
  const bytes = typedArrayKind(mask) === "Uint8Array";
  if (!bytes && !Array.isArray(mask)) throw wrongType("mask", expected, mask);
  assertAttached("mask", mask);
  // Read the caller's array only once.
  const own: readonly unknown[] = Array.from(mask as ArrayLike<unknown>);
  if (own.length !== rows) throw new RangeError(`"mask" expected one for each of ${rows} rows, got ${own.length}`);
  return Uint8Array.from(own, (counts, row) => {
    if (!bytes && typeof counts !== "boolean")
      throw wrongType("mask", `${expected}, but row ${row} is something else`, counts);
    return counts ? 1 : 0;
  });
}
