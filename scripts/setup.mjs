// Installs what a build of xent needs: uses what the machine has, else the standard installers, else builds from a
// registry's sources. Does nothing the second time. --tests, --bench, --release, --fuzz, --mutants, --supply-chain and --site
// also install what these commands need.
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { findArm64, installArm64 } from "./arm64.mjs";
import { findChromium, findFirefox, findWebKit, installChromium, installFirefox, installWebKit } from "./browser.mjs";
import { buildDebianStd } from "./debian-std.mjs";
import { findRedis, installRedis } from "./redis.mjs";
import { output, root, target, tools, versions, wasmCompiler } from "./toolchain.mjs";

const [tests, bench, release, supplyChain, fuzz, mutants, site] = [
  "tests",
  "bench",
  "release",
  "supply-chain",
  "fuzz",
  "mutants",
  "site",
].map((flag) => process.argv.includes(`--${flag}`));

// Both tools only rewrite a few KB of wasm: compile time matters, their own speed does not.
const quickBuild = {
  CARGO_PROFILE_RELEASE_OPT_LEVEL: "0",
  CARGO_PROFILE_RELEASE_DEBUG: "0",
  CARGO_PROFILE_RELEASE_LTO: "off",
  CARGO_PROFILE_RELEASE_CODEGEN_UNITS: "64",
};

/** Tools of some tests, which are skipped without them. */
const optional = [
  optionalTool("Chromium for the tests", "60 s", "CHROMIUM", findChromium, installChromium),
  optionalTool("Firefox for the tests", "30 s", "FIREFOX", findFirefox, installFirefox),
  optionalTool("WebKit for the tests", "60 s", undefined, findWebKit, installWebKit),
  optionalTool("arm64's Node.js for the tests", "30 s", undefined, findArm64, installArm64),
  optionalTool("Redis for the tests", "10 s", undefined, findRedis, installRedis),
];

const steps = [
  npmPackages("npm packages", ".", []),
  // Published binaries. npm skips those that do not exist for this platform.
  ...(tests || bench || release
    ? [npmPackages("Node.js 20 to 26, Deno and Bun", "test/runtimes", ["--no-bin-links"])]
    : []),
  ...(tests || release ? [npmPackages("bundlers and package linters", "test/packaging", [])] : []),
  ...(site ? [npmPackages("VitePress", "site", [])] : []),
  ...(tests
    ? [npmPackages("the packages of the recipes, for the tests: 180 MB to download", "test/recipes", []), ...optional]
    : []),
  {
    name: "Rust",
    expect: "",
    done: () => output("cargo", ["--version"]) !== undefined,
    run() {
      // rustup installs the toolchain of rust-toolchain.toml.
      if (output("rustup", ["toolchain", "install"]) !== undefined) return;
      throw new Error("cargo is not on PATH: install Rust 1.90 or later from https://rustup.rs and run this again");
    },
  },
  {
    name: `Rust standard library for ${target}`,
    expect: "5 s, or 90 s if it must be built",
    done: wasmCompiler,
    run: installStd,
  },
  tool("wasm-pack", versions.wasmPack, ["--locked"]),
  // Not --locked: the lock file of the release has a version that was yanked.
  tool("wasm-bindgen", versions.wasmBindgen, [], { crate: "wasm-bindgen-cli" }),
  ...(supplyChain ? [tool("cargo-deny", versions.cargoDeny, ["--locked"])] : []),
  ...(fuzz ? [tool("cargo-fuzz", versions.cargoFuzz, ["--locked"], { subcommand: ["fuzz"] })] : []),
  ...(mutants ? [tool("cargo-mutants", versions.cargoMutants, ["--locked"], { subcommand: ["mutants"] })] : []),
];

function npmPackages(name, folder, flags) {
  const stamp = join(tools, `${folder === "." ? "npm" : folder.replaceAll("/", "-")}.stamp`);
  const lock = () =>
    createHash("sha256")
      .update(readFileSync(join(root, folder, "package-lock.json")))
      .digest("hex");
  return {
    name,
    expect: "20 s",
    done: () =>
      existsSync(join(root, folder, "node_modules")) && existsSync(stamp) && readFileSync(stamp, "utf8") === lock(),
    run() {
      run("npm", ["ci", "--no-audit", "--no-fund", "--ignore-scripts", ...flags], { cwd: join(root, folder) });
      writeFileSync(stamp, lock());
    },
  };
}

function optionalTool(name, expect, variable, find, install) {
  // This stamp records a failed attempt. Without it, the next set-up tries again.
  const inVain = join(tools, `no-${name.split(" ")[0].toLowerCase()}.stamp`);
  return {
    name,
    expect,
    done: () => find() !== undefined || existsSync(inVain),
    run() {
      if (install()) return;
      const place = variable === undefined ? "put one on PATH" : `put one on PATH, or set ${variable} to its path`;
      console.log(`    not available, so its tests are skipped: ${place}`);
      writeFileSync(inVain, "");
    },
  };
}

function tool(name, version, flags, { crate = name, subcommand = [] } = {}) {
  const binary = join(tools, "bin", name);
  return {
    name: `${name} ${version}`,
    expect: "60 s",
    done: () => output(binary, [...subcommand, "--version"]) === `${name} ${version}`,
    run: () =>
      run("cargo", ["install", "--quiet", crate, "--version", `=${version}`, "--root", tools, ...flags], {
        env: { ...process.env, ...quickBuild },
      }),
  };
}

function installStd() {
  if (output("rustup", ["target", "add", target]) === undefined) buildDebianStd();
}

function run(command, args, options = {}) {
  const result = spawnSync(command, args, { cwd: root, stdio: ["ignore", "inherit", "inherit"], ...options });
  if (result.error) throw result.error;
  if (result.status !== 0) throw new Error(`"${command} ${args.join(" ")}" ended with status ${result.status}`);
}

function setup() {
  mkdirSync(tools, { recursive: true });
  const open = steps.filter((step) => !step.done());
  for (const [index, step] of open.entries()) {
    console.log(`set-up ${index + 1}/${open.length}: ${step.name}${step.expect && ` (about ${step.expect})`}`);
    const start = performance.now();
    step.run();
    if (!step.done()) throw new Error(`${step.name}: installed, but still not found`);
    console.log(`    done in ${((performance.now() - start) / 1000).toFixed(1)} s`);
  }
}

try {
  setup();
} catch (error) {
  console.error(`set-up stopped: ${error.message}`);
  process.exit(1);
}
