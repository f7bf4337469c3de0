// Checks that two clean builds in different folders give the same bytes in packages/xent/dist. Both use the sources that git tracks
// or would add, and the tools of this folder.
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { output, root } from "./toolchain.mjs";

const files = output("git", ["-C", root, "ls-files", "-co", "--exclude-standard"]).split("\n");

function build(folder) {
  for (const file of files) {
    mkdirSync(dirname(join(folder, file)), { recursive: true });
    cpSync(join(root, file), join(folder, file));
  }
  mkdirSync(join(folder, ".tools"));
  symlinkSync(join(root, ".tools/bin"), join(folder, ".tools/bin"));
  symlinkSync(join(root, "node_modules"), join(folder, "node_modules"));
  const { status } = spawnSync(process.execPath, ["scripts/build.mjs"], { cwd: folder, stdio: "inherit" });
  if (status !== 0) throw new Error("the build failed");
  const dist = join(folder, "packages/xent/dist");
  const made = readdirSync(dist, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  return made
    .map(({ parentPath, name }) => join(parentPath, name))
    .map((path) => [path.slice(dist.length + 1), createHash("sha256").update(readFileSync(path)).digest("hex")])
    .sort(([a], [b]) => (a < b ? -1 : 1));
}

const place = mkdtempSync(join(tmpdir(), "reproduce-"));
try {
  const [one, other] = ["a", "another/and/longer path"].map((name) => build(join(place, name)));
  const different = one.filter(([, hash], index) => hash !== other[index]?.[1]);
  for (const [file, hash] of one.filter(([file]) => file.endsWith(".wasm"))) console.log(`${hash}  ${file}`);
  for (const [file] of different) console.error(`differs: ${file}`);
  if (different.length > 0 || one.length !== other.length) process.exitCode = 1;
  else console.log(`reproduce: ${one.length} files, the same bytes in both folders`);
} finally {
  rmSync(place, { recursive: true });
}
