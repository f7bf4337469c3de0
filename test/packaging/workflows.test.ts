// The workflows of GitHub Actions, which no test can run: what must hold of their text.
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

/** Which jobs may do more than read. */
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

  test("names every action by a commit, and says which version that is", () => {
    const uses = text.match(/uses: .*/g) ?? [];
    expect(uses.length).toBe([...Object.values(jobs), ...steps].filter((item) => item.uses).length);
    const pinned = /^uses: (\.\/[\w./-]+|[\w-]+\/[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+)$/;
    expect(uses.filter((line) => !pinned.test(line))).toEqual([]);
  });

  test("gives no rights but those that a job names, and none but reading to any but the publishing ones", () => {
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

  test("ends every job after a time, and says what becomes of two at once", () => {
    expect(concurrency).toBeDefined();
    for (const [name, job] of Object.entries(jobs)) {
      if (!job.uses) expect(job["timeout-minutes"], name).toBeLessThanOrEqual(30);
    }
  });

  test("runs what exists, and puts no expression into a shell", () => {
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
