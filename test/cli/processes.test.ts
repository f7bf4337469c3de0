// Each command as a process ends by itself, with the output that it has in a thread, where most suites run it.
import { describe, expect, test } from "vitest";
import { npy } from "../support/array-files.ts";
import { type Ended, type Surroundings, xentCommand, xentProcess } from "../support/cli.ts";
import { cliFolder } from "../support/cli-folder.ts";

const { folder, write } = cliFolder("processes");

const FILES = ["--logits", "logits.npy", "--labels", "labels.txt"];
const SHARD = ["partials", ...FILES, "--class-offset", "0", "--classes-total", "4"];

const commands: [command: string[], status: number, surroundings?: Surroundings][] = [
  [["evaluate", ...FILES, "--threads", "1"], 0],
  [["evaluate", ...FILES, "--threads", "2", "--json"], 0],
  [["evaluate", ...FILES, "--totals", "out.totals", "--per-row", "out.csv"], 0],
  [["evaluate", ...FILES, "--html", "out.html"], 0],
  [["evaluate", "--logits", "logits.npy", "--labels", "-"], 0, { input: "0 1 2" }],
  [["evaluate", ...FILES, "--class-weights", "none.txt"], 1],
  [[...SHARD, "--output", "out.part"], 0],
  [["merge", "out.part", "--json"], 0],
  [["merge", "out.totals", "--output", "merged.totals"], 0],
  [["merge", "logits.npy"], 1],
  [["compare", "logits.npy", "other.npy", "--labels", "labels.txt"], 0],
  [["compare", "logits.npy", "--labels", "labels.txt"], 2],
  [["explain", "1", "2", "--label", "0"], 0, { columns: 48 }],
  [["explain", "--label", "0"], 0, { input: "1 2" }],
  [["--version"], 0],
  [["evaluate", "--help"], 0],
  [[], 2],
];

/** Without the time, which differs from run to run. */
const lasting = ({ status, stdout, stderr }: Ended): Ended => ({
  status,
  stdout: stdout.replace(/^time .*$|^ *"seconds": .*$/gm, ""),
  stderr,
});

describe("a process ends with the status and the output of a thread:", () => {
  test.each(commands)("xent %j", (command, status, surroundings) => {
    write("other.npy", npy("float32", [3, 4], Float32Array.of(1, 2, 3, 4, 4, 3, 2, 1, 0, 5, 0, 5)));
    const all = { cwd: folder, ...surroundings };
    const ended = lasting(xentProcess(command, all));
    expect(ended.status).toBe(status);
    expect(ended).toEqual(lasting(xentCommand(command, all)));
  });
});
