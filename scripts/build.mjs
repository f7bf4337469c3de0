// Builds everything that git does not keep: the wasm of both variants, of the kernel and of xent/linear, the modules that embed it,
// and the dist of packages/xent, packages/queue and packages/cli.
// Does nothing where no source is newer than the last build.
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  appendFileSync,
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { build, buildSync } from "esbuild";
import { bundlePackage } from "./bundle.mjs";
import { root, target, tools, wasmEnvironment } from "./toolchain.mjs";
import { unfuse } from "./unfused.mjs";

const sources = {
  wasm: [
    "crates/kernel/src",
    "crates/kernel/Cargo.toml",
    "crates/wasm",
    "Cargo.toml",
    "Cargo.lock",
    "packages/xent/src/relax.ts",
    "scripts/build.mjs",
    "scripts/unfused.mjs",
  ],
  linear: [
    ...["crates/linear/src", "crates/linear/Cargo.toml", "crates/linear-wasm"],
    ...["Cargo.toml", "Cargo.lock", "scripts/build.mjs", "scripts/unfused.mjs", "packages/xent/src/relax.ts"],
  ],
  package: [
    ...["packages/xent/src", "packages/xent/package.json", "tsconfig.json", "packages/xent/tsconfig.json"],
    "scripts/bundle.mjs",
  ],
  queue: ["packages/queue/src", "packages/queue/package.json", "packages/queue/tsconfig.json"],
  cli: [
    "packages/cli/src",
    "packages/cli/types",
    "scripts/build.mjs",
    "packages/cli/package.json",
    "packages/cli/tsconfig.json",
  ],
};
const core = join(root, "packages/xent");
const generated = join(core, "src/generated");

// The module imports its memory, so that one build serves private and shared memory, and may grow to all of wasm32.
const linker = ["--import-memory", "--max-memory=4294967296", "--global-base=1024", "-zstack-size=0"].map(
  (flag) => `-C link-arg=${flag}`,
);
// The sources vectorise and unroll explicitly. Where LLVM does so by itself, the code is slower and twice as large. Of loops with a
// condition that does not change, it makes two only where they are small: of all of them would be 10 KB more.
const optimiser = ["-C no-vectorize-loops", "-C no-vectorize-slp", "-C llvm-args=-unswitch-threshold=30"];
const rustflags = ["-C target-feature=+simd128,+relaxed-simd", ...optimiser, ...linker];

/** Each a crate, the names of its .wasm files and of the module that embeds them. */
const modules = {
  kernel: { crate: "wasm", file: "xent", generatedFile: "wasm.ts", compile: compileKernel },
  linear: { crate: "linear-wasm", file: "xent-linear", generatedFile: "linear-wasm.ts", compile: compileLinear },
};

async function buildWasm({ crate, file, generatedFile, compile }) {
  mkdirSync(generated, { recursive: true });
  mkdirSync(join(core, "dist"), { recursive: true });
  const { steps, ...variants } = await unfuse(optimised(compile()));
  writeFileSync(join(generated, generatedFile), embed(variants.simd128, steps, crate));
  for (const [variant, bytes] of Object.entries(variants)) {
    writeFileSync(join(core, "dist", `${file}-${variant}.wasm`), bytes);
    bytes[memoryFlags(bytes)] |= SHARED;
    writeFileSync(join(core, "dist", `${file}-${variant}-shared.wasm`), bytes);
  }
  console.log(`    ${variants.simd128.length} bytes of wasm`);
}

/** The path of the kernel's module. */
function compileKernel() {
  const out = join(root, "target/wasm-pack");
  const options = ["--target", "web", "--mode", "no-install", "--no-pack", "--no-typescript", "--out-dir", out];
  run("wasm-pack", ["--quiet", "build", "crates/wasm", ...options], {
    env: { ...wasmEnvironment(rustflags), CARGO_TARGET_DIR: join(root, "target/wasm") },
  });
  return join(out, "xent_wasm_bg.wasm");
}

/** The path of the module of xent/linear, whose exports take numbers only: nothing is there to be bound. */
function compileLinear() {
  // Loop strength reduction costs a product's loop an addition for each address: 15 % of its time. The kernel's are faster with it.
  // What is loaded first in the source stays so, or all loads come first, for which the engine has too few registers.
  const flags = [...rustflags, "-C llvm-args=-disable-lsr", "-C llvm-args=-pre-RA-sched=source"];
  const CARGO_TARGET_DIR = join(root, "target/linear-wasm");
  run("cargo", ["build", "--quiet", "--release", "--locked", "-p", "xent-linear-wasm", "--target", target], {
    env: { ...wasmEnvironment(flags), CARGO_TARGET_DIR },
  });
  return join(CARGO_TARGET_DIR, target, "release/xent_linear_wasm.wasm");
}

/** The bytes of this module, optimised. */
function optimised(module) {
  const optimise = [
    "-O3",
    "--converge",
    // Those with a name in common, of one function for several types and sinks, side by side: gzip finds what they have in common.
    "--reorder-functions-by-name",
    // What is a function of its own is one for the engine's register allocation.
    "--one-caller-inline-max-function-size=1",
    "--enable-simd",
    "--enable-relaxed-simd",
    "--enable-bulk-memory",
    "--enable-nontrapping-float-to-int",
    "--enable-sign-ext",
    "--enable-mutable-globals",
    "--enable-reference-types",
    "--enable-multivalue",
    "--strip-debug",
    "--strip-producers",
    "--strip-target-features",
  ];
  const out = join(dirname(module), "optimised.wasm");
  run(join(root, "node_modules/.bin/wasm-opt"), [...optimise, module, "-o", out]);
  return readFileSync(out);
}

// The only difference between a module (without atomics) for a private memory and one for a shared memory: this bit of the
// flags of the memory that it imports.
const SHARED = 2;

/** Where these flags are: behind the name of the import, and its kind. */
function memoryFlags(bytes) {
  const at = bytes.indexOf("memory\x02");
  if (at < 0) throw new Error("the module imports no memory");
  return at + "memory\x02".length;
}

// Hexadecimal, since engines read it without a loop of ours, and since gzip finds in it what bytes repeat, which base64 moves to other
// letters. In short lines, and none at the end, for terminals that print the line of an error.
function embed(simd128, steps, crate) {
  const lines = simd128.toString("hex").match(/.{1,10000}/g);
  return `// Generated by scripts/build.mjs from crates/${crate}. Do not edit.
/** The module of simd128, in hexadecimal. */
export const wasm: string = \`${lines.join("\n")}
\`;

/** The byte that has bit ${SHARED} set where the module takes a shared memory. */
export const memoryFlags = { at: ${memoryFlags(simd128)}, shared: ${SHARED} } as const;

/** Where it multiplies and adds: the bytes from one such place to the next. */
export const steps: string = "${steps}";
`;
}

async function buildPackage() {
  const dist = join(core, "dist");
  for (const file of readdirSync(dist)) {
    if (!file.endsWith(".wasm")) rmSync(join(dist, file), { recursive: true });
  }
  // A script that every kind of worker takes.
  const { outputFiles } = buildSync({
    entryPoints: [join(core, "src/pool/worker.ts")],
    bundle: true,
    minify: true,
    format: "iife",
    target: "es2022",
    write: false,
  });
  writeFileSync(join(generated, "worker.ts"), embedWorker(outputFiles[0].text));
  run(join(root, "node_modules/.bin/tsc"), ["-p", "packages/xent", "--noEmit"]);
  await bundlePackage();
}

function buildQueue() {
  rmSync(join(root, "packages/queue/dist"), { recursive: true, force: true });
  run(join(root, "node_modules/.bin/tsc"), ["-p", "packages/queue"]);
}

/** Leaves an import to a file that is built by itself. */
function apart(module, path) {
  const filter = new RegExp(`^${module}$`);
  return { name: "apart", setup: ({ onResolve }) => onResolve({ filter }, () => ({ path, external: true })) };
}

/** One file, but for what few commands need: sixty modules take longer to load. */
async function buildCli() {
  const cli = join(root, "packages/cli");
  const dist = join(cli, "dist");
  rmSync(dist, { recursive: true, force: true });
  run(join(root, "node_modules/.bin/tsc"), ["-p", "packages/cli", "--noEmit"]);
  const { dependencies, peerDependencies } = JSON.parse(readFileSync(join(cli, "package.json"), "utf8"));
  const options = { outdir: dist, bundle: true, format: "esm", platform: "node", target: "node20" };
  await build({
    ...options,
    entryPoints: [join(cli, "src/main.ts")],
    splitting: true,
    chunkNames: "[name]",
    external: Object.keys({ ...dependencies, ...peerDependencies }),
    plugins: [apart("./pictures.ts", "./pictures.js")],
  });
  chmodSync(join(dist, "main.js"), 0o755);
  // The plotting library is part of the file that draws with it: its 70 packages need no installation, and their licences follow.
  const { metafile } = buildSync({
    ...options,
    entryPoints: [join(cli, "src/pictures.ts")],
    minify: true,
    metafile: true,
  });
  const folders = Object.keys(metafile.inputs).map((path) => /^(.*node_modules\/(?:@[^/]+\/)?[^/]+)\//.exec(path)?.[1]);
  const texts = [...new Set(folders.filter(Boolean))].map((folder) => {
    const { name, version } = JSON.parse(readFileSync(join(root, folder, "package.json"), "utf8"));
    const licence = readdirSync(join(root, folder)).find((entry) => /^licen[cs]e/i.test(entry));
    if (licence === undefined) throw new Error(`${name} has no licence that could be handed on`);
    return `${name} ${version}\n\n${readFileSync(join(root, folder, licence), "utf8").trim()}`;
  });
  appendFileSync(join(dist, "pictures.js"), `/*\n${texts.join("\n\n").replaceAll("*/", "* /")}\n*/\n`);
}

function embedWorker(source) {
  return `// Generated by scripts/build.mjs from packages/xent/src/pool/worker.ts. Do not edit.
/** A worker of the pool, as a script. */
export const workerSource: string = ${JSON.stringify(source)};
`;
}

function run(command, args, options = {}) {
  const result = spawnSync(command, args, {
    cwd: root,
    stdio: ["ignore", "inherit", "inherit"],
    env: options.env ?? process.env,
  });
  if (result.error) throw result.error;
  if (result.status !== 0) throw new Error(`"${command} ${args.join(" ")}" ended with status ${result.status}`);
}

function digest(paths) {
  const hash = createHash("sha256");
  const add = (path) => {
    const full = join(root, path);
    if (!existsSync(full)) return;
    if (/\.[a-z]+$/.test(path)) hash.update(path).update(readFileSync(full));
    else {
      for (const entry of readdirSync(full, { withFileTypes: true }).sort((a, b) => (a.name < b.name ? -1 : 1))) {
        if (entry.name !== "generated") add(`${path}/${entry.name}`);
      }
    }
  };
  for (const path of paths) add(path);
  return hash.digest("hex");
}

async function step(name, paths, made, work) {
  const stamp = join(tools, `${name}.built`);
  const now = digest(paths);
  if (existsSync(stamp) && readFileSync(stamp, "utf8") === now && existsSync(join(root, "packages", made))) return;
  console.log(`build: ${name}`);
  const start = performance.now();
  await work();
  writeFileSync(stamp, now);
  console.log(`    done in ${((performance.now() - start) / 1000).toFixed(1)} s`);
}

try {
  const xent = [...sources.wasm, ...sources.linear, ...sources.package];
  await step("wasm", sources.wasm, "xent/dist/xent-simd128.wasm", () => buildWasm(modules.kernel));
  await step("linear", sources.linear, "xent/dist/xent-linear-simd128.wasm", () => buildWasm(modules.linear));
  await step("package", xent, "xent/dist/index.js", buildPackage);
  await step("queue", sources.queue, "queue/dist/index.js", buildQueue);
  await step("cli", [...xent, ...sources.queue, ...sources.cli], "cli/dist/main.js", buildCli);
} catch (error) {
  console.error(`build stopped: ${error.message}`);
  process.exit(1);
}
