// Finds a Redis for the queue and its tests, or installs one.
// As a command, runs one until it is interrupted: npm run redis -- --port 6379
import { spawn, spawnSync } from "node:child_process";
import { mkdirSync, rmSync, symlinkSync } from "node:fs";
import { dirname, join } from "node:path";
import { pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import { output, tools } from "./toolchain.mjs";

const own = join(tools, "bin/redis-server");

/** Path of a redis-server, or of a compatible server. */
export function findRedis() {
  const name = ["redis-server", "valkey-server", own].find((name) => output(name, ["--version"]) !== undefined);
  return name && output("sh", ["-c", `command -v ${name}`]);
}

/** Installs Debian's Redis, if run as root. Returns whether that worked. */
export function installRedis() {
  if (process.getuid?.() !== 0 || output("apt-get", ["--version"]) === undefined) return false;
  const apt = (...args) => spawnSync("apt-get", ["-y", "-qq", ...args], { stdio: "ignore" }).status === 0;
  // The package redis-server would start a service. redis-tools has the same program, which acts as a server if called redis-server.
  if (!(apt("update") && apt("install", "--no-install-recommends", "redis-tools"))) return false;
  mkdirSync(dirname(own), { recursive: true });
  rmSync(own, { force: true });
  symlinkSync("/usr/bin/redis-check-rdb", own);
  return true;
}

/** Starts a server that answers only on this machine. With the flags {@link KEEP}, it keeps its data in the folder. */
export function startRedis(server, folder, port, flags, stdio) {
  mkdirSync(folder, { recursive: true });
  const options = ["--port", `${port}`, "--bind", "127.0.0.1", "--dir", folder, "--save", ""];
  return spawn(server, [...options, ...flags], { stdio });
}

/** Flags of a server that keeps its data when it is killed. */
export const KEEP = ["--appendonly", "yes"];

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  const { values } = parseArgs({ options: { port: { type: "string", default: "6379" } } });
  if (findRedis() === undefined) installRedis();
  const server = findRedis();
  if (server === undefined) {
    console.error("there is no redis-server on PATH: install your system's package redis-server");
    process.exit(1);
  }
  console.log(`redis://127.0.0.1:${values.port}, until interrupted`);
  startRedis(server, join(tools, "redis"), values.port, KEEP, ["ignore", "ignore", "inherit"]).on("exit", (code) =>
    process.exit(code ?? 0),
  );
}
