// The kernel's Rust tests with AddressSanitizer (Linux), and those of the corpus under valgrind, if there is one: whether the scalar
// kernel touches memory that no job has given it.
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { output, root } from "./toolchain.mjs";

const host = /host: (.*)/.exec(output("rustc", ["-vV"]))[1];
const test = ["test", "--profile", "mutants", "-p", "xent-kernel", "--target", host];

function run(command, args, env) {
  const { status, error } = spawnSync(command, args, {
    cwd: root,
    stdio: ["ignore", "inherit", "inherit"],
    env: { ...process.env, ...env },
  });
  if (error) throw error;
  if (status !== 0) process.exit(1);
}

// The sanitizer is unstable, and its runtime comes with the stable compiler.
run("cargo", [...test, "--tests"], {
  RUSTC_BOOTSTRAP: "1",
  RUSTFLAGS: "-Zsanitizer=address",
  CARGO_TARGET_DIR: join(root, "target/sanitize"),
});
if (output("valgrind", ["--version"]) === undefined) console.log("sanitize: no valgrind here");
else {
  run("cargo", [...test, "--test", "corpus", "--test", "structure"], {
    [`CARGO_TARGET_${host.toUpperCase().replaceAll("-", "_")}_RUNNER`]: "valgrind --quiet --error-exitcode=9",
    CARGO_TARGET_DIR: join(root, "target/valgrind"),
  });
}
