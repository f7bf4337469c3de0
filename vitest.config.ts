import { availableParallelism } from "node:os";
import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    testTimeout: 60_000,
    pool: "forks",
    // One more than cores, since many suites wait for processes, browsers and Redis.
    maxWorkers: availableParallelism() + 1,
  },
});
