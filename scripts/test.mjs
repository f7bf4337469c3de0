// Runs all checks, the cheapest first. Passes its arguments on to vitest.
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { output, root, tools } from "./toolchain.mjs";

const bin = (name) => join(root, "node_modules/.bin", name);
const nextest = output("cargo", ["nextest", "--version"]) !== undefined;
// A newer Node.js than the one that runs this script, if it is older: Node 24 runs the relaxed variant, which Node 20 rejects.
const newer = join(root, "test/runtimes/node_modules/node-24/bin/node");
const hasNewer = existsSync(newer) && !process.version.startsWith("v24.");
const vitest = [join(root, "node_modules/vitest/vitest.mjs"), "run", ...process.argv.slice(2)];
// Suites that depend on neither engine nor variant, or that start their own engines, run once: on the newer Node.js, whose processes
// start in half the time. npm and npx run with the older one in any case. The newer one runs the relaxed variant only:
// runtimes.test.ts checks the bits of simd128 on every engine.
const once = [
  "cli/!(evaluate|explain|processes).test.ts",
  "{docs,queue,recipes,scripts}/**",
  // Addresses, sums and bytes that are computed in TypeScript alone.
  "memory/allocator.test.ts",
  "packaging/!(module).test.ts",
  "runtimes/!(environments).test.ts",
  "shards/{forged,totals}.test.ts",
].map((suites) => `--exclude=test/${suites}`);
const onNewer = { XENT_VARIANT: "relaxed", NODE_COMPILE_CACHE: join(tools, "compile-cache") };

const steps = [
  ["cargo", ["fmt", "--all", "--check"]],
  [
    "cargo",
    [
      "clippy",
      "--quiet",
      "--workspace",
      "--exclude",
      "xent-wasm",
      "--exclude",
      "xent-linear-wasm",
      "--all-targets",
      "--",
      "-D",
      "warnings",
    ],
  ],
  ["cargo", nextest ? ["nextest", "run", "--release"] : ["test", "--release", "--quiet"]],
  [bin("biome"), ["ci", "--error-on-warnings"]],
  [bin("tsc"), ["-p", "test"]],
  [bin("tsc"), ["-p", "packages/playground"]],
  [process.execPath, hasNewer ? [...vitest, ...once, "--passWithNoTests"] : vitest],
  ...(hasNewer ? [[newer, vitest, onNewer]] : []),
];

for (const [command, args, env] of steps) {
  console.log(`\ntest: ${[command, ...args].join(" ").replaceAll(root, "")}`);
  const start = performance.now();
  const { status, error } = spawnSync(command, args, {
    cwd: root,
    stdio: ["ignore", "inherit", "inherit"],
    env: { ...process.env, ...env },
  });
  const seconds = ((performance.now() - start) / 1000).toFixed(1);
  if (error) throw error;
  if (status !== 0) {
    console.error(`test stopped: this step ended with status ${status}`);
    process.exit(1);
  }
  console.log(`test: ${seconds} s`);
}
console.log("\ntest: everything passed");
