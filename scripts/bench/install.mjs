// Installs the peers' libraries: npm packages beside this file, and for --native a Python environment in .tools.
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { root, tools } from "../toolchain.mjs";

const here = fileURLToPath(new URL(".", import.meta.url));
const venv = join(tools, "bench-venv");
export const venvPython = join(venv, "bin/python");

/** The executable of a Node.js, given as a path or as a version that the tests install, such as "20". */
export function nodeBinary(name) {
  return /^\d+$/.test(name) ? join(root, `test/runtimes/node_modules/node-${name}/bin/node`) : name;
}

/** The Node.js that is measured: Node 24 runs the relaxed variant, which Node 20 rejects. */
export const newestNode = existsSync(nodeBinary("24")) ? "24" : process.execPath;

export function install({ native = false } = {}) {
  mkdirSync(tools, { recursive: true });
  once("bench-npm", "package-lock.json", "npm packages (530 MB)", () => {
    run("npm", ["ci", "--no-audit", "--no-fund", "--ignore-scripts", "--no-bin-links"]);
  });
  if (!native) return;
  once("bench-venv", "requirements.txt", "Python packages (6 GB: PyTorch comes with CUDA's libraries)", () => {
    run("python3", ["-m", "venv", venv]);
    // --no-deps: the list is complete, and PyTorch's own dependencies include packages that only a GPU needs.
    run(venvPython, ["-m", "pip", "install", "--quiet", "--no-deps", "-r", "requirements.txt"]);
  });
}

/** Runs a step unless it has already run with the same list. */
function once(name, list, what, step) {
  const stamp = join(tools, `${name}.stamp`);
  const wanted = createHash("sha256")
    .update(readFileSync(join(here, list)))
    .digest("hex");
  if (existsSync(stamp) && readFileSync(stamp, "utf8") === wanted) return;
  console.error(`set-up of the peers: ${what}`);
  step();
  writeFileSync(stamp, wanted);
}

function run(command, args) {
  const { status, error } = spawnSync(command, args, { cwd: here, stdio: ["ignore", "ignore", "inherit"] });
  if (error) throw error;
  if (status !== 0) throw new Error(`"${command} ${args.join(" ")}" ended with status ${status}`);
}
