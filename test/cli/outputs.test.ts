// What the command line writes: whole or not at all, and in the place of nothing but a regular file.
import { execFileSync, spawn } from "node:child_process";
import { chmodSync, lstatSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, symlinkSync } from "node:fs";
import { beforeEach, describe, expect, test } from "vitest";
import { decodeTotals } from "xent";
import { npy, safetensors } from "../support/array-files.ts";
import { binary, overriding } from "../support/cli.ts";
import { cliFolder, logits } from "../support/cli-folder.ts";

const { folder, path, write, run, evaluate } = cliFolder("outputs");
const isLinux = process.platform === "linux";

describe("what is written", () => {
  const totals = ["--totals", "out.totals"];
  const partials = (...args: string[]) =>
    run(
      ...["partials", "--logits", "logits.npy", "--labels", "labels.txt"],
      ...overriding(["--class-offset", "0", "--classes-total", "8", ...args]),
    );
  beforeEach(() => {
    for (const name of readdirSync(folder)) if (name.startsWith("out")) rmSync(path(name), { recursive: true });
  });
  const leftovers = (): string[] => readdirSync(folder).filter((name) => name.includes("partial"));

  test.runIf(isLinux)("replaces no device and no pipe", () => {
    execFileSync("mkfifo", [path("out.pipe")]);
    symlinkSync("/dev/null", path("out.device"));
    mkdirSync(path("out.folder"));
    for (const [name, what] of [
      ["out.pipe", "no regular file"],
      ["out.device", "no regular file"],
      ["out.folder", "a directory"],
    ] as const) {
      const message = { status: 1, stdout: "", stderr: `xent: ${name}: is ${what}\n` };
      expect(evaluate("--totals", name)).toEqual(message);
      expect(partials("--output", name)).toEqual(message);
    }
    expect(lstatSync(path("out.pipe")).isFIFO()).toBe(true);
    expect(statSync(path("out.device")).isCharacterDevice()).toBe(true);
    symlinkSync("/dev/null", path("out.csv"));
    expect(evaluate("--per-row", "out.csv").stderr).toBe("xent: out.csv: is no regular file\n");
    evaluate("--totals", "a.totals");
    expect(run("merge", "a.totals", "--output", "out.device").stderr).toBe("xent: out.device: is no regular file\n");
    expect(leftovers()).toEqual([]);
  });

  test.skipIf(process.platform === "win32")("follows a link, and keeps who may read it", () => {
    evaluate("--totals", "out.private");
    chmodSync(path("out.private"), 0o600);
    symlinkSync("out.private", path("out.totals"));
    expect(evaluate(...totals)).toMatchObject({ status: 0, stderr: "" });
    expect(lstatSync(path("out.totals")).isSymbolicLink()).toBe(true);
    expect(decodeTotals(readFileSync(path("out.private"))).count).toBe(3);
    expect(statSync(path("out.private")).mode & 0o777).toBe(0o600);
    symlinkSync("out.nowhere", path("out.link"));
    expect(evaluate("--totals", "out.link").stderr).toBe("xent: out.link: is a link to nothing\n");
  });

  test("takes the place of nothing that is read", () => {
    expect(evaluate("--totals", "logits.npy")).toEqual({
      status: 2,
      stdout: "",
      stderr: "xent: --totals: logits.npy: would take the place of a file that is read\n",
    });
    expect(partials("--output", "labels.txt").status).toBe(2);
    const twice = "xent: --per-row: ./out.npy: is written by another option, too\n";
    expect(evaluate("--totals", "out.npy", "--per-row", "./out.npy").stderr).toBe(twice);
    partials("--output", "a.part", "--classes-total", "4");
    expect(run("merge", "a.part", "--output", "out.npy", "--per-row", "./out.npy").stderr).toBe(twice);
    expect(readFileSync(path("logits.npy"))).toEqual(logits);
    const tensors = { logits: { type: "float32", shape: [3, 4], data: new Float32Array(12) } };
    write("both.safetensors", safetensors(tensors));
    expect(evaluate("--logits", "both.safetensors:logits", "--totals", "both.safetensors").status).toBe(2);
  });

  test("is in nobody's way: what another process has left by any name", () => {
    // In a container every process may have the same number.
    for (let pid = 1; pid < 40; pid++) write(`out.totals.${pid}.partial`, "");
    expect(evaluate(...totals)).toMatchObject({ status: 0, stderr: "" });
  });

  test.runIf(isLinux && process.getuid?.() === 0)("leaves nothing behind on a disk that is full", () => {
    mkdirSync(path("out.disk"));
    try {
      execFileSync("mount", ["-t", "tmpfs", "-o", "size=4k", "tmpfs", path("out.disk")], { stdio: "ignore" });
    } catch {
      return; // not here
    }
    try {
      write("rows.npy", npy("float32", [5000, 2], new Float32Array(10_000)));
      write("rows.txt", "0 ".repeat(5000));
      const of = ["--logits", "rows.npy", "--labels", "rows.txt"];
      for (const name of ["out.disk/x.npy", "out.disk/x.csv"]) {
        expect(evaluate(...of, "--per-row", name)).toEqual({
          status: 1,
          stdout: "",
          stderr: `xent: ${name}: no space left on device\n`,
        });
        expect(readdirSync(path("out.disk"))).toEqual([]);
      }
    } finally {
      execFileSync("umount", [path("out.disk")]);
    }
  });

  test.skipIf(process.platform === "win32").each<[NodeJS.Signals, number]>([
    ["SIGINT", 130],
    ["SIGTERM", 143],
    ["SIGHUP", 129],
  ])("is not there half after %s, status %d", async (signal, status) => {
    const rows = 300_000;
    write("slow.npy", npy("float32", [rows, 20], new Float32Array(20 * rows)));
    write("slow.txt", "0 ".repeat(rows));
    const args = ["evaluate", "--threads", "1", "--logits", "slow.npy", "--labels", "slow.txt"];
    const slow = ["--batch-rows", "50", "--softcap", "5", "--per-row", "out.csv", ...totals];
    const child = spawn(process.execPath, [binary, ...args, ...slow], { cwd: folder, stdio: "ignore" });
    const ended = new Promise((resolve) => child.on("exit", resolve));
    while (leftovers().length < 2) await new Promise((resolve) => setTimeout(resolve, 5));
    child.kill(signal);
    expect(await ended).toBe(status);
    expect(readdirSync(folder).filter((name) => name.startsWith("out"))).toEqual([]);
  });
});
