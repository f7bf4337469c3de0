import { nextTask } from "./runtime.ts";

/** Elements that are computed before somebody looks at the clock: less than a millisecond of the plain loss. */
const LOOK = 2 ** 18;
/** A page that draws 60 frames a second has 16 ms for one. */
const SLICE_MS = 8;

/** Computes rows on this thread, and lets it do what else it has to do every few milliseconds. */
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
