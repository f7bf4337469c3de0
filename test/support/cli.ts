import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { MessageChannel, receiveMessageOnPort, Worker } from "node:worker_threads";

/** The built command. */
export const binary: string = fileURLToPath(new URL("../../packages/cli/dist/main.js", import.meta.url));

export interface Ended {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface Surroundings {
  readonly cwd?: string;
  readonly input?: string;
  readonly columns?: number;
  readonly env?: Readonly<Record<string, string>>;
}

/** Runs `xent` with these arguments to its end, in a process of its own. */
export function xentProcess(args: readonly string[], { cwd, input = "", ...more }: Surroundings = {}): Ended {
  const { error, status, stdout, stderr } = spawnSync(process.execPath, [binary, ...args], {
    cwd,
    input,
    env: environment(more),
    encoding: "utf8",
  });
  if (error) throw error;
  return { status, stdout, stderr };
}

/**
 * Runs `xent` with these arguments to its end, in a thread of this process: a process of its own takes up to ten times as long. Until it
 * ends, this process has the working directory of the command.
 */
export function xentCommand(args: readonly string[], surroundings: Surroundings = {}): Ended {
  // xent work changes the working directory, which a thread can not.
  if (args[0] === "work") return xentProcess(args, surroundings);
  const { cwd, input = "", ...more } = surroundings;
  thread ??= startThread();
  const previous = process.cwd();
  if (cwd !== undefined) process.chdir(cwd);
  try {
    return thread({ args, input, env: environment(more) });
  } finally {
    process.chdir(previous);
  }
}

const environment = ({ columns = 80, env = {} }: Surroundings) => ({ ...process.env, COLUMNS: `${columns}`, ...env });

/** The thread, once a command has been run in it. */
let thread: ((command: object) => Ended) | undefined;

/** Far above the time of any command. */
const MOST_MILLISECONDS = 60_000;

function startThread(): (command: object) => Ended {
  const folder = mkdtempSync(join(tmpdir(), "xent-command-"));
  process.on("exit", () => rmSync(folder, { recursive: true, force: true }));
  const answered = new Int32Array(new SharedArrayBuffer(4));
  const { port1: port, port2 } = new MessageChannel();
  const worker = new Worker(new URL("./command-thread.mjs", import.meta.url), {
    workerData: { binary, inputFile: join(folder, "input"), answered, port: port2 },
    transferList: [port2],
    stdout: true,
    stderr: true,
  });
  for (const one of [worker, port]) one.unref();
  return (command) => {
    Atomics.store(answered, 0, 0);
    port.postMessage(command);
    if (Atomics.wait(answered, 0, 0, MOST_MILLISECONDS) === "timed-out")
      throw new Error(`did not end: ${JSON.stringify(command)}`);
    const { error, ...ended } = receiveMessageOnPort(port)?.message ?? { error: new Error("no answer") };
    if (error) throw error;
    return ended;
  };
}

/** What `xent ... --json` prints; it has to succeed. */
export function xentJson<T>(args: readonly string[], surroundings?: Surroundings): T {
  const { status, stdout, stderr } = xentCommand([...args, "--json"], surroundings);
  if (status !== 0) throw new Error(`xent ${args.join(" ")} ended with ${status}: ${stderr}`);
  return JSON.parse(stdout);
}

/** The arguments with only the last of each option, for the command refuses an option that is given twice. */
export function overriding(args: readonly string[]): string[] {
  const given = new Map<string, string[]>();
  const others: string[] = [];
  for (let i = 0; i < args.length; i++) {
    const [arg, next] = [args[i] as string, args[i + 1]];
    if (!arg.startsWith("--")) others.push(arg);
    else if (next === undefined || next.startsWith("--")) given.set(arg, [arg]);
    else {
      given.set(arg, [arg, next]);
      i++;
    }
  }
  return [...others, ...[...given.values()].flat()];
}
