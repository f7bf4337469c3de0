// Everything that must hold, cheapest first. Arguments are passed on to vitest.
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { output, root, tools } from "./toolchain.mjs";

const bin = (name) => join(root, "node_modules/.bin", name);
const nextest = output("cargo", ["nextest", "--version"]) !== undefined;
// A newer engine beside the one that runs this, if this is an older one: it takes the relaxed variant, which Node 20 refuses.
const newer = join(root, "test/runtimes/node_modules/node-24/bin/node");
const hasNewer = existsSync(newer) && !process.version.startsWith("v24.");
const vitest = [join(root, "node_modules/vitest/vitest.mjs"), "run", ...process.argv.slice(2)];
// What depends on neither engine nor variant, or starts the engines that it is about, runs once: on the newer one, whose processes start
// in half the time. npm and npx run with the older one in any case. The bits of simd128 on every engine are those of runtimes.test.ts:
// the newer one takes the relaxed variant only.
const once = [
  "cli/!(evaluate|explain|processes).test.ts",
  "{docs,queue,recipes,scripts}/**",
  "packaging/!(module).test.ts",
  "runtimes/runtimes.test.ts",
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
    console.error(`test stopped: that ended with status ${status}`);
    process.exit(1);
  }
  console.log(`test: ${seconds} s`);
}
console.log("\ntest: all of it passed");
