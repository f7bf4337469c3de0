// Mutated files, tasks and answers, for as long as --minutes says: test/support/file-fuzzer.ts reads them, and says what must hold. It
// begins with what is good and with fuzz/corpus/files, and with --keep adds to that what was refused in a new way. A finding ends
// it, and is printed in base64 with its seed.
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { root } from "./toolchain.mjs";

const { values } = parseArgs({
  options: {
    minutes: { type: "string", default: "60" },
    seed: { type: "string", default: String(Math.floor(Math.random() * 2 ** 31)) },
    keep: { type: "boolean" },
  },
});
const [minutes, seed] = [Number(values.minutes), Number(values.seed)];
if (!(minutes > 0 && Number.isInteger(seed))) {
  console.error("usage: npm run fuzz-files -- [--minutes N] [--seed N] [--keep]");
  process.exit(2);
}
console.log(`fuzz-files: ${minutes} minutes, seed ${seed}`);
const { status, error } = spawnSync(
  process.execPath,
  [join(root, "node_modules/vitest/vitest.mjs"), "run", "test/cli/fuzz-files.test.ts", "--disable-console-intercept"],
  {
    cwd: root,
    stdio: ["ignore", "inherit", "inherit"],
    env: {
      ...process.env,
      ...{ XENT_SECONDS: String(60 * minutes), XENT_SEED: String(seed) },
      ...(values.keep ? { XENT_KEEP: "1" } : {}),
    },
  },
);
if (error) throw error;
process.exit(status ?? 1);
