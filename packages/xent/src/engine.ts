import { JOB_BYTES, type Kernel, SCRATCH_BYTES } from "./abi.ts";
import { JobRecord } from "./job.ts";
import { instantiate } from "./load.ts";
import { Heap } from "./memory.ts";
import type { Pool } from "./pool/pool.ts";
import { SCHEDULE_BYTES } from "./pool/schedule.ts";

/** A kernel over a memory, with the working memory of a thread and its jobs. */
export interface Engine {
  /** A number by which instances over the same memory know it, also in other threads. */
  readonly id: number;
  readonly memory: WebAssembly.Memory;
  readonly kernel: Kernel;
  /** Address of this thread's scratch memory. */
  readonly scratch: number;
  /** The record of a job that this thread waits for. */
  readonly waited: JobRecord;
  /** The record of an asynchronous job: one at a time, see {@link inTurn}. */
  readonly queued: JobRecord;
  /** Calls the function once all earlier calls have settled. */
  readonly inTurn: <T>(job: () => Promise<T>) => Promise<T>;
  readonly pool: Pool | undefined;
}

const JOB_ROOM: number = Math.ceil((JOB_BYTES + SCHEDULE_BYTES) / 64) * 64;

/** Bytes of an engine's workspace: two job records and the scratch memory. */
export const WORKSPACE_BYTES: number = 2 * JOB_ROOM + SCRATCH_BYTES;

/** Makes an engine over a memory that has a workspace for it. */
export function makeEngine(
  module: WebAssembly.Module,
  memory: WebAssembly.Memory,
  workspace: number,
  id: number = Math.random(),
): Engine {
  let last: Promise<unknown> = Promise.resolve();
  const inTurn = <T>(job: () => Promise<T>): Promise<T> => {
    const mine = last.then(job);
    last = mine.catch(() => {});
    return mine;
  };
  return {
    id,
    memory,
    kernel: instantiate(module, memory),
    scratch: workspace + 2 * JOB_ROOM,
    waited: new JobRecord(memory, workspace),
    queued: new JobRecord(memory, workspace + JOB_ROOM),
    inTurn,
    pool: undefined,
  };
}

/** A kernel, and the allocator of its memory. */
export interface Place {
  readonly heap: Heap;
  readonly engine: Engine;
}

/** Opens a memory with a kernel. */
export function openPlace(module: WebAssembly.Module, maxBytes: number | undefined, shared: boolean): Place {
  const heap = new Heap(maxBytes, shared);
  return { heap, engine: makeEngine(module, heap.memory, heap.allocateZeroed(WORKSPACE_BYTES)) };
}

/** The allocator of a memory. Only its owner has one; an attached instance throws. */
export function owned(heap: Heap | undefined, method: string): Heap {
  if (heap === undefined) {
    throw new TypeError(
      `${method}() allocates, which only the owner of a memory does: call it there, and share the result`,
    );
  }
  return heap;
}
