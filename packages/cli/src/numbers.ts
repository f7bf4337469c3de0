import { badUsage } from "./failure.ts";
import { visibleLines } from "./visible.ts";

const LARGEST = 2 ** 128 - 2 ** 104;
/** The smallest number that rounds to infinity in f32. */
export const MOST_FLOAT32: number = 2 ** 128 - 2 ** 103;

/** The number that a word writes in decimal; NaN for other words, also for forms that only JavaScript has. */
export function decimal(word: string): number {
  return word.trim() === "" || /^\s*[+-]?0[xob]/i.test(word) ? NaN : Number(word);
}

/** Parses a number in the range of f32. Accepts "inf" and "-inf"; throws for NaN. */
export function parseFloat32(text: string): number {
  const infinite = /^([+-]?)inf(?:inity)?$/i.exec(text);
  const value = infinite ? Number(`${infinite[1]}Infinity`) : decimal(text);
  if (Number.isNaN(value)) throw badUsage(`${text} is not a number`);
  if (Number.isFinite(value) && Math.abs(value) > LARGEST) throw badUsage(`${text} is more than f32 can hold`);
  return Math.fround(value);
}

/** The distance from the exact value in ulps of f32, which are 2^-149 if the value is subnormal. */
export function ulpOf(got: number, exact: number): number {
  if (Object.is(got, exact) || got === exact) return 0;
  if (!Number.isFinite(got) || !Number.isFinite(exact)) return Infinity;
  return Math.abs(got - exact) / 2 ** (Math.max(-126, Math.floor(Math.log2(Math.abs(exact)))) - 23);
}

/** The number of correct decimal digits. */
export function digitsOf(got: number, exact: number): number {
  if (Object.is(got, exact) || got === exact) return Infinity;
  if (!Number.isFinite(got) || !Number.isFinite(exact) || exact === 0) return 0;
  return Math.max(0, -Math.log10(Math.abs(got / exact - 1)));
}

/** A number with `figures` significant figures, without trailing zeros. */
export function show(value: number, figures = 6): string {
  const rounded = Number(value.toPrecision(figures));
  return Math.abs(rounded) < 1e-4 && rounded !== 0 ? rounded.toExponential() : String(rounded);
}

/** A result as JSON. JSON has finite numbers only, and characters that a terminal acts on are escaped. */
export function toJson(value: object): string {
  const plain = (_: string, entry: unknown): unknown => {
    if (typeof entry === "number" && !Number.isFinite(entry)) return String(entry);
    return ArrayBuffer.isView(entry) ? Array.from(entry as Float32Array) : entry;
  };
  return visibleLines(`${JSON.stringify(value, plain, 2)}\n`);
}
