// The interface between the kernel and this package. crates/kernel and crates/wasm define it; a test compares the two.

/** Bytes of a WebAssembly page. */
export const PAGE = 65536;

/** The modules' constants lie below. The memory from here on belongs to the allocator. */
export const HEAP_START = 4096;

/** Bytes of one thread's scratch memory: `SCRATCH_BYTES` in crates/kernel/src/scratch.rs. */
export const SCRATCH_BYTES = 75568;

/** Bytes of the job record (see job.ts). */
export const JOB_BYTES = 144;

/** Classes of a segment, the part of a shared row that one thread computes at a time: `SEGMENT` in crates/kernel/src/row.rs. */
export const SEGMENT = 8192;

/** Bytes of the record of a row in segments, and of the record of each segment: crates/kernel/src/partial.rs. */
export const HEADER_BYTES = 40;
export const SEGMENT_BYTES = 32;

/** Bytes of the partial result of a row, and of its merged result: crates/kernel/src/partial.rs. */
export const RECORD_BYTES = 80;

/** The kernel's exports. Addresses are `u32`. */
export interface Kernel {
  /** Computes the rows from `begin` to `end` of the job. */
  run(job: number, scratch: number, begin: number, end: number): void;
  /** Finds the largest logit of a segment of a row, before the segments of a row with soft targets are summed. */
  find_segment(job: number, scratch: number, record: number, row: number, segment: number): void;
  /** Sums a segment of a row. */
  sum_segment(job: number, scratch: number, record: number, row: number, segment: number): void;
  /** Computes the loss of a row whose segments are all summed. Returns 0 if the row must be computed as a whole. */
  finish_row(job: number, scratch: number, record: number, row: number): number;
  /** Writes the gradient of a segment, after the loss of its row. */
  write_segment(job: number, scratch: number, record: number, row: number, segment: number): void;
  /** Writes the sum of the losses of the rows from `begin` to `end`, and the number of correct predictions, into the job. */
  reduce(job: number, begin: number, end: number): void;
}

/** The export that every kernel has. */
export type Runs = Pick<Kernel, "run">;

/** The imports of all kernels. That of the loss has wasm-bindgen's names, with a function for a table of objects, which is not needed. */
export function importsOf(memory: WebAssembly.Memory): WebAssembly.Imports {
  return { "./xent_wasm_bg.js": { memory, __wbindgen_init_externref_table: () => {} }, env: { memory } };
}
