// Machine, versions and command of a measurement.
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import os from "node:os";
import { join } from "node:path";
import { output, root, tools } from "../toolchain.mjs";

/** The measurements that the documentation shows. */
export const measurements = join(root, "docs/measurements");

const PLACES = ["--out", "--node"];

export function machine(node) {
  const { model } = os.cpus()[0];
  const git = (...args) => output("git", ["-C", root, ...args]);
  return {
    date: new Date().toISOString().slice(0, 10),
    commit: git("rev-parse", "HEAD"),
    changedSinceCommit: git("status", "--porcelain", "crates", "packages") !== "",
    wasm: Object.fromEntries(["relaxed", "simd128"].map((variant) => [variant, wasmHash(variant)])),
    machine: {
      cpu: model.trim(),
      architecture: process.arch,
      cores: os.cpus().length,
      memory: `${Math.round(os.totalmem() / 2 ** 30)} GiB`,
      caches: caches(),
      system: `${os.type()} ${os.release()}`,
    },
    node: output(node, ["--version"]),
  };
}

/** The command, without the paths of this machine. */
export function commandLine(name) {
  const args = process.argv.slice(2).filter((arg, i, all) => !PLACES.includes(arg) && !PLACES.includes(all[i - 1]));
  return [`npm run ${name}`, ...(args.length > 0 ? ["--", ...args] : [])].join(" ");
}

/**
 * The folder for results. A run without native peers, or of a selection, does not replace the measurements that the
 * documentation shows. `choices`: the options that leave something out, as parseArgs takes them.
 */
export function folderOf({ out, native, ...options }, choices) {
  if (out !== undefined) return out;
  const whole = Object.entries(choices).every(([name, choice]) => String(options[name]) === String(choice.default));
  return native && whole ? measurements : join(tools, "measurements");
}

function wasmHash(variant) {
  const bytes = readFileSync(join(root, `packages/xent/dist/xent-${variant}.wasm`));
  return createHash("sha256").update(bytes).digest("hex").slice(0, 12);
}

/** The size of each cache of the first core, if the system reports it. */
function caches() {
  const found = {};
  for (let index = 0; ; index++) {
    const read = (field) => readFileSync(`/sys/devices/system/cpu/cpu0/cache/index${index}/${field}`, "utf8").trim();
    try {
      if (read("type") !== "Instruction") found[`L${read("level")}`] = read("size");
    } catch {
      return found;
    }
  }
}
