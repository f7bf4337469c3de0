// The job record. It begins with the fields that the kernel reads, which crates/kernel/src/job.rs defines (a test compares the two).
// The schedule for the threads of a pool follows: pool/schedule.ts.

/** The fields that the kernel reads, in order. */
export const JOB_FIELDS = {
  logits: "u32",
  labels: "u32",
  targets: "u32",
  gradient: "u32",
  loss: "u32",
  log_sum_exp: "u32",
  predictions: "u32",
  class_weights: "u32",
  sample_weights: "u32",
  rounded_loss: "u32",
  records: "u32",
  classes: "u32",
  logits_type: "u32",
  row_stride: "u32",
  class_stride: "u32",
  inner: "u32",
  ignore: "u32",
  ignore_index: "i32",
  class_offset: "u32",
  classes_total: "u32",
  merged: "u32",
  divergence: "u32",
  scale: "f64",
  label_smoothing: "f64",
  z_loss: "f64",
  softcap: "f64",
  temperature: "f64",
  sum: "f64",
  correct: "f64",
} as const;

/** Values of `logits_type`. */
export const LOGITS_TYPES = { float32: 0, float64: 1, float16: 2, bfloat16: 3 } as const;

type Field = keyof typeof JOB_FIELDS;

const FIELDS = Object.keys(JOB_FIELDS) as Field[];
// The 8-byte fields come last, so all fields are aligned: the record is an Int32Array followed by a Float64Array.
const WORDS: readonly Field[] = FIELDS.filter((field) => JOB_FIELDS[field] !== "f64");
const DOUBLES: readonly Field[] = FIELDS.filter((field) => JOB_FIELDS[field] === "f64");

/** The job record at an address in a memory. */
export class JobRecord {
  readonly address: number;
  readonly #memory: WebAssembly.Memory;
  #words = new Int32Array();
  #doubles = new Float64Array();

  constructor(memory: WebAssembly.Memory, address: number) {
    this.address = address;
    this.#memory = memory;
  }

  /**
   * Writes the fields that the kernel reads: one by one, because a loop over their names looks each of them up, which took half of
   * the time of a run of ten classes.
   */
  write(job: Record<Field, number>): void {
    this.#refresh();
    const words = this.#words;
    const doubles = this.#doubles;
    words[0] = job.logits;
    words[1] = job.labels;
    words[2] = job.targets;
    words[3] = job.gradient;
    words[4] = job.loss;
    words[5] = job.log_sum_exp;
    words[6] = job.predictions;
    words[7] = job.class_weights;
    words[8] = job.sample_weights;
    words[9] = job.rounded_loss;
    words[10] = job.records;
    words[11] = job.classes;
    words[12] = job.logits_type;
    words[13] = job.row_stride;
    words[14] = job.class_stride;
    words[15] = job.inner;
    words[16] = job.ignore;
    words[17] = job.ignore_index;
    words[18] = job.class_offset;
    words[19] = job.classes_total;
    words[20] = job.merged;
    words[21] = job.divergence;
    doubles[0] = job.scale;
    doubles[1] = job.label_smoothing;
    doubles[2] = job.z_loss;
    doubles[3] = job.softcap;
    doubles[4] = job.temperature;
    doubles[5] = job.sum;
    doubles[6] = job.correct;
  }

  /** Reads a field that {@link Kernel.reduce} has written. */
  read(field: "sum" | "correct"): number {
    this.#refresh();
    return this.#doubles[DOUBLES.indexOf(field)] as number;
  }

  #refresh(): void {
    const { buffer } = this.#memory;
    if (this.#words.buffer === buffer) return;
    this.#words = new Int32Array(buffer, this.address, WORDS.length);
    this.#doubles = new Float64Array(buffer, this.address + 4 * WORDS.length, DOUBLES.length);
  }
}
