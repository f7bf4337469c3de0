// What the kernel and this package agree on: the exports, and the layout of the job record. crates/kernel/src/job.rs is
// the original; a test compares the two.

/** Bytes of a WebAssembly page. */
export const PAGE = 65536;

/** The module's own constants lie in the first page; all memory behind it is ours. */
export const HEAP_START: number = PAGE;

/** Bytes of one thread's scratch memory: `SCRATCH_BYTES` in crates/kernel/src/narrow.rs. */
export const SCRATCH_BYTES = 9272;

/** The kernel's exports. Addresses are `u32`. */
export interface Kernel {
  /** Computes the rows from `begin` to `end` of the job. */
  run(job: number, scratch: number, begin: number, end: number): void;
  /** Adds up the losses and right predictions of the rows from `begin` to `end`, into the job. */
  reduce(job: number, begin: number, end: number): void;
}

/** The fields of the job record, in order. */
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
  buffer: "u32",
  classes: "u32",
  logits_type: "u32",
  row_stride: "u32",
  class_stride: "u32",
  inner: "u32",
  ignore: "u32",
  ignore_index: "i32",
  reserved: "u32",
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

const BYTES = { u32: 4, i32: 4, f64: 8 } as const;

const offsets = {} as Record<Field, number>;
let end = 0;
for (const field of Object.keys(JOB_FIELDS) as Field[]) {
  offsets[field] = end;
  end += BYTES[JOB_FIELDS[field]];
}

/** Bytes of the job record. */
export const JOB_BYTES: number = end;

/** Writes every field of the job at `address`. */
export function writeJob(memory: WebAssembly.Memory, address: number, job: Record<Field, number>): void {
  const view = new DataView(memory.buffer, address, JOB_BYTES);
  for (const field in offsets) {
    const name = field as Field;
    const type = JOB_FIELDS[name];
    if (type === "u32") view.setUint32(offsets[name], job[name], true);
    else if (type === "i32") view.setInt32(offsets[name], job[name], true);
    else view.setFloat64(offsets[name], job[name], true);
  }
}

/** Reads a result of {@link Kernel.reduce}. */
export function readJob(memory: WebAssembly.Memory, address: number, field: "sum" | "correct"): number {
  return new DataView(memory.buffer, address, JOB_BYTES).getFloat64(offsets[field], true);
}
