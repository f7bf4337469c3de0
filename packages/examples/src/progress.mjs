import { setImmediate } from "node:timers/promises";
import { SingleBar } from "cli-progress";

const live = process.stdout.isTTY;

/**
 * Runs a job with a live bar on a terminal, and elsewhere with a line every two seconds. The job awaits
 * `step(value, note)` often, which is also where Ctrl-C gets through.
 *
 * @template T
 * @param {string} label
 * @param {number} total
 * @param {AbortSignal} signal
 * @param {(step: (value: number, note?: string) => Promise<void>) => Promise<T>} job
 * @returns {Promise<T>}
 */
export async function withProgress(label, total, signal, job) {
  const bar = new SingleBar({
    stream: process.stdout,
    format: `${label.padEnd(18)} ${live ? "{bar} " : ""}{value}/{total}{note}`,
    barCompleteChar: "█",
    barIncompleteChar: "░",
    barsize: 24,
    hideCursor: true,
    clearOnComplete: !live, // Which clears nothing there, but ends without an empty line.
    noTTYOutput: true,
    notTTYSchedule: 2000,
  });
  bar.start(total, 0, { note: "" });
  try {
    return await job(async (value, note = "") => {
      bar.update(value, { note: note && `  ${note}` });
      await setImmediate(undefined, { signal });
    });
  } finally {
    bar.stop();
  }
}
