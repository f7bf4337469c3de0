// The property suites with as many cases as you like: npm run properties -- --cases 1000000. A failure prints the smallest case
// that fails, and the command that shows it again.
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { root } from "./toolchain.mjs";

const { values } = parseArgs({
  options: {
    cases: { type: "string", default: "10000" },
    seed: { type: "string", default: String(Math.floor(Math.random() * 2 ** 31)) },
    // The number of one case, and a pattern of the one test that it is a case of.
    path: { type: "string" },
    test: { type: "string" },
  },
});
const { cases, seed, path, test } = values;
if (!(Number(cases) >= 1)) {
  console.error("usage: npm run properties -- [--cases N] [--seed N] [--path N --test PATTERN]");
  process.exit(2);
}

console.log(`properties: ${cases} cases, seed ${seed}`);
const vitest = [
  join(root, "node_modules/vitest/vitest.mjs"),
  "run",
  "test/numerics/properties.test.ts",
  "test/numerics/model.test.ts",
];
const { status, error } = spawnSync(
  process.execPath,
  [
    ...vitest,
    "--testTimeout=0",
    "--maxWorkers=1",
    "--disable-console-intercept",
    ...(test ? ["--testNamePattern", test] : []),
  ],
  {
    cwd: root,
    stdio: ["ignore", "inherit", "inherit"],
    env: { ...process.env, XENT_CASES: cases, XENT_SEED: seed, ...(path ? { XENT_PATH: path } : {}) },
  },
);
if (error) throw error;
process.exit(status ?? 1);
