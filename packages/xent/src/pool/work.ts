// How a thread works on a job: it takes the next item and computes it, until none is left. The calling thread and the workers of the
// pool run the same code over the same words of memory.

import type { Kernel, Runs } from "../abi.ts";
import { bytesOfRecord, DEALT, MOST_SPLIT_ROWS, type Schedule, scheduleWords } from "./schedule.ts";

/** The words that synchronise the threads. Those of a job are written while the gate is closed and no thread is inside. */
export const WORD = {
  /** Incremented for every job; idle workers wait for a change. */
  epoch: 0,
  /** 1: workers may enter. */
  open: 1,
  /** The next item. */
  next: 2,
  /** Items that are done. */
  done: 3,
  /** 1 + the index of the thread that failed. */
  failed: 4,
  /** The address of the job record. This word and the next do not change during a job, so they have another cache line. */
  job: 16,
  /** 1: the worker that does the last item notifies the caller, which is not waiting here. */
  tell: 17,
  /** The number of kernels that were sent to the threads. */
  kernels: 18,
} as const;

const MESSAGE = 32;
const MESSAGE_LENGTH = 128;
/** The words of a thread fill a cache line, which no other thread uses. */
const LINE = 16;
const LINES = MESSAGE + MESSAGE_LENGTH;
/** The words that this many threads need. */
export function wordsOf(threads: number): number {
  return LINES + (LINE + ROW_WORDS * MOST_SPLIT_ROWS) * threads;
}

/** The word that is 1 while this thread is inside. */
export function inside(thread: number): number {
  return LINES + LINE * thread;
}

const ROW_WORDS = 3;

/**
 * The words of a row in segments: the number of segments still to sum; 1 once the row is finished, or 2 if it was computed as a whole; the
 * number of segments whose largest logit is still to find.
 */
function wordsOfRow(words: Int32Array, row: number): { unsummed: number; ready: number; unfound: number } {
  const unsummed = words.length - 1 - ROW_WORDS * row;
  return { unsummed, ready: unsummed - 1, unfound: unsummed - 2 };
}

/** Begins a job whose record is written, while the gate is closed and no thread is inside. */
export function begin(words: Int32Array, job: number, schedule: Schedule, tell: boolean): void {
  const { splitRow, end, segments, finds } = schedule;
  words[WORD.next] = 0;
  words[WORD.done] = 0;
  words[WORD.failed] = 0;
  words[WORD.job] = job;
  words[WORD.tell] = tell ? 1 : 0;
  for (let row = 0; row < end - splitRow; row++) {
    const { unsummed, ready, unfound } = wordsOfRow(words, row);
    words[unsummed] = segments;
    words[ready] = 0;
    words[unfound] = finds ? segments : 0;
  }
}

/** The state of a thread. */
export interface Thread {
  readonly kernel: Kernel;
  /** All kernels of the thread, in the order in which the pool sent them; the first is {@link kernel}. */
  readonly kernels: Runs[];
  readonly memory: WebAssembly.Memory;
  readonly index: number;
  readonly words: Int32Array;
  /** Address of its scratch memory. */
  readonly scratch: number;
  /** Waits for a while for this word to change from this value. Throws if waiting is useless. */
  wait(word: number, value: number): void;
}

/** How long to spin for other threads, which will finish their items soon. */
export const SPIN_INSIDE_MS = 0.05;
/** How long to spin for another job, which often follows. */
export const SPIN_OUTSIDE_MS = 0.5;

/** Spins on a word for a while, since sleeping and waking takes 15 us or more. Returns whether it has changed from this value. */
export function spin(words: Int32Array, word: number, value: number, milliseconds: number): boolean {
  const end = performance.now() + milliseconds;
  do {
    for (let i = 0; i < 100; i++) if (Atomics.load(words, word) !== value) return true;
  } while (performance.now() < end);
  return false;
}

/** Computes items until none is left. Returns whether one of them was the last of the job. */
export function work(thread: Thread): boolean {
  const { words } = thread;
  const job = words[WORD.job] as number;
  const dealt = scheduleWords(thread.memory, job);
  const items = dealt[DEALT.items] as number;
  let last = false;
  for (;;) {
    const item = Atomics.add(words, WORD.next, 1);
    if (item >= items) return last;
    compute(thread, job, dealt, item);
    last = Atomics.add(words, WORD.done, 1) === items - 1;
  }
}

/** Whether all items of the last job are done. */
export function isDone({ words, memory }: Pick<Thread, "words" | "memory">): boolean {
  const items = scheduleWords(memory, words[WORD.job] as number)[DEALT.items];
  return Atomics.load(words, WORD.done) === items;
}

/** Ends a job early: no thread finds another item. */
export function fail(words: Int32Array, thread: number, error: unknown): void {
  const message = String(error).slice(0, MESSAGE_LENGTH - 1);
  if (Atomics.compareExchange(words, WORD.failed, 0, thread + 1) === 0) {
    for (let i = 0; i < message.length; i++) words[MESSAGE + i] = message.charCodeAt(i);
    words[MESSAGE + message.length] = 0;
  }
  Atomics.store(words, WORD.next, 2 ** 30);
}

/** The error that {@link fail} was given. */
export function failure(words: Int32Array): string {
  const message = words.subarray(MESSAGE, MESSAGE + MESSAGE_LENGTH);
  return String.fromCharCode(...message.subarray(0, message.indexOf(0)));
}

function compute(thread: Thread, job: number, dealt: Int32Array, item: number): void {
  const { kernel, scratch } = thread;
  const at = (word: number): number => dealt[word] as number;
  const chunks = at(DEALT.chunks);
  if (item < chunks) {
    const first = at(DEALT.begin) + item * at(DEALT.chunk);
    const end = Math.min(first + at(DEALT.chunk), at(DEALT.splitRow));
    const other = at(DEALT.kernel);
    if (other === 0) kernel.run(job, scratch, first, end);
    else {
      const own = at(DEALT.scratch) + thread.index * at(DEALT.scratchBytes);
      (thread.kernels[other] as Runs).run(job, own, first, end);
    }
    return;
  }
  computeSegment(thread, job, dealt, item - chunks);
}

function computeSegment(thread: Thread, job: number, dealt: Int32Array, item: number): void {
  const { kernel, words, scratch } = thread;
  const at = (word: number): number => dealt[word] as number;
  const [segments, parts] = [at(DEALT.segments), at(DEALT.parts)];
  const index = Math.floor((item % parts) / segments);
  const row = at(DEALT.splitRow) + index;
  const segment = (item % parts) % segments;
  const record = at(DEALT.records) + index * bytesOfRecord(segments);
  const { unsummed, ready, unfound } = wordsOfRow(words, index);
  /** Waits for other threads, which took the earlier items of the row. Returns false if the job has failed. */
  const isThere = (word: number, done: (value: number) => boolean): boolean => {
    for (;;) {
      const value = Atomics.load(words, word);
      if (done(value)) return true;
      if (Atomics.load(words, WORD.failed) !== 0) return false;
      thread.wait(word, value);
    }
  };
  if (item < at(DEALT.finds)) {
    kernel.find_segment(job, scratch, record, row, segment);
    if (Atomics.sub(words, unfound, 1) === 1) Atomics.notify(words, unfound);
  } else if (item < at(DEALT.finds) + parts) {
    if (!isThere(unfound, (missing) => missing === 0)) return;
    kernel.sum_segment(job, scratch, record, row, segment);
    if (Atomics.sub(words, unsummed, 1) !== 1) return;
    const found = kernel.finish_row(job, scratch, record, row) === 1;
    if (!found) kernel.run(job, scratch, row, row + 1);
    Atomics.store(words, ready, found ? 1 : 2);
    Atomics.notify(words, ready);
  } else {
    if (!isThere(ready, (state) => state !== 0)) return;
    if (Atomics.load(words, ready) === 1) kernel.write_segment(job, scratch, record, row, segment);
  }
}
