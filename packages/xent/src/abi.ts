// What the kernel and this package agree on. crates/kernel and crates/wasm have the original; a test compares the two.

/** Bytes of a WebAssembly page. */
export const PAGE = 65536;

/** The module's own constants lie in the first page; all memory behind it is ours. */
export const HEAP_START: number = PAGE;

/** Bytes of one thread's scratch memory: `SCRATCH_BYTES` in crates/kernel/src/scratch.rs. */
export const SCRATCH_BYTES = 43864;

/** Bytes of the job record (see job.ts). */
export const JOB_BYTES = 144;

/** Classes of a segment: what one thread computes at a time of a row that several share. `SEGMENT` in crates/kernel/src/row.rs. */
export const SEGMENT = 8192;

/** Bytes of the record of a row in segments, and of each of its segments: crates/kernel/src/partial.rs. */
export const HEADER_BYTES = 32;
export const SEGMENT_BYTES = 32;

/** Bytes of what a shard knows of a row, and of what its gradient takes: crates/kernel/src/partial.rs. */
export const RECORD_BYTES = 80;

/** The kernel's exports. Addresses are `u32`. */
export interface Kernel {
  /** Computes the rows from `begin` to `end` of the job. */
  run(job: number, scratch: number, begin: number, end: number): void;
  /** Sums a segment of a row. */
  sum_segment(job: number, scratch: number, record: number, row: number, segment: number): void;
  /** Finishes a row, all of its segments summed. 0: it must be computed as a whole. */
  finish_row(job: number, scratch: number, record: number, row: number): number;
  /** Writes the gradient of a segment of a finished row. */
  write_segment(job: number, scratch: number, record: number, row: number, segment: number): void;
  /** Adds up the losses and right predictions of the rows from `begin` to `end`, into the job. */
  reduce(job: number, begin: number, end: number): void;
}

/** What the kernel imports. The names are wasm-bindgen's, and the function would fill a table of objects, which numbers do not need. */
export function importsOf(memory: WebAssembly.Memory): WebAssembly.Imports {
  return { "./xent_wasm_bg.js": { memory, __wbindgen_init_externref_table: () => {} } };
}
