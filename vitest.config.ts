import { availableParallelism } from "node:os";
import { defineConfig } from "vitest/config";

export default defineConfig({
  // How long each suite took, for each version of Node.js: the longest one begins first.
  cacheDir: `node_modules/.vitest/${process.version}`,
  test: {
    include: ["test/**/*.test.ts"],
    // Far above the times on an idle machine: others share it.
    testTimeout: 60_000,
    hookTimeout: 60_000,
    expect: { poll: { timeout: 20_000 } },
    pool: "forks",
    // One more than cores, since many suites wait for processes, browsers and Redis.
    maxWorkers: Number(process.env["XENT_WORKERS"] ?? availableParallelism() + 1),
  },
});
