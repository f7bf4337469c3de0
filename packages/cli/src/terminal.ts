import colors from "picocolors";

/** Whether a stream takes escapes: a terminal that knows any. */
export function takesEscapes({ isTTY }: { readonly isTTY?: boolean }): boolean {
  return isTTY === true && process.env["TERM"] !== "dumb";
}

/** Columns that a line may take: 80, or fewer where the terminal is narrower. */
export const width: number = Math.min(80, Number(process.env["COLUMNS"]) || process.stdout.columns || 80);

const { bold, dim, green } = colors.createColors(takesEscapes(process.stdout) && colors.isColorSupported);
/** On standard error. */
const { dim: dimError } = colors.createColors(takesEscapes(process.stderr) && colors.isColorSupported);

export { bold, dim, dimError, green };

/** A line, broken between words where it is too long. */
export function fold(line: string): string[] {
  const end = line.lastIndexOf(" ", width);
  const indent = "      ";
  if (line.length <= width || end <= indent.length) return [line];
  return [line.slice(0, end), ...fold(indent + line.slice(end + 1))];
}
