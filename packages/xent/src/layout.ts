import { integer, show, wrongType } from "./errors.ts";

/** Where the logits of a batch lie, in elements. Row i starts at `floor(i / inner) * rowStride + i % inner`. */
export interface Layout {
  readonly rows: number;
  readonly classes: number;
  readonly rowStride: number;
  /** The distance from one class to the next. */
  readonly classStride: number;
  /** The number of rows whose logits are interleaved; 1 if the class axis is the last. */
  readonly inner: number;
  /** The number of elements of the whole array. */
  readonly elements: number;
}

/** The largest number of classes that 32-bit labels can name. */
const MAX_CLASSES = 2 ** 31 - 1;
const MAX_ROWS = 2 ** 32 - 1;

/** The layout of rows of `classes` logits, `stride` elements apart. */
export function layoutOfRows(rows: unknown, classes: unknown, stride?: unknown): Layout {
  const c = integer("classes", classes, 1, MAX_CLASSES);
  const r = integer("rows", rows, 0, MAX_ROWS);
  const rowStride = stride === undefined ? c : integer("stride", stride, c, MAX_ROWS);
  return { rows: r, classes: c, rowStride, classStride: 1, inner: 1, elements: r * rowStride };
}

/** The layout of a row-major array of this shape with the classes on `axis` (default: the last; negative: from the end). */
export function layoutOfShape(shape: unknown, axis: unknown = -1): Layout {
  if (!Array.isArray(shape)) throw wrongType("shape", "an array of sizes", shape);
  if (shape.length === 0) throw new RangeError('"shape" expected at least one axis: logits must not be a scalar');
  const sizes = shape.map((size, i) => integer(`shape[${i}]`, size, 0, MAX_ROWS));
  const at = integer("axis", axis, -sizes.length, sizes.length - 1);
  const index = at < 0 ? at + sizes.length : at;
  const classes = sizes[index] ?? 0;
  if (classes < 1 || classes > MAX_CLASSES) {
    throw new RangeError(`"shape" ${show(shape)} expected at least one class on axis ${at}, got ${classes}`);
  }
  let [outer, inner] = [1, 1];
  for (const [i, size] of sizes.entries()) {
    if (i < index) outer *= size;
    if (i > index) inner *= size;
  }
  const rows = integer("rows", outer * inner, 0, MAX_ROWS);
  const layout = { rows, classes, inner: Math.max(1, inner), elements: rows * classes };
  return { ...layout, rowStride: classes * layout.inner, classStride: layout.inner };
}

/** The kernel reads a row as a slice, which may not be longer than 2 GiB. */
export function assertRowFits(layout: Layout, bytes: number): void {
  const span = ((layout.classes - 1) * layout.classStride + 1) * bytes;
  if (span >= 2 ** 31) {
    throw new RangeError(
      `"classes" expected rows that span less than 2 GiB, got ${layout.classes}, which span ${span} bytes`,
    );
  }
}
