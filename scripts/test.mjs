// Runs all checks: the cheap ones, and if they pass the suites. Passes its arguments on to vitest.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { availableParallelism } from "node:os";
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
const runOnce = [
  "cli/!(evaluate|explain|processes).test.ts",
  "{docs,queue,recipes,scripts}/**",
  // Addresses, sums and bytes that are computed in TypeScript alone.
  "memory/allocator.test.ts",
  "packaging/!(variants).test.ts",
  "runtimes/!(environments).test.ts",
  "shards/{forged,totals}.test.ts",
].map((suites) => `--exclude=test/${suites}`);
const onNewer = { XENT_VARIANT: "relaxed", NODE_COMPILE_CACHE: join(tools, "compile-cache") };
// Both run at the same time. Most suites that wait for processes, browsers and Redis run on the newer one.
const onOlder = { XENT_WORKERS: `${availableParallelism()}` };

const clippy = ["clippy", "--quiet", "--workspace", "--exclude", "xent-wasm", "--exclude", "xent-linear-wasm"];
const cheap = [
  [
    ["cargo", ["fmt", "--all", "--check"]],
    ["cargo", [...clippy, "--all-targets", "--", "-D", "warnings"]],
    ["cargo", nextest ? ["nextest", "run", "--release"] : ["test", "--release", "--quiet"]],
  ],
  [
    [bin("biome"), ["ci", "--error-on-warnings"]],
    [bin("tsc"), ["-p", "test"]],
    [bin("tsc"), ["-p", "packages/playground"]],
  ],
];
const suites = hasNewer
  ? [[[newer, vitest, onNewer]], [[process.execPath, [...vitest, ...runOnce, "--passWithNoTests"], onOlder]]]
  : [[[process.execPath, vitest]]];

/** Runs chains of commands at the same time. The first one prints at once, the others when all have ended. Returns what has failed. */
async function atOnce([first, ...others]) {
  const [failed, ...ends] = await Promise.all([chain(first), ...others.map((commands) => chain(commands, []))]);
  for (const { text } of ends) process.stdout.write(text);
  return [failed, ...ends].flatMap(({ failure }) => failure ?? []);
}

/** Runs commands one after the other, until one fails. With `kept`, their output is kept. */
async function chain(commands, kept) {
  const print = (line) => (kept ? kept.push(Buffer.from(`${line}\n`)) : console.log(line));
  const ended = (failure) => ({ failure, text: kept && Buffer.concat(kept) });
  for (const [command, args, env] of commands) {
    const shown = [command, ...args].join(" ").replaceAll(root, "");
    print(`\ntest: ${shown}`);
    const start = performance.now();
    const output = kept ? "pipe" : "inherit";
    const child = spawn(command, args, {
      cwd: root,
      stdio: ["ignore", output, output],
      env: { ...process.env, ...env },
    });
    for (const stream of [child.stdout, child.stderr]) stream?.on("data", (chunk) => kept.push(chunk));
    const [status, signal] = await once(child, "close");
    if (status !== 0) return ended(`status ${status ?? signal} of ${shown}`);
    print(`test: ${((performance.now() - start) / 1000).toFixed(1)} s`);
  }
  return ended();
}

for (const chains of [cheap, suites]) {
  const failures = await atOnce(chains);
  for (const failure of failures) console.error(`\ntest failed: ${failure}`);
  if (failures.length > 0) process.exit(1);
}
console.log("\ntest: everything passed");
