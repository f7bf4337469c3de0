// Checks the dependencies: licences, sources and versions of the crates (cargo-deny, deny.toml), known vulnerabilities of crates and
// npm packages, and exact versions everywhere. A check that the network does not answer is reported as "?", not as a fault.
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { output, root, tools } from "./toolchain.mjs";
import { ofCargo, ofNpm } from "./verdict.mjs";

const tracked = output("git", ["-C", root, "ls-files"]).split("\n");
const read = (file) => readFileSync(join(root, file), "utf8");
let faults = 0;

function say(what, fault) {
  if (fault) faults++;
  console.log(`${fault ? "FAULT" : "ok   "} ${what}`);
}

for (const file of tracked.filter((file) => /(^|\/)package\.json$/.test(file))) {
  const manifest = JSON.parse(read(file));
  const all = Object.entries({
    ...manifest.dependencies,
    ...manifest.devDependencies,
    ...manifest.optionalDependencies,
  });
  // "*" and file: are packages of this workspace.
  const loose = all.filter(([, version]) => !/^(npm:[@\w/.-]+@)?\d+\.\d+\.\d+([-+][\w.]+)?$|^\*$|^file:/.test(version));
  say(`${file}: ${loose.length ? `not pinned: ${loose.join(", ")}` : "every version is exact"}`, loose.length > 0);
}
for (const file of tracked.filter((file) => /(^|\/)Cargo\.toml$/.test(file))) {
  const loose = read(file)
    .match(/^[\w-]+ = (?:"\^?\d[^"]*"|\{[^}]*version = "[^=][^}]*)$/gm)
    ?.filter((line) => !/^(version|edition|rust-version|resolver)/.test(line));
  say(`${file}: ${loose?.length ? `not pinned: ${loose}` : "every version is exact"}`, loose?.length > 0);
}

function ask(what, command, args, cwd, verdictOf) {
  // Without a network, npm and cargo try again for minutes.
  const { status, stdout, stderr } = spawnSync(command, args, { cwd, encoding: "utf8", timeout: 180_000 });
  const verdict = verdictOf({ status, stdout, stderr });
  if (verdict === "unreachable") console.log(`?     ${what}: unknown, because the network does not answer`);
  else {
    if (verdict === "fault") console.log(`${stdout}${stderr}`);
    say(what, verdict === "fault");
  }
}

const deny = join(tools, "bin/cargo-deny");
for (const manifest of ["Cargo.toml", "fuzz/Cargo.toml"]) {
  const args = ["--manifest-path", manifest, "--config", join(root, "deny.toml"), "--log-level", "error", "check"];
  ask(
    `${manifest}: licences, sources, one version each`,
    deny,
    [...args, "bans", "licenses", "sources"],
    root,
    ofCargo,
  );
  ask(`${manifest}: no known vulnerability`, deny, [...args, "advisories"], root, ofCargo);
}
for (const file of tracked.filter((file) => /(^|\/)package-lock\.json$/.test(file))) {
  const args = ["audit", "--json", "--fetch-retries=0"];
  ask(`${file}: no known vulnerability`, "npm", args, join(root, file, ".."), ofNpm);
}
process.exit(faults > 0 ? 1 : 0);
