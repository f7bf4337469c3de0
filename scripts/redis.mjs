// Finds a Redis for the queue and its tests, and installs one where it is missing.
// As a command, starts one until it is interrupted: npm run redis -- --port 6379
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

/** Installs Debian's, for root only. Returns whether that worked. */
export function installRedis() {
  if (process.getuid?.() !== 0 || output("apt-get", ["--version"]) === undefined) return false;
  const apt = (...args) => spawnSync("apt-get", ["-y", "-qq", ...args], { stdio: "ignore" }).status === 0;
  // The package redis-server would start a service. Its program is in this one, which goes by the name it is called by.
  if (!(apt("update") && apt("install", "--no-install-recommends", "redis-tools"))) return false;
  mkdirSync(dirname(own), { recursive: true });
  rmSync(own, { force: true });
  symlinkSync("/usr/bin/redis-check-rdb", own);
  return true;
}

/** Starts a server that answers on this machine only. What it keeps, if `flags` say so ({@link KEEP}), is in the folder. */
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
    console.error("there is no redis-server on PATH: install your system's package of that name");
    process.exit(1);
  }
  console.log(`redis://127.0.0.1:${values.port} until it is interrupted`);
  startRedis(server, join(tools, "redis"), values.port, KEEP, ["ignore", "ignore", "inherit"]).on("exit", (code) =>
    process.exit(code ?? 0),
  );
}
