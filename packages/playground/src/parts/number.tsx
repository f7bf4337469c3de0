import type { JSX } from "preact";

interface Shown {
  digits: string;
  /** The power of ten, if the number is shown with one. */
  power?: string;
}

/** Six decimals, fewer for large numbers, and a power of ten for numbers that six decimals cannot show. */
function shown(value: number, short: boolean): Shown {
  if (Number.isNaN(value)) return { digits: "NaN" };
  const sign = value < 0 ? "−" : "";
  const size = Math.abs(value);
  if (size === Infinity) return { digits: `${sign}∞` };
  if (size !== 0 && (size < 1e-3 || size >= 1e7)) {
    const [digits = "", power = ""] = size.toExponential(2).split("e");
    return { digits: sign + digits, power: power.replace("+", "").replace("-", "−") };
  }
  if (Number.isInteger(size)) return { digits: sign + size };
  const digits = size.toFixed(6 - Math.floor(Math.log10(Math.max(1, size))));
  return { digits: sign + (short ? String(Number(digits)) : digits) };
}

/** A number for use in text. */
export function show(value: number): string {
  const { digits, power } = shown(value, false);
  return power === undefined ? digits : `${digits}e${power}`;
}

/** A number with a name, and all its digits as a tooltip. `short`: without trailing zeros. */
export function Value(props: { name: string; value: number; short?: boolean }): JSX.Element {
  const { name, value, short = false } = props;
  const { digits, power } = shown(value, short);
  return (
    <data class="value" data-name={name} value={String(value)} title={String(value)}>
      {digits}
      {power !== undefined && (
        <>
          ·10<sup>{power}</sup>
        </>
      )}
    </data>
  );
}
