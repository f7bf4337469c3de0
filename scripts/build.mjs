// Builds everything that git does not track: the wasm of the kernel and of xent/linear in both variants, the modules that embed it,
// and the dist of packages/xent, packages/queue and packages/cli. Skips parts with no source newer than their last build.
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
import { bothVariants } from "./unfused.mjs";

const sources = {
  wasm: [
    "crates/kernel/src",
    "crates/kernel/Cargo.toml",
    "crates/wasm",
    "Cargo.toml",
    "Cargo.lock",
    "packages/xent/src/unfuse.ts",
    "scripts/build.mjs",
    "scripts/unfused.mjs",
    "scripts/interleave.mjs",
  ],
  linear: [
    ...["crates/linear/src", "crates/linear/Cargo.toml", "crates/linear-wasm"],
    ...["Cargo.toml", "Cargo.lock", "scripts/build.mjs", "scripts/unfused.mjs", "packages/xent/src/unfuse.ts"],
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

// The module imports its memory, which may grow to all of wasm32, so that one build serves private and shared memories.
const linker = ["--import-memory", "--max-memory=4294967296", "--global-base=1024", "-zstack-size=0"].map(
  (flag) => `-C link-arg=${flag}`,
);
// The sources vectorise and unroll explicitly. LLVM's own vectorisation makes the code slower and twice as large. Loop unswitching is
// limited to small loops: without the limit, the code is 10 KB larger. Loops of unknown length are not unrolled: if they were, the code
// would be 8 KB larger, and no faster.
const optimiser = [
  "-C no-vectorize-loops",
  "-C no-vectorize-slp",
  "-C llvm-args=-unswitch-threshold=30",
  "-C llvm-args=-unroll-runtime=false",
];
const rustflags = ["-C target-feature=+simd128,+relaxed-simd", ...optimiser, ...linker];

/** For each module its crate, the names of its .wasm files and the TypeScript module that embeds it. */
const modules = {
  kernel: { crate: "wasm", file: "xent", generatedFile: "wasm.ts", compile: compileKernel, interleaved: true },
  linear: { crate: "linear-wasm", file: "xent-linear", generatedFile: "linear-wasm.ts", compile: compileLinear },
};

async function buildWasm({ crate, file, generatedFile, compile, interleaved = false }) {
  mkdirSync(generated, { recursive: true });
  mkdirSync(join(core, "dist"), { recursive: true });
  const variants = await bothVariants(optimised(compile()), { interleaved });
  writeFileSync(join(generated, generatedFile), embed(variants.relaxed, crate));
  for (const [variant, bytes] of Object.entries(variants)) {
    writeFileSync(join(core, "dist", `${file}-${variant}.wasm`), bytes);
    bytes[memoryFlags(bytes)] |= SHARED;
    writeFileSync(join(core, "dist", `${file}-${variant}-shared.wasm`), bytes);
  }
  console.log(`    ${variants.simd128.length} bytes of wasm`);
}

/** Compiles the kernel, and returns the path of the module. */
function compileKernel() {
  const out = join(root, "target/wasm-pack");
  const options = ["--target", "web", "--mode", "no-install", "--no-pack", "--no-typescript", "--out-dir", out];
  run("wasm-pack", ["--quiet", "build", "crates/wasm", ...options], {
    env: { ...wasmEnvironment(rustflags), CARGO_TARGET_DIR: join(root, "target/wasm") },
  });
  return join(out, "xent_wasm_bg.wasm");
}

/** Compiles xent/linear, and returns the path of the module. Its exports take only numbers, so it needs no wasm-bindgen. */
function compileLinear() {
  // Loop strength reduction adds an addition for each address to the loops of the products: 15 % of their time. The kernel's loops are
  // faster with it. Loads stay in the order of the source: moved to the front, they need more registers than the engine has.
  const flags = [...rustflags, "-C llvm-args=-disable-lsr", "-C llvm-args=-pre-RA-sched=source"];
  const CARGO_TARGET_DIR = join(root, "target/linear-wasm");
  run("cargo", ["build", "--quiet", "--release", "--locked", "-p", "xent-linear-wasm", "--target", target], {
    env: { ...wasmEnvironment(flags), CARGO_TARGET_DIR },
  });
  return join(CARGO_TARGET_DIR, target, "release/xent_linear_wasm.wasm");
}

/** The bytes of the module after wasm-opt. */
function optimised(module) {
  const optimise = [
    "-O3",
    "--converge",
    // No address is below --global-base, so constants may move into the offsets of loads and stores.
    "--low-memory-unused",
    "--optimize-added-constants-propagate",
    // Puts copies of one generic function side by side, where gzip finds what they share.
    "--reorder-functions-by-name",
    // Functions stay separate, because engines allocate registers for each function.
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

// A module for a private memory and one for a shared memory, both without atomics, differ only in this bit of the flags of the memory
// import.
const SHARED = 2;

/** The position of these flags: after the name and the kind of the import. */
function memoryFlags(bytes) {
  const at = bytes.indexOf("memory\x02");
  if (at < 0) throw new Error("the module imports no memory");
  return at + "memory\x02".length;
}

// Hexadecimal, because engines decode it without a loop in JavaScript, and because gzip finds repeated bytes in it, which base64 hides.
// The line breaks around it keep a terminal readable if an engine prints the line of an error in a minified bundle. They are escaped: V8
// takes twice as long to parse a template.
function embed(relaxed, crate) {
  return `// Generated by scripts/build.mjs from crates/${crate}. Do not edit.
import type { Embedded } from "../embedded.ts";

/** The module. */
export const embedded: Embedded = {
  wasm: "\\n${relaxed.toString("hex")}\\n",
  memoryFlags: { at: ${memoryFlags(relaxed)}, shared: ${SHARED} },
};
`;
}

async function buildPackage() {
  const dist = join(core, "dist");
  for (const file of readdirSync(dist)) {
    if (!file.endsWith(".wasm")) rmSync(join(dist, file), { recursive: true });
  }
  // A classic script, which every kind of worker accepts.
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

/** Keeps an import external: its file is built separately. */
function apart(module, path) {
  const filter = new RegExp(`^${module}$`);
  return { name: "apart", setup: ({ onResolve }) => onResolve({ filter }, () => ({ path, external: true })) };
}

/** Bundles the command line into one file, which loads faster than sixty modules. Parts that few commands need stay separate. */
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
  // The plotting library is bundled, so its 70 packages need no installation. Their licences are included.
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
    if (licence === undefined) throw new Error(`${name} has no licence file to include`);
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
