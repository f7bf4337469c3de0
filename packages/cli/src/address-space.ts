import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";

const FLAG = "--disable-wasm-trap-handler";

/**
 * Node.js reserves 8 GB of address space for each WebAssembly memory, which fails where addresses are limited (ulimit -v, some
 * containers). There, this runs the same command with a flag that avoids the reservation, and returns its exit status.
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

/** Twice what a memory reserves. To try by creating a memory would keep it for a while. */
const ENOUGH_BYTES = 2 ** 34;

function isThereSpace(): boolean {
  try {
    const [, limit] = /^Max address space +(\d+)/m.exec(readFileSync("/proc/self/limits", "utf8")) ?? [];
    return limit === undefined || Number(limit) >= ENOUGH_BYTES;
  } catch {
    return true; // Not Linux: nothing limits addresses there.
  }
}
