import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";

const FLAG = "--disable-wasm-trap-handler";

/**
 * Where addresses are limited (ulimit -v, some containers), Node.js cannot set aside the 8 GB of them that it takes for the memory
 * of a module; with a flag it does not. Runs the same command with it then, and returns its status; else nothing.
 */
export async function runWhereAddressesAreFew(): Promise<number | undefined> {
  const isNode = process.versions["bun"] === undefined && process.versions["deno"] === undefined;
  if (!isNode || !process.allowedNodeEnvironmentFlags.has(FLAG) || hasFlag() || isThereSpace()) return undefined;
  const [, ...args] = process.argv;
  const child = spawn(process.execPath, [...process.execArgv, FLAG, ...args], { stdio: "inherit" });
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, () => child.kill(signal));
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("exit", (status) => resolve(status ?? 1));
  });
}

function hasFlag(): boolean {
  return process.execArgv.includes(FLAG) || (process.env["NODE_OPTIONS"] ?? "").includes(FLAG);
}

/** Twice what a memory takes, or no limit. To ask for a memory would keep it for a while. */
const ENOUGH_BYTES = 2 ** 34;

function isThereSpace(): boolean {
  try {
    const [, limit] = /^Max address space +(\d+)/m.exec(readFileSync("/proc/self/limits", "utf8")) ?? [];
    return limit === undefined || Number(limit) >= ENOUGH_BYTES;
  } catch {
    return true; // No Linux: nothing limits addresses there.
  }
}
