// Everything that must hold, cheapest first. Arguments are passed on to vitest.
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { output, root } from "./toolchain.mjs";

const bin = (name) => join(root, "node_modules/.bin", name);
const nextest = output("cargo", ["nextest", "--version"]) !== undefined;
// A newer engine beside the one that runs this: it takes the relaxed variant, which Node 20 refuses.
const newer = join(root, "test/runtimes/node_modules/node-24/bin/node");
const vitest = [join(root, "node_modules/vitest/vitest.mjs"), "run", ...process.argv.slice(2)];

const steps = [
  ["cargo", ["fmt", "--all", "--check"]],
  ["cargo", ["clippy", "--quiet", "--workspace", "--exclude", "xent-wasm", "--all-targets", "--", "-D", "warnings"]],
  ["cargo", nextest ? ["nextest", "run", "--release"] : ["test", "--release", "--quiet"]],
  [bin("biome"), ["ci", "--error-on-warnings"]],
  [bin("tsc"), ["-p", "test"]],
  [bin("tsc"), ["-p", "packages/playground"]],
  [process.execPath, vitest],
];
// These run once: they start the engines that they are about, or are about none.
const once = [
  "cli/fuzz-files.test.ts",
  "docs/playground.test.ts",
  "queue/{queue,faults,hostile}.test.ts",
  "recipes/**",
  "runtimes/runtimes.test.ts",
  "packaging/!(esbuild|module|package).test.ts",
].map((suites) => `--exclude=test/${suites}`);
if (existsSync(newer) && !process.version.startsWith("v24."))
  steps.push([newer, [...vitest, ...once, "--passWithNoTests"]]);

for (const [command, args] of steps) {
  console.log(`\ntest: ${[command, ...args].join(" ").replaceAll(root, "")}`);
  const { status, error } = spawnSync(command, args, { cwd: root, stdio: ["ignore", "inherit", "inherit"] });
  if (error) throw error;
  if (status !== 0) {
    console.error(`test stopped: that ended with status ${status}`);
    process.exit(1);
  }
}
console.log("\ntest: all of it passed");
