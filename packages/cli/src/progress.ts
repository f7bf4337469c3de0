import cliProgress, { type Options, SingleBar } from "cli-progress";
import { takesEscapes } from "./terminal.ts";
import { visible } from "./visible.ts";

/** A progress bar with throughput and time left. Draws nothing outside a terminal. */
export interface Progress {
  update(done: number): void;
  stop(): void;
}

/** `size`: bytes of all rows. `name`: the file, if there are several. */
export function progressBar(rows: number, size: number, name = ""): Progress {
  if (!takesEscapes(process.stderr)) return { update: () => {}, stop: () => {} };
  const start = performance.now();
  const bar = barOf(`{bar} {percentage}%  {value}/{total} rows  {rate}  {eta_formatted}${visible(name)}`);
  bar.start(rows, 0, { rate: "" });
  return {
    update(done) {
      const seconds = (performance.now() - start) / 1000;
      bar.update(done, { rate: rateOf((done / rows) * size, seconds) });
    },
    stop: () => bar.stop(),
  };
}

/** A progress bar for tasks that workers compute. */
export interface ShardsBar {
  done(id: string): void;
  /** `progress.done`: the fraction of the task that is done. */
  update(id: string, progress: unknown): void;
  /** Prints a line, also without a terminal. */
  say(text: string): void;
  stop(): void;
}

export function shardsBar(shards: number): ShardsBar {
  const say = (text: string): void => void process.stderr.write(`${text}\n`);
  if (!takesEscapes(process.stderr)) return { done: () => {}, update: () => {}, say, stop: () => {} };
  const bar = barOf("{bar} {percentage}%  {whole}/{total} files  {eta_formatted}");
  const parts = new Map<string, number>();
  const show = (): void => {
    const all = [...parts.values()];
    const whole = all.filter((part) => part === 1).length;
    bar.update(
      all.reduce((sum, part) => sum + part, 0),
      { whole },
    );
  };
  bar.start(shards, 0, { whole: 0 });
  return {
    say(text) {
      bar.stop();
      say(text);
      bar.start(shards, 0, { whole: 0 });
      show();
    },
    done(id) {
      parts.set(id, 1);
      show();
    },
    update(id, progress) {
      const done = typeof progress === "object" && progress !== null && "done" in progress ? progress.done : undefined;
      if (typeof done === "number" && done >= 0 && parts.get(id) !== 1) parts.set(id, Math.min(done, 0.999));
      show();
    },
    stop: () => bar.stop(),
  };
}

function barOf(format: string): SingleBar {
  return new SingleBar({
    stream: process.stderr,
    format,
    barCompleteChar: "█",
    barIncompleteChar: "░",
    barsize: 20,
    hideCursor: true,
    clearOnComplete: true,
    linewrap: false,
    gracefulExit: false, // main.ts handles signals.
    formatTime: timeLeft,
  });
}

/** The time left, or nothing while cli-progress has no estimate. */
function timeLeft(seconds: number | string, options: Options, multiple: number): string {
  return typeof seconds === "number" ? `${cliProgress.Format.TimeFormat(seconds, options, multiple)} left  ` : "";
}

export function rateOf(bytes: number, seconds: number): string {
  const rate = bytes / seconds;
  return rate >= 1e9 ? `${(rate / 1e9).toFixed(2)} GB/s` : `${(rate / 1e6).toFixed(0)} MB/s`;
}
