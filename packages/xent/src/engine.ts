import { JOB_BYTES, type Kernel, SCRATCH_BYTES } from "./abi.ts";
import { JobRecord } from "./job.ts";
import { instantiate } from "./load.ts";
import type { Heap } from "./memory.ts";
import type { Pool } from "./pool/pool.ts";

/** A kernel over a memory, with what a thread and its jobs need there. */
export interface Engine {
  readonly memory: WebAssembly.Memory;
  readonly kernel: Kernel;
  /** Address of this thread's scratch memory. */
  readonly scratch: number;
  /** For jobs that are waited for. */
  readonly now: Lane;
  /** For jobs that are not: one at a time, see {@link inTurn}. */
  readonly later: Lane;
  /** Calls this when the calls before have settled. */
  readonly inTurn: <T>(job: () => Promise<T>) => Promise<T>;
  readonly pool: Pool | undefined;
}

/** Memory of one job at a time. */
export interface Lane {
  readonly job: JobRecord;
  /** Address of {@link job}. */
  readonly address: number;
}

const JOB_ROOM: number = Math.ceil(JOB_BYTES / 64) * 64;

/** Bytes of an engine's workspace: two job records and the scratch memory. */
export const WORKSPACE_BYTES: number = 2 * JOB_ROOM + SCRATCH_BYTES;

/** Over a memory that has a workspace for it. */
export function makeEngine(module: WebAssembly.Module, memory: WebAssembly.Memory, workspace: number): Engine {
  let last: Promise<unknown> = Promise.resolve();
  const inTurn = <T>(job: () => Promise<T>): Promise<T> => {
    const mine = last.then(job);
    last = mine.catch(() => {});
    return mine;
  };
  return {
    memory,
    kernel: instantiate(module, memory),
    scratch: workspace + 2 * JOB_ROOM,
    now: makeLane(memory, workspace),
    later: makeLane(memory, workspace + JOB_ROOM),
    inTurn,
    pool: undefined,
  };
}

function makeLane(memory: WebAssembly.Memory, address: number): Lane {
  return { job: new JobRecord(memory, address), address };
}

/** The heap of the owner of a memory: an attached instance has none. */
export function owned(heap: Heap | undefined, method: string): Heap {
  if (heap === undefined) {
    throw new TypeError(
      `${method}() allocates, which only the owner of a memory does: call it there, and share the result`,
    );
  }
  return heap;
}
