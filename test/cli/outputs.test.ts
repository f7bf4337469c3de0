// Output files of the command: they are written whole or not at all, and replace only regular files of their own kind.
import { execFileSync, spawn, spawnSync } from "node:child_process";
import {
  chmodSync,
  closeSync,
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeSync,
} from "node:fs";
import { beforeEach, describe, expect, test } from "vitest";
import { decodeTotals } from "xent";
import { npy, safetensors } from "../support/array-files.ts";
import { binary, overriding } from "../support/cli.ts";
import { cliFolder, logits } from "../support/cli-folder.ts";

const { folder, path, write, run, evaluate } = cliFolder("outputs");
const isLinux = process.platform === "linux";

describe("an output file", () => {
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
      ["out.pipe", "not a regular file"],
      ["out.device", "not a regular file"],
      ["out.folder", "a directory"],
    ] as const) {
      const message = { status: 1, stdout: "", stderr: `xent: ${name}: is ${what}\n` };
      expect(evaluate("--totals", name)).toEqual(message);
      expect(partials("--output", name)).toEqual(message);
    }
    expect(lstatSync(path("out.pipe")).isFIFO()).toBe(true);
    expect(statSync(path("out.device")).isCharacterDevice()).toBe(true);
    symlinkSync("/dev/null", path("out.csv"));
    expect(evaluate("--per-row", "out.csv").stderr).toBe("xent: out.csv: is not a regular file\n");
    evaluate("--totals", "a.totals");
    expect(run("merge", "a.totals", "--output", "out.device").stderr).toBe("xent: out.device: is not a regular file\n");
    expect(leftovers()).toEqual([]);
  });

  test.skipIf(process.platform === "win32")("follows a link, and keeps the permissions", () => {
    evaluate("--totals", "out.private");
    chmodSync(path("out.private"), 0o600);
    symlinkSync("out.private", path("out.totals"));
    expect(evaluate(...totals)).toMatchObject({ status: 0, stderr: "" });
    expect(lstatSync(path("out.totals")).isSymbolicLink()).toBe(true);
    expect(decodeTotals(readFileSync(path("out.private"))).count).toBe(3);
    expect(statSync(path("out.private")).mode & 0o777).toBe(0o600);
    symlinkSync("out.nowhere", path("out.link"));
    expect(evaluate("--totals", "out.link").stderr).toBe("xent: out.link: is a broken link\n");
  });

  test("replaces no input", () => {
    expect(evaluate("--totals", "logits.npy")).toEqual({
      status: 2,
      stdout: "",
      stderr: "xent: --totals: logits.npy: would overwrite an input file\n",
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

  test("replaces no text of --bytes", () => {
    evaluate("--per-row", "out.csv");
    evaluate("--totals", "out.totals");
    for (const [option, name] of [
      ["--per-row", "out.csv"],
      ["--totals", "out.totals"],
    ] as const) {
      expect(evaluate("--bytes", name, option, name)).toEqual({
        status: 2,
        stdout: "",
        stderr: `xent: ${option}: ${name}: would overwrite an input file\n`,
      });
    }
  });

  test("replaces only files whose content is of its own kind", () => {
    write("out.y.txt", "0 1 2");
    write("out.b.npy", logits);
    write("out.b.y.txt", "0 1 2");
    write("out.npy", logits);
    write("out.text", "my only copy");
    partials("--output", "out.part", "--classes-total", "4");
    evaluate("--totals", "out.totals");
    evaluate("--per-row", "out.csv");
    // The name of the totals is missing: the first file of logits is taken for it.
    const forgotten = ["evaluate", "--labels", "{path}.y.txt", "--totals", "out.npy", "out.b.npy"];
    for (const [kind, name, args] of [
      ["totals", "out.npy", forgotten],
      ...["out.npy", "out.text", "out.part", "out.csv"].map((name) => [
        "totals",
        name,
        ["evaluate", "--logits", "logits.npy", "--labels", "labels.txt", "--totals", name],
      ]),
      ...["out.npy", "out.text", "out.totals"].map((name) => ["partials", name, ["--output", name]]),
      ["losses of xent (.npy)", "out.npy", ["--per-row", "out.npy"]],
      ["totals or a file of partials", "out.text", ["merge", "out.totals", "--output", "out.text"]],
      ["totals or a file of partials", "out.npy", ["merge", "out.part", "--output", "out.npy"]],
      ["totals", "out.part", ["merge", "out.totals", "--output", "out.part"]],
      ["partials", "out.totals", ["merge", "out.part", "--output", "out.totals"]],
    ] as [string, string, string[]][]) {
      const before = readFileSync(path(name));
      const command = args[0]?.startsWith("--") ? (kind === "partials" ? partials : evaluate) : run;
      const { status, stdout, stderr } = command(...args);
      expect({ status, stdout }, `${args}`).toEqual({ status: 2, stdout: "" });
      expect(stderr).toMatch(/^xent: --[a-z-]+: /);
      expect(stderr).toContain(`: ${name}: exists and is not a file of ${kind}: not replaced\n`);
      expect(readFileSync(path(name))).toEqual(before);
    }
    write("out2.csv", "row,label\n1,2\n");
    expect(evaluate("--per-row", "out2.csv").stderr).toContain("is not a file of losses of xent (.csv)");
    expect(leftovers()).toEqual([]);
  });

  test("replaces no file of --per-row of another command", () => {
    const compare = (...args: string[]) =>
      run("compare", "logits.npy", "logits.npy", "--labels", "labels.txt", ...args);
    for (const [ours, theirs, ofOurs, ofTheirs] of [
      [evaluate, compare, "losses", "divergences"],
      [compare, evaluate, "divergences", "losses"],
    ] as const) {
      for (const ending of ["npy", "csv"]) {
        const name = `out.${ofOurs}.${ending}`;
        for (let i = 0; i < 2; i++) expect(ours("--per-row", name)).toMatchObject({ status: 0, stderr: "" });
        const before = readFileSync(path(name));
        expect(theirs("--per-row", name)).toEqual({
          status: 2,
          stdout: "",
          stderr: `xent: --per-row: ${name}: exists and is not a file of ${ofTheirs} of xent (.${ending}): not replaced\n`,
        });
        expect(readFileSync(path(name))).toEqual(before);
      }
    }
  });

  test("replaces a file of its own kind, and an empty file", () => {
    write("out.totals", "");
    for (const option of ["--totals=out.totals", "--per-row=out.npy", "--per-row=out.csv", "--per-row=OUT.NPY"]) {
      const [name, file] = option.split("=") as [string, string];
      expect(evaluate(name, file, "--temperature", "2")).toMatchObject({ status: 0, stderr: "" });
      const [before, hot] = [readFileSync(path(file)), evaluate(name, file)];
      expect(hot).toMatchObject({ status: 0, stderr: "" });
      expect(readFileSync(path(file))).not.toEqual(before);
    }
    rmSync(path("OUT.NPY"));
    partials("--output", "out.part", "--classes-total", "4");
    expect(partials("--output", "out.part", "--classes-total", "4")).toMatchObject({ status: 0, stderr: "" });
    for (const name of ["out.part", "out.totals"]) {
      for (let i = 0; i < 2; i++) expect(run("merge", name, "--output", `${name}.merged`).status).toBe(0);
    }
  });

  test.skipIf(process.platform === "win32")("replaces no input under another name or link", () => {
    mkdirSync(path("out.folder"));
    symlinkSync("..", path("out.folder/up"));
    linkSync(path("logits.npy"), path("out.hard.npy"));
    symlinkSync("logits.npy", path("out.soft.npy"));
    write("out.weights.txt", "1 1 1 1");
    for (const name of ["out.hard.npy", "out.soft.npy", "out.folder/up/logits.npy", "out.folder/../labels.txt"]) {
      const message = `: ${name}: would overwrite an input file\n`;
      expect(evaluate("--totals", name).stderr).toBe(`xent: --totals${message}`);
      expect(partials("--output", name).stderr).toBe(`xent: --output${message}`);
    }
    const weights = ["--class-weights", "out.weights.txt"];
    expect(evaluate(...weights, "--totals", "out.weights.txt").status).toBe(2);
    evaluate("--totals", "out.totals");
    symlinkSync("out.totals", path("out.link"));
    const merging = run("merge", "out.totals", "--output", "out.link");
    expect(merging.stderr).toBe("xent: --output: out.link: would overwrite an input file\n");
    const twice = evaluate("--totals", "out.x.npy", "--per-row", "out.folder/up/out.x.npy");
    expect(twice.stderr).toBe("xent: --per-row: out.folder/up/out.x.npy: is written by another option, too\n");
    expect(readFileSync(path("logits.npy"))).toEqual(logits);
    expect(leftovers()).toEqual([]);
  });

  test.skipIf(process.platform === "win32")("is not the file of standard output, which is no input either", () => {
    evaluate("--totals", "out.totals");
    const into = (file: string, ...args: string[]) => {
      const stdout = openSync(path(file), "a");
      const all = ["evaluate", "--logits", "logits.npy", "--labels", "labels.txt", ...args];
      const ended = spawnSync(process.execPath, [binary, ...all], { cwd: folder, stdio: ["ignore", stdout, "pipe"] });
      closeSync(stdout);
      return `${ended.stderr}`;
    };
    expect(into("out.totals", "--totals", "out.totals")).toBe("xent: --totals: out.totals: is standard output, too\n");
    expect(into("labels.txt")).toBe("xent: labels.txt: is both input and output (by standard output)\n");
    expect(readFileSync(path("labels.txt"), "utf8")).toBe("0 1 2");
    expect(into("out.log")).toBe("");
  });

  test("is not written if an input changes while it is read", async () => {
    const rows = 300_000;
    write("slow.npy", npy("float32", [rows, 20], new Float32Array(20 * rows)));
    write("slow.txt", "0 ".repeat(rows));
    const slow = ["--batch-rows", "50", "--softcap", "5", "--threads", "1", "--per-row", "out.csv", ...totals];
    const args = ["evaluate", "--logits", "slow.npy", "--labels", "slow.txt", ...slow];
    const child = spawn(process.execPath, [binary, ...args], { cwd: folder, stdio: ["ignore", "ignore", "pipe"] });
    let stderr = "";
    child.stderr.on("data", (chunk) => {
      stderr += chunk;
    });
    const ended = new Promise((resolve) => child.on("close", resolve));
    // Once there are lines, a part of the input has been read.
    const hasLines = (): boolean => leftovers().some((name) => statSync(path(name)).size > 1000);
    while (!hasLines()) await new Promise((resolve) => setTimeout(resolve, 5));
    const file = openSync(path("slow.npy"), "r+");
    writeSync(file, Float32Array.of(1), 0, 4, 128 + 4 * 10);
    closeSync(file);
    expect(await ended).toBe(1);
    expect(stderr).toBe("xent: slow.npy: changed while it was being read\n");
    expect(readdirSync(folder).filter((name) => name.startsWith("out"))).toEqual([]);
  });

  test.skipIf(process.platform === "win32")("does not appear under its name if the command is killed", async () => {
    evaluate(...totals);
    const before = readFileSync(path("out.totals"));
    const rows = 300_000;
    write("slow.npy", npy("float32", [rows, 20], new Float32Array(20 * rows)));
    write("slow.txt", "0 ".repeat(rows));
    const slow = ["--batch-rows", "50", "--softcap", "5", "--threads", "1", "--per-row", "out.csv", ...totals];
    const args = ["evaluate", "--logits", "slow.npy", "--labels", "slow.txt", ...slow];
    const child = spawn(process.execPath, [binary, ...args], { cwd: folder, stdio: "ignore" });
    const ended = new Promise((resolve) => child.on("exit", (_, signal) => resolve(signal)));
    while (leftovers().length < 2) await new Promise((resolve) => setTimeout(resolve, 5));
    child.kill("SIGKILL");
    expect(await ended).toBe("SIGKILL");
    expect(readFileSync(path("out.totals"))).toEqual(before);
    expect(existsSync(path("out.csv"))).toBe(false);
  });

  test("is written although another process left a partial file", () => {
    // In a container every process may have the same id.
    for (let pid = 1; pid < 40; pid++) write(`out.totals.${pid}.partial`, "");
    expect(evaluate(...totals)).toMatchObject({ status: 0, stderr: "" });
  });

  test.runIf(isLinux && process.getuid?.() === 0)("leaves nothing behind on a full disk", () => {
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
  ])("does not appear after %s, status %d", async (signal, status) => {
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
