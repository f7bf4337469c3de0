// scripts/publish.mjs in a repository of its own, with a stub of the package checks: what it refuses, and what it runs.
import { execFileSync, spawnSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { devNull, tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeEach, describe, expect, test } from "vitest";

const root = fileURLToPath(new URL("../..", import.meta.url));
const repository = mkdtempSync(join(tmpdir(), "xent-release-"));
const manifest = { name: "xent", version: "7.8.9", repository: "github:nobody/nothing" };

function write(path: string, content: unknown): void {
  mkdirSync(dirname(join(repository, path)), { recursive: true });
  writeFileSync(join(repository, path), typeof content === "string" ? content : JSON.stringify(content));
}

function git(...args: string[]): void {
  execFileSync("git", ["-c", "user.name=test", "-c", "user.email=test@localhost", ...args], {
    cwd: repository,
    env: { ...process.env, GIT_CONFIG_GLOBAL: devNull },
  });
}

function commit(): void {
  git("add", "--all");
  git("commit", "--quiet", "--allow-empty", "--message", "change");
}

function release(...args: string[]): { status: number | null; text: string } {
  const { status, stdout, stderr } = spawnSync(process.execPath, ["scripts/publish.mjs", ...args], {
    cwd: repository,
    encoding: "utf8",
    // Without a registry: npm would look up the version there, and a broken script would publish to it.
    env: { ...process.env, npm_config_offline: "true", npm_config_registry: "http://127.0.0.1:9/" },
  });
  return { status, text: stdout + stderr };
}

beforeEach(() => {
  rmSync(repository, { recursive: true });
  for (const script of ["scripts/publish.mjs", "scripts/toolchain.mjs"]) {
    cpSync(join(root, script), join(repository, script));
  }
  write("CHANGELOG.md", "# Changelog\n\n## [7.8.9] - 2026-01-01\n");
  write("packages/xent/package.json", manifest);
  write("packages/xent/jsr.json", { version: "7.8.9" });
  write(".gitignore", "node_modules");
  write("node_modules/vitest/vitest.mjs", 'console.log("checks", ...process.argv.slice(2));');
  git("init", "--quiet");
  commit();
});

afterAll(() => rmSync(repository, { recursive: true }));

describe("a dry run", () => {
  test("runs the checks of the package, then npm publish with provenance, and uploads nothing", () => {
    const { status, text } = release("--dry-run");
    expect(status, text).toBe(0);
    expect(text).toMatch(/^checks run test\/packaging\/package\.test\.ts test\/packaging\/lint\.test\.ts$/m);
    expect(text).toMatch(/^\+ xent@7\.8\.9$/m);
    expect(text).toContain("public access (dry-run)");
  });

  test("publishes nothing if a check fails", () => {
    write("node_modules/vitest/vitest.mjs", "process.exit(3);");
    const { status, text } = release("--dry-run");
    expect(status).toBe(1);
    expect(text).toContain("ended with status 3");
    expect(text).not.toContain("xent@7.8.9");
  });

  test("tells what a release still lacks", () => {
    write("packages/xent/package.json", { ...manifest, repository: undefined });
    commit();
    const { status, text } = release("--dry-run");
    expect(status, text).toBe(0);
    expect(text).toContain("still missing for a release: this commit has no tag v7.8.9");
    expect(text).toContain("still missing for a release: packages/xent/package.json has no repository");
  });
});

describe("a release is refused, before anything runs,", () => {
  const committed = (path: string, content: unknown) => () => {
    write(path, content);
    commit();
  };

  test.each<[string, () => void, string]>([
    ["from a dirty tree", () => write("new.txt", "new"), "the working tree has changes that are not committed"],
    [
      "of a version without a heading in the CHANGELOG",
      committed("CHANGELOG.md", "# Changelog\n\n## [Unreleased]\n\n- not ## [7.8.9]\n"),
      'CHANGELOG.md has no heading "## [7.8.9]"',
    ],
    [
      "of another version than JSR's",
      committed("packages/xent/jsr.json", { version: "7.8.8" }),
      "packages/xent/jsr.json has another version",
    ],
    [
      "of a version that an earlier commit has the tag of",
      () => {
        git("tag", "v7.8.9");
        commit();
      },
      "the tag v7.8.9 exists, on another commit",
    ],
  ])("%s", (_, change, reason) => {
    change();
    const { status, text } = release("--dry-run");
    expect(status).toBe(1);
    expect(text).toBe(`release refused: ${reason}\n`);
  });

  test("from a commit that its tag does not name, unless it is a dry run", () => {
    const { status, text } = release();
    expect(status).toBe(1);
    expect(text).toBe("release refused: this commit has no tag v7.8.9\n");
  });

  test("without the repository that npm compares with the provenance, unless it is a dry run", () => {
    write("packages/xent/package.json", { ...manifest, repository: undefined });
    commit();
    git("tag", "v7.8.9");
    const { status, text } = release();
    expect(status).toBe(1);
    expect(text).toMatch(/^release refused: packages\/xent\/package\.json has no repository, .*\n$/);
  });
});
