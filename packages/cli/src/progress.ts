import { SingleBar } from "cli-progress";

/** A bar on a terminal, with throughput and time left; elsewhere nothing. */
export interface Progress {
  update(done: number): void;
  stop(): void;
}

/** `size`: bytes of all rows. */
export function progressBar(rows: number, size: number): Progress {
  if (!process.stderr.isTTY) return { update: () => {}, stop: () => {} };
  const start = performance.now();
  const bar = new SingleBar({
    stream: process.stderr,
    format: "{bar} {percentage}%  {value}/{total} rows  {rate}  {eta_formatted} left",
    barCompleteChar: "█",
    barIncompleteChar: "░",
    barsize: 20,
    hideCursor: true,
    clearOnComplete: true,
    linewrap: false,
    gracefulExit: false, // Ctrl-C is not its business.
  });
  bar.start(rows, 0, { rate: "" });
  return {
    update(done) {
      const seconds = (performance.now() - start) / 1000;
      bar.update(done, { rate: rateOf((done / rows) * size, seconds) });
    },
    stop: () => bar.stop(),
  };
}

/** Throughput as people read it. */
export function rateOf(bytes: number, seconds: number): string {
  const rate = bytes / seconds;
  return rate >= 1e9 ? `${(rate / 1e9).toFixed(2)} GB/s` : `${(rate / 1e6).toFixed(0)} MB/s`;
}
