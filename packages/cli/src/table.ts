/** A title and its cells. */
export type Column = readonly [title: string, ...cells: string[]];

const GAP = 2;

/**
 * A column of names, and right-aligned columns of numbers. Columns that do not fit the width follow below, after the names again.
 * `mark(line, row)` may colour a line.
 */
export function table(
  columns: readonly Column[],
  width: number,
  mark: (line: string, row: number) => string,
): string[] {
  const [first, ...others] = columns.map((column, i) => aligned(column, i === 0 ? "padEnd" : "padStart"));
  if (first === undefined) return [];
  const lines: string[] = [];
  for (let rest = others; ; ) {
    const group = [first];
    let used = widthOf(first);
    for (let next = rest[0]; next !== undefined; next = rest[0]) {
      used += GAP + widthOf(next);
      if (used > width && group.length > 1) break;
      group.push(next);
      rest = rest.slice(1);
    }
    if (lines.length > 0) lines.push("");
    lines.push(
      ...first.map((_, row) =>
        mark(
          group
            .map((column) => column[row])
            .join(" ".repeat(GAP))
            .trimEnd(),
          row - 1,
        ),
      ),
    );
    if (rest.length === 0) return lines;
  }
}

function aligned(column: Column, pad: "padStart" | "padEnd"): string[] {
  const width = Math.max(...column.map((cell) => cell.length));
  return column.map((cell) => cell[pad](width));
}

function widthOf(column: readonly string[]): number {
  return column[0]?.length ?? 0;
}
