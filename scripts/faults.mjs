// The fault bench of the queue, again and again, each fault --longer times as long as in the tests: npm run faults -- --minutes 60
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { root } from "./toolchain.mjs";

const { values } = parseArgs({
  options: { minutes: { type: "string", default: "60" }, longer: { type: "string", default: "3" } },
});
const [minutes, longer] = [Number(values.minutes), Number(values.longer)];
if (!(minutes > 0 && longer >= 1)) {
  console.error("usage: npm run faults -- [--minutes N] [--longer N]");
  process.exit(2);
}
const vitest = [
  join(root, "node_modules/vitest/vitest.mjs"),
  "run",
  "test/queue/faults.test.ts",
  "--testTimeout=600000",
];
const until = performance.now() + 60_000 * minutes;
for (let round = 1; performance.now() < until; round++) {
  console.log(`faults: round ${round}`);
  const { status, error } = spawnSync(process.execPath, vitest, {
    cwd: root,
    stdio: ["ignore", "inherit", "inherit"],
    env: { ...process.env, XENT_FAULTS: String(longer) },
  });
  if (error) throw error;
  if (status !== 0) process.exit(1);
}
