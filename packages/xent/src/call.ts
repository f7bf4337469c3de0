// What one call is given, checked, and as a batch takes it.

import { choice, wrongType } from "./errors.ts";
import { type Logits, readLogits, type Source } from "./inputs.ts";
import type { FlatLabels, LabelRows } from "./labels.ts";
import { type Layout, layoutOfShape } from "./layout.ts";
import type { LogitsType } from "./logits.ts";
import { showShape } from "./nested.ts";
import { type LossOptions, readOptions, type Settings, type ShapeOptions } from "./options.ts";

/** One call, checked. */
export interface Call {
  readonly logits: Source;
  readonly type: LogitsType;
  readonly layout: Layout;
  readonly lossOptions: LossOptions;
  readonly settings: Settings;
}

const TYPES: Record<Source["kind"], LogitsType | undefined> = {
  Array: "float32",
  Float32Array: "float32",
  Float64Array: "float64",
  Float16Array: "float16",
  Uint16Array: undefined,
};

/** Throws TypeError for the wrong kind of thing, RangeError where sizes do not fit. */
export function readCall(
  given: Logits,
  labels: LabelRows | undefined,
  options: (LossOptions & ShapeOptions) | undefined,
  shapeOfTargets?: readonly number[],
): Call {
  if (options !== undefined && (typeof options !== "object" || options === null)) {
    throw wrongType("options", "an object", options);
  }
  const all: LossOptions & ShapeOptions = options ?? {};
  const { shape: stated, axis = -1, logits: bits, ...lossOptions } = all;
  const logits = readLogits("logits", given);
  const type = TYPES[logits.kind] ?? (bits && choice("logits", bits, ["float16", "bfloat16"]));
  if (type === undefined) {
    throw new TypeError('"logits" is a Uint16Array: say what its numbers are, with logits: "float16" or "bfloat16"');
  }
  // Read once.
  const own = Array.isArray(stated) ? (Array.from(stated) as readonly number[]) : stated;
  const shape = own ?? logits.shape ?? shapeOfTargets ?? shapeOfRows(logits.elements, labels?.labels);
  if (shape === logits.shape && logits.elements === 0 && logits.shape[logits.shape.length - 1] === 0) {
    throw new RangeError('"logits" expected at least one class, got 0 logits');
  }
  const layout = layoutOfShape(shape, axis);
  if (layout.elements !== logits.elements) {
    throw new RangeError(`"shape" of ${layout.elements} elements does not fit ${logits.elements} logits`);
  }
  if (shapeOfTargets && shapeOfTargets.join() !== shape.join()) {
    throw new RangeError(`"targets" of sizes ${showShape(shapeOfTargets)} does not fit logits of ${showShape(shape)}`);
  }
  if (labels) assertOfRows(labels, layout, own || logits.shape ? shape : undefined, axis);
  const settings = readOptions(lossOptions, layout.rows, layout.classes);
  return { logits, type, layout, lossOptions, settings };
}

/** One label a row; nested arrays of them as the rows of the logits are, or with a last axis of 1. */
function assertOfRows(
  { labels, shape }: LabelRows,
  { rows, classes }: Layout,
  ofLogits: readonly number[] | undefined,
  axis: number,
): void {
  if (labels.length !== rows) {
    throw new RangeError(`"labels" has ${labels.length} rows, which do not fit ${rows} rows of ${classes} logits`);
  }
  if (shape === undefined || ofLogits === undefined || rows === 0) return;
  const expected = ofLogits.toSpliced(axis, 1);
  const found = shape.length > expected.length && shape[shape.length - 1] === 1 ? shape.slice(0, -1) : shape;
  if (found.join() !== expected.join() && expected.length > 1) {
    throw new RangeError(
      `"labels" of sizes ${showShape(shape)} does not fit logits of ${showShape(ofLogits)} with the classes on axis ${axis}`,
    );
  }
}

function shapeOfRows(elements: number, labels: FlatLabels | undefined): readonly number[] {
  if (labels === undefined) throw wrongType("shape", "the sizes of all axes of the logits", undefined);
  const rows = labels.length;
  if (rows === 0 && elements === 0) return [0, 1];
  if (elements === 0) throw new RangeError('"logits" expected at least one class, got 0 logits');
  if (rows === 0 || elements % rows !== 0) {
    throw new RangeError(`"labels" has ${rows} rows, which do not divide ${elements} logits`);
  }
  return [rows, elements / rows];
}
