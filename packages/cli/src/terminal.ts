import colors from "picocolors";

/** Whether a stream is a terminal that understands escape sequences. */
export function takesEscapes({ isTTY }: { readonly isTTY?: boolean }): boolean {
  return isTTY === true && process.env["TERM"] !== "dumb";
}

/** The width of a line: 80 columns, or fewer on a narrower terminal. */
export const width: number = Math.min(80, Number(process.env["COLUMNS"]) || process.stdout.columns || 80);

const { bold, dim, green } = colors.createColors(takesEscapes(process.stdout) && colors.isColorSupported);
/** For standard error. */
const { dim: dimError } = colors.createColors(takesEscapes(process.stderr) && colors.isColorSupported);

export { bold, dim, dimError, green };

/** Breaks a line between words if it is too long. */
export function fold(line: string): string[] {
  const end = line.lastIndexOf(" ", width);
  const indent = "      ";
  if (line.length <= width || end <= indent.length) return [line];
  return [line.slice(0, end), ...fold(indent + line.slice(end + 1))];
}
