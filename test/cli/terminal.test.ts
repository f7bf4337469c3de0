// The output in a terminal, a limited address space, and the prefix of errors.
import { spawnSync } from "node:child_process";
import { expect, test } from "vitest";
import { npy } from "../support/array-files.ts";
import { binary } from "../support/cli.ts";
import { cliFolder } from "../support/cli-folder.ts";

const { folder, write } = cliFolder("terminal");
const isPosix = process.platform !== "win32";
const python = ["python3", "python"].find((name) => spawnSync(name, ["--version"]).status === 0);

/** The output of a command in a terminal of this type. */
function seen(term: string, ...args: string[]): string {
  const program = "import pty, sys; sys.exit(pty.spawn(sys.argv[1:]) >> 8)";
  const env = { ...process.env, TERM: term, CI: "", NO_COLOR: undefined, FORCE_COLOR: undefined };
  const command = ["-c", program, process.execPath, binary, ...args];
  const { status, stdout } = spawnSync(python as string, command, { cwd: folder, env, encoding: "utf8" });
  expect(status).toBe(0);
  return stdout;
}

test.runIf(isPosix && python !== undefined)(
  "TERM=dumb gets no escapes; other terminals do, and the time left only once it is known",
  () => {
    write("rows.npy", npy("float32", [2000, 50], new Float32Array(100_000)));
    write("rows.txt", "0 ".repeat(2000));
    const args = ["evaluate", "--logits", "rows.npy", "--labels", "rows.txt", "--batch-rows", "100"];
    const dumb = seen("dumb", ...args);
    expect(dumb).toContain("perplexity");
    expect(dumb).not.toContain("\u001b");
    expect(dumb).not.toContain("█");
    const other = seen("xterm", ...args);
    expect(other).toContain("\u001b[");
    expect(other).toContain(" 0%  0/2000 rows");
    expect(other).not.toMatch(/ 0% {2}0\/2000 rows[^\r\n%]*left/);
    expect(seen("dumb", "explain", "1", "2", "--label", "0")).not.toContain("\u001b");
  },
);

test.runIf(process.platform === "linux" && process.allowedNodeEnvironmentFlags.has("--disable-wasm-trap-handler"))(
  "the command works in a limited address space, and has its usual status",
  () => {
    const limited = (...args: string[]) => {
      const command = ["-c", 'ulimit -v 8000000 && exec "$@"', "sh", process.execPath, binary, ...args];
      const { status, stdout, stderr } = spawnSync("sh", command, { cwd: folder, encoding: "utf8", input: "1 2" });
      return { status, stdout, stderr };
    };
    expect(limited("explain", "--label", "0")).toMatchObject({ status: 0, stderr: "" });
    const files = ["evaluate", "--logits", "logits.npy", "--labels"];
    expect(limited(...files, "labels.txt")).toMatchObject({ status: 0, stderr: "" });
    expect(limited(...files, "none.txt")).toMatchObject({
      status: 1,
      stderr: "xent: none.txt: no such file or directory\n",
    });
    expect(limited("evaluate")).toMatchObject({ status: 2 });
  },
);

test("every error begins with the name of the program", () => {
  for (const args of [
    [],
    ["nonsense"],
    ["evaluate"],
    ["explain", "--label"],
    ["merge", "none"],
    ["merge", "--nonsense"],
  ]) {
    const { status, stderr } = spawnSync(process.execPath, [binary, ...args], { cwd: folder, encoding: "utf8" });
    expect(status).not.toBe(0);
    if (args.length > 0) expect(stderr).toMatch(/^xent: /);
  }
});
