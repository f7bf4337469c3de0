import { HEADER_BYTES, JOB_BYTES, SEGMENT, SEGMENT_BYTES } from "../abi.ts";

/** How the rows of a job are dealt out, in items that any thread may take: chunks of rows, then segments of the last rows. */
export interface Schedule {
  /** Threads that are worth their waking. */
  readonly threads: number;
  readonly begin: number;
  /** Rows of a chunk, and chunks. */
  readonly chunk: number;
  readonly chunks: number;
  /** The first of the rows whose classes are dealt out, and the end of all rows. */
  readonly splitRow: number;
  readonly end: number;
  /** Segments of such a row, and bytes that the records of all of them take. */
  readonly segments: number;
  readonly recordBytes: number;
  /** The longest item, in classes of the plain loss. */
  readonly longest: number;
}

/** What there is to be dealt out. */
export interface Extent {
  readonly begin: number;
  readonly end: number;
  readonly classes: number;
  /** How long a class takes, in units of the plain loss. */
  readonly cost: number;
  /** Whether the classes of a row can be dealt out. */
  readonly splits: boolean;
}

// Measured: it takes about 15 us to wake a thread and to wait for it, in which another computes 20,000 classes. A row
// takes as long as four classes more.
const WORTH_A_THREAD = 40_000;
const ROW = 4;
/** Classes of a chunk: long enough to be worth its claim, short enough that the last one is not waited for. */
const CHUNK = 16_384;
/** Classes of short rows that the kernel computes together. */
const GROUP = 1024;
/** Rows in segments for each thread. */
export const MOST_SPLIT_ROWS = 2;

/** The schedule for `available` threads; undefined where less than `least` are worth it. */
export function schedule(extent: Extent, available: number, least: number): Schedule | undefined {
  const { begin, end, classes, cost, splits } = extent;
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
  return { threads, begin, chunk, chunks, splitRow, end, segments, recordBytes, longest };
}

function splitRows(rows: number, threads: number): number {
  if (rows < MOST_SPLIT_ROWS * threads) return rows;
  // What would be left over, and as many rows more as let the threads end together that are a row apart by then.
  return (rows % threads) + (rows < 64 * threads ? threads : 0);
}

/** The most that {@link Schedule.recordBytes} can be, whatever is asked for. */
export function mostRecordBytes(rows: number, classes: number, threads: number): number {
  const segments = Math.ceil(classes / SEGMENT);
  return segments > 1 ? Math.min(rows, MOST_SPLIT_ROWS * threads) * bytesOfRecord(segments) : 0;
}

/** Bytes of the record of a row in segments. */
export function bytesOfRecord(segments: number): number {
  return HEADER_BYTES + SEGMENT_BYTES * segments;
}

/** A schedule as the threads read it: words of the job's record, behind those that the kernel reads. */
export const DEALT = {
  items: 0,
  begin: 1,
  chunk: 2,
  chunks: 3,
  splitRow: 4,
  segments: 5,
  /** Items that sum a segment; those behind them scale one. */
  sums: 6,
  /** Address of the records of the rows in segments. */
  records: 7,
} as const;

/** Bytes of these words. */
export const SCHEDULE_BYTES = 32;

/** The words of the job whose record is at this address. */
export function scheduleWords(memory: WebAssembly.Memory, job: number): Int32Array {
  return new Int32Array(memory.buffer, job + JOB_BYTES, SCHEDULE_BYTES / 4);
}

/** Writes a schedule. `gradient`: whether segments are scaled, too. */
export function writeSchedule(
  memory: WebAssembly.Memory,
  job: number,
  { begin, chunk, chunks, splitRow, end, segments }: Schedule,
  gradient: boolean,
  records: number,
): void {
  const words = scheduleWords(memory, job);
  const sums = (end - splitRow) * segments;
  words[DEALT.items] = chunks + sums * (gradient ? 2 : 1);
  words[DEALT.begin] = begin;
  words[DEALT.chunk] = chunk;
  words[DEALT.chunks] = chunks;
  words[DEALT.splitRow] = splitRow;
  words[DEALT.segments] = segments;
  words[DEALT.sums] = sums;
  words[DEALT.records] = records;
}
