import type { LogitsArrays, LogitsType } from "xent";

/** The number of rows that count and have no finite loss. */
export interface NotFinite {
  rows: number;
  /** The first of these rows, and the reason: "NaN at class 5". */
  first?: { readonly row: number; readonly reason: string; readonly file?: string };
}

/** Why a row of these logits has no finite loss. */
export function reasonOf(logits: LogitsArrays[LogitsType], dtype: LogitsType, label: number): string {
  const special = (j: number): string | undefined => nameOf(logits[j] as number, dtype);
  for (let j = 0; j < logits.length; j++) {
    const name = special(j);
    if (name === "NaN" || name === "Infinity") return `${name} at class ${j}`;
  }
  return special(label) === undefined ? "its loss is more than float32 can hold" : `-Infinity at its label ${label}`;
}

const EXPONENTS = { float16: 0x7c00, bfloat16: 0x7f80 };

/** The name of a number that is not finite, else undefined. `value` is the bits of a 16-bit number. */
function nameOf(value: number, dtype: LogitsType): string | undefined {
  if (dtype === "float32" || dtype === "float64") return Number.isFinite(value) ? undefined : String(value);
  const mask = EXPONENTS[dtype];
  if ((value & mask) !== mask) return undefined;
  if ((value & 0x7fff) !== mask) return "NaN";
  return value & 0x8000 ? "-Infinity" : "Infinity";
}
