import { HEADER_BYTES, JOB_BYTES, SEGMENT, SEGMENT_BYTES } from "../abi.ts";

/** How the rows of a job are divided into items that any thread may take: chunks of rows, then segments of the last rows. */
export interface Schedule {
  /** The number of threads worth waking. */
  readonly threads: number;
  readonly begin: number;
  /** The rows of a chunk, and the number of chunks. */
  readonly chunk: number;
  readonly chunks: number;
  /** The first of the rows that are divided into segments, and the end of all rows. */
  readonly splitRow: number;
  readonly end: number;
  /** The segments of such a row, whether their largest logits are found first, and the bytes of the records of all these rows. */
  readonly segments: number;
  readonly finds: boolean;
  readonly recordBytes: number;
  /** The cost of the longest item, in classes of the plain loss. */
  readonly longest: number;
}

/** The work to divide. */
export interface Extent {
  readonly begin: number;
  readonly end: number;
  readonly classes: number;
  /** The cost of a class, in units of the plain loss. */
  readonly cost: number;
  /** Whether a row can be divided into segments, and whether their largest logits must be known before they are summed. */
  readonly splits: boolean;
  readonly finds: boolean;
}

// Measured: waking a thread and waiting for it takes about 15 us, in which another thread computes 20,000 classes. A row has the fixed
// cost of four classes.
const WORTH_A_THREAD = 40_000;
const ROW = 4;
/** Classes of a chunk: enough to make its claim cheap, and few enough that other threads hardly wait for the last one. */
const CHUNK = 16_384;
/** Classes of short rows that the kernel computes together. */
const GROUP = 1024;
/** Rows in segments for each thread. */
export const MOST_SPLIT_ROWS = 2;

/** The schedule for `available` threads; undefined if fewer than `least` pay off. */
export function schedule(extent: Extent, available: number, least: number): Schedule | undefined {
  const { begin, end, classes, cost, splits, finds } = extent;
  const rows = end - begin;
  const threads = Math.min(available, Math.floor((rows * (classes * cost + ROW)) / WORTH_A_THREAD));
  if (threads < least) return undefined;
  const segments = Math.ceil(classes / SEGMENT);
  const splitRow = end - (splits && segments > 1 ? splitRows(rows, threads) : 0);
  const group = Math.max(1, Math.floor(GROUP / classes));
  const most = Math.max(group, Math.floor(CHUNK / classes));
  const fair = Math.ceil((splitRow - begin) / threads / 8 / group) * group;
  const chunk = Math.max(1, Math.min(most, fair));
  const chunks = Math.ceil((splitRow - begin) / chunk);
  const recordBytes = (end - splitRow) * bytesOfRecord(segments);
  const longest = chunk * classes * cost;
  return { threads, begin, chunk, chunks, splitRow, end, segments, finds, recordBytes, longest };
}

function splitRows(rows: number, threads: number): number {
  if (rows < MOST_SPLIT_ROWS * threads) return rows;
  // The rows that do not divide evenly, and one more for each thread, so that threads that are a row apart end together.
  return (rows % threads) + (rows < 64 * threads ? threads : 0);
}

/** The upper bound of {@link Schedule.recordBytes}, for any options. */
export function mostRecordBytes(rows: number, classes: number, threads: number): number {
  const segments = Math.ceil(classes / SEGMENT);
  return segments > 1 ? Math.min(rows, MOST_SPLIT_ROWS * threads) * bytesOfRecord(segments) : 0;
}

/** Bytes of the record of a row in segments. */
export function bytesOfRecord(segments: number): number {
  return HEADER_BYTES + SEGMENT_BYTES * segments;
}

/** The schedule in the words of the job record after those that the kernel reads. */
export const DEALT = {
  items: 0,
  begin: 1,
  chunk: 2,
  chunks: 3,
  splitRow: 4,
  segments: 5,
  /** The segments of all rows: as many items sum a segment. */
  parts: 6,
  /** The items before them that find the largest logit of a segment. The items after them scale one. */
  finds: 7,
  /** Address of the records of the rows in segments. */
  records: 8,
  /** The index of the kernel that computes the job. */
  kernel: 9,
  /** Address of the scratch memory of another kernel than that of the loss, and the bytes for each thread. */
  scratch: 10,
  scratchBytes: 11,
} as const;

/** Bytes of these words. */
export const SCHEDULE_BYTES = 48;

/** Another kernel than that of the loss: its number in the pool, and its scratch memory. */
export interface OtherKernel {
  readonly kernel: number;
  readonly scratch: number;
  readonly scratchBytes: number;
}

/** The words of the job whose record is at this address. */
export function scheduleWords(memory: WebAssembly.Memory, job: number): Int32Array {
  return new Int32Array(memory.buffer, job + JOB_BYTES, SCHEDULE_BYTES / 4);
}

/** Writes a schedule. `gradient`: whether segments are scaled, too. */
export function writeSchedule(
  memory: WebAssembly.Memory,
  job: number,
  { begin, chunk, chunks, splitRow, end, segments, finds }: Schedule,
  gradient: boolean,
  records: number,
  other?: OtherKernel,
): void {
  const words = scheduleWords(memory, job);
  const parts = (end - splitRow) * segments;
  words[DEALT.items] = chunks + parts * (1 + Number(finds) + Number(gradient));
  words[DEALT.begin] = begin;
  words[DEALT.chunk] = chunk;
  words[DEALT.chunks] = chunks;
  words[DEALT.splitRow] = splitRow;
  words[DEALT.segments] = segments;
  words[DEALT.parts] = parts;
  words[DEALT.finds] = finds ? parts : 0;
  words[DEALT.records] = records;
  words[DEALT.kernel] = other?.kernel ?? 0;
  words[DEALT.scratch] = other?.scratch ?? 0;
  words[DEALT.scratchBytes] = other?.scratchBytes ?? 0;
}
