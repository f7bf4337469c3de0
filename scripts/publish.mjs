// npm run release: publishes packages/xent to npm, with provenance. Refuses a version without its tag and its heading in the CHANGELOG.
// The workflow "release" runs it when a tag is pushed. --dry-run does the same on any machine, without the upload.
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { output, root } from "./toolchain.mjs";

const dryRun = process.argv.includes("--dry-run");
const core = join(root, "packages/xent");
const read = (path) => readFileSync(join(root, path), "utf8");
const git = (...args) => output("git", ["-C", root, ...args]);

const { version, repository } = JSON.parse(read("packages/xent/package.json"));
const tag = `v${version}`;
const tagged = git("rev-parse", "--quiet", "--verify", `refs/tags/${tag}^{commit}`);

const faults = [
  git("status", "--porcelain") !== "" && "the working tree has changes that are not committed",
  !read("CHANGELOG.md").includes(`\n## [${version}]`) && `CHANGELOG.md has no heading "## [${version}]"`,
  JSON.parse(read("packages/xent/jsr.json")).version !== version && `packages/xent/jsr.json has another version`,
  tagged !== undefined && tagged !== git("rev-parse", "HEAD") && `the tag ${tag} exists, on another commit`,
].filter(Boolean);

const missing = [
  tagged === undefined && `this commit has no tag ${tag}`,
  !repository && "packages/xent/package.json has no repository, which npm compares with the provenance",
].filter(Boolean);

const steps = [
  [
    process.execPath,
    [
      join(root, "node_modules/vitest/vitest.mjs"),
      "run",
      "test/packaging/package.test.ts",
      "test/packaging/lint.test.ts",
    ],
    root,
  ],
  ["npm", ["publish", "--provenance", "--access", "public", ...(dryRun ? ["--dry-run"] : [])], core],
];

const refused = dryRun ? faults : [...faults, ...missing];
if (refused.length > 0) {
  for (const reason of refused) console.error(`release refused: ${reason}`);
  process.exit(1);
}
for (const [command, args, cwd] of steps) {
  const { status, error } = spawnSync(command, args, { cwd, stdio: ["ignore", "inherit", "inherit"] });
  if (error) throw error;
  if (status !== 0) {
    console.error(`release stopped: "${command} ${args.join(" ")}" ended with status ${status}`);
    process.exit(1);
  }
}
if (dryRun) for (const reason of missing) console.log(`still missing for a release: ${reason}`);
