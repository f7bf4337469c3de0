// No test can run the workflows of GitHub Actions: these are rules for their text.
import { spawnSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { parseDocument } from "yaml";

interface Step {
  uses?: string;
  run?: string;
  with?: Record<string, unknown>;
}
interface Job {
  uses?: string;
  steps?: Step[];
  permissions?: Record<string, string>;
  "timeout-minutes"?: number;
}
interface Workflow {
  permissions?: Record<string, string>;
  concurrency?: unknown;
  jobs: Record<string, Job>;
}

const root = new URL("../../", import.meta.url);
const folder = new URL(".github/workflows/", root);
const { scripts } = JSON.parse(readFileSync(new URL("package.json", root), "utf8"));

/** The jobs that may do more than read. */
const writers: Record<string, string[]> = {
  "release.yml/npm": ["id-token"],
  "release.yml/jsr": ["id-token"],
  "site.yml/publish": ["pages", "id-token"],
};

describe.each(readdirSync(folder))("%s", (file) => {
  const text = readFileSync(new URL(file, folder), "utf8");
  const document = parseDocument(text);
  const { permissions, concurrency, jobs } = document.toJS() as Workflow;
  const steps = Object.values(jobs).flatMap((job) => job.steps ?? []);

  test("is YAML", () => {
    expect([...document.errors, ...document.warnings]).toEqual([]);
  });

  test("names every action by a commit, with its version in a comment", () => {
    const uses = text.match(/uses: .*/g) ?? [];
    expect(uses.length).toBe([...Object.values(jobs), ...steps].filter((item) => item.uses).length);
    const pinned = /^uses: (\.\/[\w./-]+|[\w-]+\/[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+)$/;
    expect(uses.filter((line) => !pinned.test(line))).toEqual([]);
  });

  test("grants rights only to jobs, and only publishing jobs may do more than read", () => {
    expect(permissions).toEqual({});
    for (const [name, job] of Object.entries(jobs)) {
      expect(job.permissions, name).toHaveProperty("contents", "read");
      const rights = Object.entries(job.permissions ?? {}).filter(([, right]) => right !== "read");
      expect(
        rights.map(([scope]) => scope),
        name,
      ).toEqual(writers[`${file}/${name}`] ?? []);
    }
  });

  test("leaves no credentials in the checkout", () => {
    for (const step of steps.filter(({ uses }) => uses?.startsWith("actions/checkout@"))) {
      expect(step.with).toHaveProperty("persist-credentials", false);
    }
  });

  test("has a timeout for every job, and a rule for concurrent runs", () => {
    expect(concurrency).toBeDefined();
    for (const [name, job] of Object.entries(jobs)) {
      if (!job.uses) expect(job["timeout-minutes"], name).toBeLessThanOrEqual(30);
    }
  });

  test("runs scripts that exist, and puts no expression into a shell", () => {
    const commands = steps.flatMap(({ run }) => run ?? []);
    expect(commands.join("\n")).not.toContain("${{");
    for (const [, script = ""] of commands.join("\n").matchAll(/npm run (\S+)/g))
      expect(scripts).toHaveProperty(script);
  });
});

test("the nightly workflow runs every search", () => {
  const { search } = parseDocument(readFileSync(new URL("nightly.yml", folder), "utf8")).toJS().jobs.search.strategy
    .matrix;
  const { stderr } = spawnSync(process.execPath, [fileURLToPath(new URL("scripts/search.mjs", root))], {
    encoding: "utf8",
  });
  const names = Array.from(stderr.matchAll(/^([a-z]+)/gm), ([name]) => name).filter((name) => name !== "usage");
  expect(names.length).toBeGreaterThan(5);
  expect(search.map((args: string) => args.split(" ")[0])).toEqual(names);
});
