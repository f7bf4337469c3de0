import { availableParallelism } from "node:os";
import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    testTimeout: 60_000,
    pool: "forks",
    // At least two: many suites wait for processes, browsers and Redis.
    maxWorkers: Math.max(2, availableParallelism() - 1),
  },
});
