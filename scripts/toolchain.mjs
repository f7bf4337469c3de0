// Pins the tools outside of npm and Cargo.lock, and chooses between them for the scripts.
import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { delimiter, join } from "node:path";
import { fileURLToPath } from "node:url";

export const versions = {
  wasmPack: "0.15.1",
  // Must equal the wasm-bindgen in Cargo.lock: the CLI refuses any other.
  wasmBindgen: "0.2.130",
  // Installed on demand.
  cargoDeny: "0.20.2",
  cargoFuzz: "0.13.2",
  cargoMutants: "27.1.0",
};

// rustup may be unable to fetch the target of rust-toolchain.toml. Cargo must run nevertheless, until the set-up has built the target.
process.env.RUSTUP_AUTO_INSTALL ??= "0";

export const root = fileURLToPath(new URL("..", import.meta.url));
export const tools = join(root, ".tools");
export const target = "wasm32-unknown-unknown";

/** Debian's Rust, beside rustup's. It builds the wasm only if rustup cannot fetch the target. */
export const debianRustc = "/usr/bin/rustc";
const debianStd = `/usr/lib/rustlib/${target}/lib`;

/** The trimmed standard output of a command, or undefined if it cannot run. */
export function output(command, args) {
  try {
    return execFileSync(command, args, { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }).trim();
  } catch {
    return undefined;
  }
}

function hasStd(rustc) {
  const sysroot = output(rustc, ["--print", "sysroot"]);
  return sysroot !== undefined && existsSync(join(sysroot, "lib/rustlib", target, "lib"));
}

/** Which compiler can build for wasm32: "default" (the one on PATH), "debian", or undefined. */
export function wasmCompiler() {
  if (hasStd("rustc")) return "default";
  if (existsSync(debianStd) && existsSync(debianRustc)) return "debian";
  return undefined;
}

/** The environment in which `wasm-pack build` finds its compiler, wasm-bindgen and wasm-opt. */
export function wasmEnvironment(rustflags) {
  const path = [join(tools, "bin"), join(root, "node_modules/.bin"), process.env.PATH];
  if (wasmCompiler() === "debian") path.unshift("/usr/bin");
  return { ...process.env, PATH: path.join(delimiter), RUSTFLAGS: rustflags.join(" ") };
}
