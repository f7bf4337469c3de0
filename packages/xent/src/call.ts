// One call: its arguments are checked, written into a memory, and computed there.

import { countRows, type DivergenceOptions, readDivergence } from "./divergence.ts";
import type { Engine, Place } from "./engine.ts";
import { choice, readProperties, wrongType } from "./errors.ts";
import {
  assertWidens,
  type Logits,
  readLogits,
  readTargets,
  type Source,
  type Targets,
  writeSource,
} from "./inputs.ts";
import {
  copyLabels,
  type FlatLabels,
  flatLabels,
  isDirect,
  type LabelRows,
  type LabelRules,
  type Labels,
  readLabels,
} from "./labels.ts";
import { type Layout, layoutOfShape } from "./layout.ts";
import type { LogitsType, LossArrays, TargetsType } from "./logits.ts";
import { showShape } from "./nested.ts";
import { LOSS_OPTIONS, type LossOptions, readOptions, type Settings, type ShapeOptions } from "./options.ts";
import { type BatchParts, bytesOfWork, type PlacedBatch, planBatch } from "./plan.ts";
import type { LossResult } from "./result.ts";
import { compute, indexForKernel, type KernelLabels, noLabels, type Run, resultOf, writeJob } from "./run.ts";
import { BatchMemory } from "./views.ts";

/** The checked arguments of a call. */
export interface Call {
  readonly logits: Source;
  readonly settings: Settings;
  /** For a divergence: 0 for each row that does not count. */
  readonly mask: Uint8Array | undefined;
  /** Either labels or targets are present. */
  readonly labels: CheckedLabels | undefined;
  readonly targets: Source | undefined;
  /** The batch that computes it. */
  readonly parts: BatchParts<LogitsType, "int32", boolean, TargetsType>;
}

interface CheckedLabels {
  readonly labels: FlatLabels;
  readonly rules: LabelRules;
  readonly count: number;
  readonly normalizer: number;
}

type Options = LossOptions & ShapeOptions;
type DivergenceCallOptions = DivergenceOptions & ShapeOptions;

/** The labels or targets of a call. */
type Given =
  | { readonly labels: LabelRows; readonly targets?: undefined; readonly title?: undefined }
  | { readonly labels?: undefined; readonly targets: Source; readonly title: "targets" | "targetLogits" };

/** Throws TypeError for a wrong type, RangeError if sizes do not fit and for labels outside the range of classes. */
export function readLabelsCall(logits: Logits, given: Labels, options: Options | undefined): Call {
  const rows = flatLabels("labels", given);
  const call = readCall(logits, options, { labels: rows });
  const { labels } = rows;
  const { classes, rows: sequence } = call.parts.layout;
  const { ignoreIndex, classWeights, invalidLabels } = call.settings;
  const rules = { classes, ignoreIndex, classWeights, strict: invalidLabels === "throw", shift: 0, sequence };
  const [count, normalizer] = readLabels(labels, rules, 0, sequence);
  return { ...call, labels: { labels, rules, count, normalizer }, targets: undefined };
}

/** Like {@link readLabelsCall}, with soft targets. */
export function readTargetsCall(logits: Logits, given: Targets, options: Options | undefined): Call {
  const targets = readTargets("targets", given);
  const call = readCall(logits, options, { targets, title: "targets" });
  const { elements } = call.parts.layout;
  if (targets.elements !== elements) {
    throw new RangeError(`"targets" expected one for each of ${elements} logits, got ${targets.elements}`);
  }
  if (call.settings.ignoreIndex !== undefined) throw new TypeError('"ignoreIndex" expected labels, not soft targets');
  return { ...call, labels: undefined, targets };
}

/** Like {@link readTargetsCall}, with the logits of another model. */
export function readDivergenceCall(logits: Logits, given: Logits, options: DivergenceCallOptions | undefined): Call {
  const targets = readLogits("targetLogits", given);
  const call = readCall(logits, options, { targets, title: "targetLogits" });
  assertWidens(targets, call.parts.logits);
  const { elements } = call.parts.layout;
  if (targets.elements !== elements) {
    throw new RangeError(`"targetLogits" expected one for each of ${elements} logits, got ${targets.elements}`);
  }
  return { ...call, labels: undefined, targets };
}

/** Whether any array of a call is a view of this memory, which growth would detach. */
export function reads({ logits, targets, labels, settings }: Call, { buffer }: WebAssembly.Memory): boolean {
  const { classWeights, sampleWeights } = settings;
  const views = [...logits.parts, ...(targets?.parts ?? []), labels?.labels, classWeights, sampleWeights];
  return views.some((view) => ArrayBuffer.isView(view) && view.buffer === buffer);
}

/** One-call functions free a larger memory after the call: it cannot shrink. */
const KEPT_BYTES = 2 ** 26;

/** Whether a memory is too large to keep. */
export function isLarge({ heap }: Place): boolean {
  return heap.memory.buffer.byteLength > KEPT_BYTES;
}

/** Computes a call with up to `slots` threads, in a batch of its own. `placeFor` finds a memory for so many bytes. */
export function computeCall(
  call: Call,
  slots: number,
  placeFor: (bytes: number) => Place,
): LossResult<LossArrays[LogitsType]> {
  const plan = planBatch(call.parts);
  const workBytes = bytesOfWork(call.parts.layout, slots, false);
  const bytes = workBytes + plan.bytes;
  const { heap, engine } = placeFor(bytes);
  const address = heap.allocate(bytes);
  try {
    return computeBatch(call, engine, plan.at(address, workBytes));
  } finally {
    heap.free(address);
  }
}

function computeBatch(
  { logits, settings, mask, labels, targets }: Call,
  engine: Engine,
  plan: PlacedBatch<LogitsType, "int32">,
): LossResult<LossArrays[LogitsType]> {
  const batch = new BatchMemory(engine.memory, plan);
  const { views } = batch;
  writeSource(logits, plan.logits, views.logits, 0, WHOLE);
  const typeOfTargets = plan.targets === "logits" ? plan.logits : "float32";
  if (targets) writeSource(targets, typeOfTargets, views.targets as Float32Array, 0, WHOLE);
  const { rows } = plan.layout;
  const run: Run = { settings, begin: 0, end: rows, copy: true, shard: undefined, mask };
  const written = labels
    ? writeLabels(labels, views.labels as Int32Array, plan.regions.labels)
    : noLabels(mask ? countRows(mask, 0, rows) : rows);
  const job = writeJob(engine, batch, run, true, written);
  compute(engine, job);
  return resultOf(engine, batch, job);
}

/** A source as a single array. */
const WHOLE = { run: 0, step: 0 };

function writeLabels(
  { labels, rules, count, normalizer }: CheckedLabels,
  target: Int32Array,
  address: number,
): KernelLabels {
  const direct = isDirect(labels, rules);
  if (direct) target.set(labels as Int32Array);
  else copyLabels(labels, rules, 0, labels.length, target);
  const ignoreIndex = indexForKernel(rules.ignoreIndex, direct, count < labels.length);
  return { count, normalizer, address, ignoreIndex, copy: undefined };
}

const OPTIONS: readonly string[] = [...LOSS_OPTIONS, "shape", "axis", "logits"];
const DIVERGENCE_OPTIONS: readonly string[] = [...OPTIONS, "mask"];

const TYPES: Record<Source["kind"], LogitsType | undefined> = {
  Array: "float32",
  Float32Array: "float32",
  Float64Array: "float64",
  Float16Array: "float16",
  Uint16Array: undefined,
};

/** The type of logits, of which `bits` says what the numbers of a Uint16Array are. */
function typeOf({ kind }: Source, bits: unknown): LogitsType {
  const stated = bits === undefined ? undefined : choice("logits", bits, ["float16", "bfloat16"]);
  const type = TYPES[kind];
  if (type === undefined && stated === undefined) {
    throw new TypeError('"logits" is a Uint16Array: say what its numbers are, with logits: "float16" or "bfloat16"');
  }
  if (type !== undefined && stated !== undefined && stated !== type) {
    throw new TypeError(`"logits" expected a Uint16Array with the bits of ${stated} numbers, got an array of ${type}`);
  }
  return (type ?? stated) as LogitsType;
}

function readCall(
  given: Logits,
  options: Options | undefined,
  { labels, targets, title }: Given,
): Pick<Call, "logits" | "settings" | "mask" | "parts"> {
  const shapeOfTargets = targets?.shape;
  const names = title === "targetLogits" ? DIVERGENCE_OPTIONS : OPTIONS;
  // Before the arrays: reading an option may run code of the caller, which may detach or change them.
  const {
    shape: stated,
    axis = -1,
    logits: bits,
    ...lossOptions
  }: Options = options === undefined ? {} : readProperties("options", options, names);
  const logits = readLogits("logits", given);
  const type = typeOf(logits, bits);
  // Read the caller's array only once.
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
    throw new RangeError(`"${title}" of sizes ${showShape(shapeOfTargets)} does not fit logits of ${showShape(shape)}`);
  }
  if (labels) assertOfRows(labels, layout, own || logits.shape ? shape : undefined, axis);
  const { rows, classes } = layout;
  const { settings, mask } =
    title === "targetLogits"
      ? readDivergence(options && lossOptions, rows, classes)
      : { settings: readOptions(options && lossOptions, rows, classes), mask: undefined };
  const { gradient } = settings;
  const kind: TargetsType = title === "targetLogits" ? "logits" : labels === undefined;
  const parts = { layout, logits: type, labels: "int32", gradient, targets: kind, shift: 0, sequence: rows } as const;
  return { logits, settings, mask, parts };
}

/** One label for each row. Nested arrays have the shape of the rows of the logits, with or without a last axis of size 1. */
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
  const rows = labels?.length ?? 0;
  if (rows === 0 && elements === 0) return [0, 1];
  if (labels === undefined) throw wrongType("shape", "the sizes of all axes of the logits", undefined);
  if (elements === 0) throw new RangeError('"logits" expected at least one class, got 0 logits');
  if (rows === 0 || elements % rows !== 0) {
    throw new RangeError(`"labels" has ${rows} rows, which do not divide ${elements} logits`);
  }
  return [rows, elements / rows];
}
