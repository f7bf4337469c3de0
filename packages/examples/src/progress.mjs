import { setImmediate } from "node:timers/promises";
import { SingleBar } from "cli-progress";

const live = process.stdout.isTTY;

/**
 * Runs a job with a progress bar on a terminal, and otherwise with a line every two seconds. The job awaits
 * `step(value, note)` often, which also lets Ctrl-C interrupt it.
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
    clearOnComplete: !live, // Without a terminal, this clears nothing but avoids an empty last line.
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
