// Builds the wasm32 target if rustup cannot fetch it, with Debian's Rust and its packaged sources of the standard library.
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { debianRustc, output, target } from "./toolchain.mjs";

export function buildDebianStd() {
  if (!existsSync("/usr/bin/apt-get")) {
    throw new Error(
      `run "rustup target add ${target}" (or install your distribution's Rust with this target), then try again`,
    );
  }
  console.log("    rustup cannot fetch it here; building it with Debian's Rust and its packaged sources");
  const admin = process.getuid?.() === 0 ? [] : ["sudo"];
  const apt = (...args) => run([...admin, "apt-get", ...args][0], [...admin, "apt-get", ...args].slice(1));
  apt("update", "-qq");
  apt("install", "-y", "-qq", "--no-install-recommends", "rustc-web", "cargo-web", "rust-web-src", "lld-22");

  const crate = mkdtempSync(join(tmpdir(), "xent-std-"));
  const write = (file, text) => writeFileSync(join(crate, file), text);
  mkdirSync(join(crate, "src"));
  mkdirSync(join(crate, ".cargo"));
  write("Cargo.toml", `[package]\nname = "empty"\nversion = "0.0.0"\nedition = "2021"\n`);
  write("src/lib.rs", "");
  write(
    ".cargo/config.toml",
    `[source.crates-io]\nreplace-with = "vendored"\n[source.vendored]\ndirectory = "/usr/lib/rustlib/src/rust/library/vendor"\n`,
  );
  run(
    "/usr/bin/cargo",
    ["build", "--quiet", "--release", "--target", target, "-Z", "build-std=std,panic_abort,proc_macro,test"],
    {
      cwd: crate,
      // RUSTC_BOOTSTRAP: build-std is unstable. embed-bitcode: LTO of the kernel needs it.
      env: { ...process.env, RUSTC: debianRustc, RUSTC_BOOTSTRAP: "1", RUSTFLAGS: "-C embed-bitcode=yes" },
    },
  );

  const host = /host: (.*)/.exec(output(debianRustc, ["-vV"]))[1];
  const built = join(crate, "target", target, "release/deps");
  const place = `/usr/lib/rustlib/${target}/lib`;
  const linker = output("sh", ["-c", "command -v rust-lld"]) ?? "/usr/lib/llvm-22/bin/lld";
  const script = [
    `rm -rf ${place}`, // two builds of std side by side fail with E0464
    `mkdir -p ${place} /usr/lib/rustlib/${host}/bin`,
    ...readdirSync(built)
      .filter((file) => file.endsWith(".rlib") && !file.startsWith("libempty"))
      .map((file) => `cp ${join(built, file)} ${place}`),
    `ln -sf ${linker} /usr/lib/rustlib/${host}/bin/rust-lld`,
  ].join(" && ");
  run([...admin, "sh", "-c", script][0], [...admin, "sh", "-c", script].slice(1));
  rmSync(crate, { recursive: true });
}

function run(command, args, options = {}) {
  const { status, error } = spawnSync(command, args, { stdio: ["ignore", "inherit", "inherit"], ...options });
  if (error) throw error;
  if (status !== 0) throw new Error(`"${command} ${args.join(" ")}" ended with status ${status}`);
}
