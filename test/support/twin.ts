// A batch with a model in plain JavaScript of the contents of its arrays after any calls.
import { expect } from "vitest";
import {
  type Batch,
  type BatchSpec,
  createXentSync,
  type LabelsType,
  type LogitsType,
  type LossResult,
  type RunOptions,
  type Variant,
  type Xent,
} from "xent";
import { copyBytes, firstDifference } from "./bytes.ts";
import { assertClose } from "./close.ts";
import { bitsOf } from "./example.ts";
import { bfloat16Bits, float16Bits } from "./half.ts";
import { exactRow } from "./oracle.ts";
import { unroundedLosses } from "./place.ts";
import { mulberry32 } from "./random.mjs";
import { thrown } from "./thrown.ts";

export type AnyBatch = Batch<LogitsType, LabelsType>;
export type AnySpec = BatchSpec<LogitsType, LabelsType>;
type AnyResult = LossResult<Float32Array | Float64Array>;
type Part = "logits" | "labels" | "targets" | "gradient" | "loss";
type Numbers = Float32Array | Float64Array | Int32Array;

/** The outcome of a run: a printed error, or the bits of a result. */
export type Outcome = string | { bits: Record<string, unknown>; result: AnyResult; after: Map<Part, Numbers> };

/** The error of a run that needs more memory than `maxBytes` has left. */
export const NO_ROOM: RegExp = /^RangeError: this run needs \d+ bytes beside the batch, but "maxBytes" leaves no room$/;

/** Above this size, the oracle would take too long. */
const EXACT_ELEMENTS = 2500;

export class Twin {
  readonly spec: AnySpec;
  readonly batch: AnyBatch;
  readonly shared: boolean;
  readonly variant: Variant;
  /** The same batch in the instance of a worker. */
  attached: AnyBatch | undefined;
  readonly #content: Map<Part, Numbers>;
  /** The logits as numbers. */
  #x: number[] = [];
  #old: ArrayLike<unknown>;

  constructor(spec: AnySpec, xent: Xent) {
    this.spec = spec;
    this.variant = xent.variant;
    this.batch = xent.createBatch(spec);
    this.shared = !(xent.memory.buffer instanceof ArrayBuffer);
    this.#content = new Map(
      partsOf(this.batch).map(([name, view]) => {
        const Zeros = view.constructor as new (length: number) => Numbers;
        return [name, new Zeros(view.length)];
      }),
    );
    this.#old = this.batch.logits;
    this.#x = new Array<number>(this.#old.length).fill(0);
  }

  /** Writes new logits and labels, some of which may be special. */
  fill(seed: number, special: boolean): void {
    const random = mulberry32(seed);
    const { logits: type = "float32" } = this.spec;
    const { rows, classes } = this.batch;
    // Multiples of 1/8 in [-8, 8): every type has them.
    this.#x = this.#x.map(() => (random() % 128) / 8 - 8);
    if (special && rows > 0) for (const x of [-Infinity, Infinity, Number.NaN]) this.#x[random() % this.#x.length] = x;
    const bits = type === "bfloat16" ? bfloat16Bits : type === "float16" ? float16Bits : (x: number) => x;
    this.#write("logits", this.#x.map(bits));
    const invalid = special && random() % 4 === 0 ? random() % (rows + 1) : -1;
    this.#write(
      "labels",
      Array.from({ length: rows }, (_, row) => (row === invalid ? classes : random() % classes)),
    );
    this.#write(
      "targets",
      Array.from({ length: this.#x.length }, () => (random() % 8) / 8),
    );
  }

  #write(name: Part, values: readonly number[]): void {
    const copy = this.#content.get(name);
    if (copy === undefined) return;
    const big = copy instanceof BigInt64Array || copy instanceof BigUint64Array;
    copy.set((big ? values.map(BigInt) : values) as number[]);
    (this.batch[name] as Numbers).set(copy);
    this.#content.set(name, copy);
    if (name === "logits" && this.spec.gradient === "in-place") this.#content.set("gradient", copy);
  }

  /** The outcome of a fresh batch with the same contents. */
  expected(options: RunOptions | undefined): Outcome {
    const fresh = referenceOf(this.variant).createBatch(this.spec);
    try {
      for (const name of ["logits", "labels", "targets"] as const) {
        const copy = this.#content.get(name);
        if (copy) (fresh[name] as Numbers).set(copy);
      }
      const result = fresh.run(options) as AnyResult;
      const after = new Map(partsOf(fresh).map(([name, view]) => [name, view.slice()]));
      const [begin, end] = options?.rows ?? [0, fresh.rows];
      this.#assertExact(result, unroundedLosses(fresh).slice(begin, end), after.get("gradient"), options ?? {});
      return { bits: withoutGradient(result), result, after };
    } catch (error) {
      if (!/^(Type|Range)Error: ["Rt]/.test(String(error))) throw error;
      const row = /^RangeError: Received a label value of .* at row (\d+),/.exec(String(error))?.[1];
      if (row) expect(Number(row)).toBe(this.#firstBad(options ?? {}));
      return String(error);
    } finally {
      fresh.dispose();
    }
  }

  /** Compares the outcome, and updates the model. */
  compare(outcome: Outcome, call: () => unknown, options: RunOptions | undefined): void {
    if (typeof outcome === "string") {
      expect(() => call()).toThrow(outcome.slice(outcome.indexOf(" ") + 1));
      return;
    }
    try {
      this.settle(outcome, call() as AnyResult, options);
    } catch (error) {
      // The memory is full, and nothing has been written.
      if (!NO_ROOM.test(String(error))) throw error;
    }
  }

  settle(outcome: Outcome, result: AnyResult, options: RunOptions | undefined): void {
    if (typeof outcome === "string") throw new Error(`returned, and should have thrown ${outcome}`);
    const [begin, end] = options?.rows ?? [0, this.batch.rows];
    // A batch that was created after the run may have detached the result: the losses are still in the batch.
    const isDetached = result.loss.buffer.byteLength === 0;
    const loss = isDetached ? this.batch.loss.subarray(begin, end) : result.loss;
    const { loss: bits } = outcome.bits;
    const seen = isDetached ? { loss: bits } : outcome.bits;
    expect(withoutGradient(isDetached ? ({ loss } as AnyResult) : result)).toEqual(seen);
    this.#content.get("loss")?.set(loss, begin);
    if (!options?.gradient) return;
    const own = this.#content.get("gradient") as Numbers;
    const fresh = outcome.after.get("gradient") as Numbers;
    for (let row = begin; row < end; row++) for (const at of this.places(row)) own[at] = fresh[at] as number;
    if (this.spec.gradient === "in-place") this.#x = Array.from(own);
  }

  /** Checks every byte of the batch, and the views that were taken at first. */
  check(xent: Xent): void {
    for (const batch of [this.batch, this.attached]) {
      for (const [name, view] of batch ? partsOf(batch) : []) {
        const at = firstDifference(copyBytes(this.#content.get(name) as Numbers), copyBytes(view));
        if (at !== undefined) throw new Error(`byte ${at} of ${name} of ${JSON.stringify(this.spec)}`);
      }
    }
    const stale = !this.shared && (this.#old as Float32Array).buffer !== xent.memory.buffer;
    assertIs(this.#old.length, stale ? 0 : this.batch.logits.length);
    if (stale) this.#old = this.batch.logits;
  }

  /** Every use throws now, except for a second dispose. */
  checkDisposed(): void {
    this.batch.dispose();
    const { batch } = this;
    const uses = [
      () => batch.run(),
      () => batch.share(),
      ...(["logits", "labels", "gradient", "loss"] as const).map((name) => () => batch[name]),
    ];
    for (const use of uses) assertIs(thrown(use), "TypeError: this batch was disposed");
  }

  /** The indices of the logits of a row. */
  places(row: number): number[] {
    const { rows, classes } = this.batch;
    const { shape, stride = classes } = this.spec;
    // The class axis is the second of three.
    const inner = shape?.[2] ?? 1;
    const first = shape ? Math.floor(row / inner) * classes * inner + (row % inner) : row * stride;
    return row < rows ? Array.from({ length: classes }, (_, j) => first + j * inner) : [];
  }

  /** How the label of a row counts. */
  #kind(row: number, { ignoreIndex }: RunOptions): "ignored" | "invalid" | "counted" {
    const { rows, classes } = this.batch;
    const { shift = 0, sequence = rows } = this.spec;
    const labels = this.#content.get("labels");
    if (labels === undefined) return "counted";
    const label = Number(labels[row + shift]);
    if ((row % sequence) + shift >= sequence || label === ignoreIndex) return "ignored";
    return label >= 0 && label < classes ? "counted" : "invalid";
  }

  /** The first row with an invalid label. */
  #firstBad(options: RunOptions): number | undefined {
    const [begin, end] = options.rows ?? [0, this.batch.rows];
    const rows = Array.from({ length: end - begin }, (_, i) => begin + i);
    return options.invalidLabels === "nan" ? undefined : rows.find((row) => this.#kind(row, options) === "invalid");
  }

  #assertExact(result: AnyResult, losses: Float64Array, gradient: Numbers | undefined, options: RunOptions): void {
    const { rows, classes } = this.batch;
    const { shift = 0 } = this.spec;
    const [begin, end] = options.rows ?? [0, rows];
    expect(this.#firstBad(options)).toBeUndefined();
    if (rows * classes > EXACT_ELEMENTS) return;
    const scale = options.reduction === "mean" ? (result.normalizer === 0 ? 0 : 1 / result.normalizer) : 1;
    const labels = this.#content.get("labels");
    const targets = this.#content.get("targets");
    let [sum, normalizer, correct, everyFinite] = [0, 0, 0, true];
    for (let row = begin; row < end; row++) {
      const places = this.places(row);
      const x = places.map((at) => this.#x[at] as number);
      const kind = this.#kind(row, options);
      const label = Number(labels?.[row + shift]);
      const loss = result.loss[row - begin] as number;
      // A row of weight 0 may contain anything, even an invalid label.
      const weightless = options.sampleWeights?.[row] === 0;
      if (weightless) assertIs(loss, 0);
      // It is rounded once, to the nearest.
      const unrounded = losses[row - begin] as number;
      assertIs(loss, result.loss instanceof Float64Array ? unrounded : Math.fround(unrounded));
      sum += unrounded;
      if (kind !== "ignored") normalizer += (labels && options.classWeights?.[label]) ?? 1;
      if (!x.every(Number.isFinite)) {
        everyFinite = false;
        continue;
      }
      const best = x.indexOf(Math.max(...x));
      const isNaNRow = kind === "invalid" && !weightless;
      // All results of a NaN row are invalid.
      if (options.predictions) assertIs(result.predictions?.[row - begin], isNaNRow ? -1 : best);
      assertIs(Number.isNaN(result.logSumExp[row - begin]), isNaNRow);
      if (kind === "counted" && best === label) correct++;
      if (kind !== "counted") {
        assertIs(loss, isNaNRow ? Number.NaN : 0);
        continue;
      }
      const target = targets ? places.map((at) => targets[at] as number) : label;
      const exact = exactRow({ x, target, sampleWeight: options.sampleWeights?.[row] ?? 1 }, options);
      const found = options.gradient ? places.map((at) => gradient?.[at] as number) : [];
      assertClose(loss, found, exact, scale, `row ${row}`);
    }
    expect(result.normalizer).toBe(normalizer);
    expect(result.mean).toBe(normalizer === 0 ? 0 : result.sum / normalizer);
    if (Number.isFinite(sum)) expect(Math.abs(result.sum - sum)).toBeLessThanOrEqual(1e-12 * Math.abs(sum));
    else expect(result.sum).toBe(sum);
    const counts = options.predictions === true && labels !== undefined;
    if (!counts) expect(result.correct).toBeUndefined();
    else if (everyFinite) expect(result.correct).toBe(correct);
  }
}

/** `expect` alone takes longer than a row. */
function assertIs(got: unknown, wanted: unknown): void {
  if (!Object.is(got, wanted)) expect(got).toBe(wanted);
}

const references = new Map<Variant, Xent>();

/** An instance of this variant. */
function referenceOf(variant: Variant): Xent {
  const found = references.get(variant) ?? createXentSync({ variant });
  references.set(variant, found);
  return found;
}

function partsOf(batch: AnyBatch): [Part, Numbers][] {
  const { logits, targets, gradient, loss } = batch;
  const parts = { logits, targets, gradient, loss, labels: targets ? undefined : batch.labels };
  return Object.entries(parts).filter(([, view]) => view !== undefined) as [Part, Numbers][];
}

/** Without the gradient, which for a class axis that is not last is that of all rows, also those of other runs. */
function withoutGradient({ gradient: _, ...result }: AnyResult): Record<string, unknown> {
  return bitsOf(result);
}
