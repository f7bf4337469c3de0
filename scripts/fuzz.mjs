// Any bytes as a job of the kernel, for as long as --minutes says: libFuzzer with AddressSanitizer, and all that must hold of every
// job (crates/kernel/tests/common/bytes.rs). It begins with fuzz/corpus/job, and with --merge adds to that what reaches more
// code. What it finds is printed, and kept in target/fuzz/found. Needed: a C++ compiler, Linux.
import { spawnSync } from "node:child_process";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { output, root } from "./toolchain.mjs";

const { values } = parseArgs({ options: { minutes: { type: "string", default: "15" }, merge: { type: "boolean" } } });
const host = /host: (.*)/.exec(output("rustc", ["-vV"]))[1];
// What `cargo fuzz` passes, which would be one more thing to install.
const coverage = ["level=4", "inline-8bit-counters", "pc-table", "trace-compares"];
const flags = [
  "-Zsanitizer=address",
  "--cfg=fuzzing",
  "-Cpasses=sancov-module",
  ...coverage.map((what) => `-Cllvm-args=-sanitizer-coverage-${what}`),
];
const folder = join(root, "target/fuzz");
const [found, all, kept] = [join(folder, "found/"), join(folder, "corpus"), join(root, "fuzz/corpus/job")];
for (const path of [found, all, kept]) mkdirSync(path, { recursive: true });

run("cargo", ["build", "--release", "--locked", "--manifest-path", "fuzz/Cargo.toml", "--target", host], {
  // The sanitizer is unstable, and its runtime comes with the stable compiler.
  env: { ...process.env, RUSTC_BOOTSTRAP: "1", RUSTFLAGS: flags.join(" "), CARGO_TARGET_DIR: folder },
});
const job = join(folder, host, "release/job");
if (values.merge) run(job, ["-set_cover_merge=1", "-max_len=512", kept, all]);
else {
  const seconds = Math.round(60 * Number(values.minutes));
  const options = ["-max_len=2048", "-timeout=20", "-print_final_stats=1", `-artifact_prefix=${found}`];
  run(job, [...options, `-max_total_time=${seconds}`, all, kept]);
}

function run(command, args, options = {}) {
  const { status, error } = spawnSync(command, args, {
    cwd: root,
    stdio: ["ignore", "inherit", "inherit"],
    ...options,
  });
  if (error) throw error;
  if (status !== 0) process.exit(1);
}
