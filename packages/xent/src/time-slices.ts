import { nextTask } from "./runtime.ts";

/** Elements that are computed between two checks of the clock: less than a millisecond of the plain loss. */
const LOOK = 2 ** 18;
/** At 60 frames a second, a page has 16 ms for each frame. */
const SLICE_MS = 8;

/** Computes rows on this thread, and yields to its other tasks every few milliseconds. */
export async function inSlices(
  begin: number,
  end: number,
  classes: number,
  run: (begin: number, end: number) => void,
): Promise<void> {
  const rows = Math.max(1, Math.floor(LOOK / classes));
  let started = Date.now();
  for (let row = begin; row < end; row += rows) {
    run(row, Math.min(end, row + rows));
    if (Date.now() - started >= SLICE_MS) {
      await nextTask();
      started = Date.now();
    }
  }
}
