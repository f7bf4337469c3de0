// Whether the tests notice a change of the kernel that no review would show: every constant of exp, log1p and softcap moved by
// one last place. On demand: half an hour. --only TEXT: some of them.
// --all: what cargo-mutants makes of every operator and function, by the pinned bits alone; hours. --shard 0/10: a tenth of that.
import { spawnSync } from "node:child_process";
import { cpSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { parseArgs } from "node:util";
import { output, root, tools } from "./toolchain.mjs";

const { values } = parseArgs({
  options: {
    only: { type: "string", default: "" },
    all: { type: "boolean" },
    shard: { type: "string", default: "0/1" },
  },
});
const tree = join(root, "target/mutants/tree");
const kernel = (file) => join("crates/kernel/src", file);

/** The next number of the type. */
function next(text, type) {
  const number = Number(text.replaceAll("_", ""));
  const view = new DataView(new ArrayBuffer(8));
  if (type === "f32") {
    view.setFloat32(0, number);
    view.setUint32(0, view.getUint32(0) + 1);
    return view.getFloat32(0);
  }
  view.setFloat64(0, number);
  view.setBigUint64(0, view.getBigUint64(0) + 1n);
  return view.getFloat64(0);
}

/** Rust's way to write it. */
const literal = (number) => (Number.isInteger(number) ? number.toFixed(1) : String(number));

/** Each number of these files, one last place further from 0: file, line, what is there, what is put there. */
function lastPlaces() {
  const mutants = [];
  for (const file of ["exp.rs", "log1p.rs", "softcap.rs"]) {
    const lines = readFileSync(join(root, kernel(file)), "utf8").split("\n");
    let type = "f64";
    for (const [index, line] of lines.entries()) {
      const code = line.replace(/\/\/.*/, "");
      // Of this line, or of the last one that names one.
      type = /\bf(?:32|64)\b/.exec(code)?.[0] ?? type;
      for (const found of code.matchAll(/(?<![\w.])\d[\d_]*\.\d[\d_]*(?:e-?\d+)?|core::(f32|f64)::consts::(\w+)/g)) {
        const constants = { LOG2_E: Math.LOG2E, LN_2: Math.LN2 };
        const moved = found[1]
          ? `${literal(next(String(constants[found[2]]), found[1]))}_${found[1]}`
          : literal(next(found[0], type));
        if (Number(found[0].replaceAll("_", "")) === 0) continue; // the next number is none that anybody would mistake for 0
        const changed = line.slice(0, found.index) + moved + line.slice(found.index + found[0].length);
        mutants.push({
          file: kernel(file),
          line: index + 1,
          to: changed,
          name: `${line.trim()}  ->  ${moved}`,
        });
      }
    }
  }
  return mutants;
}

function apply({ file, line, to }) {
  const lines = readFileSync(join(root, file), "utf8").split("\n");
  lines[line - 1] = to;
  return lines.join("\n");
}

function copyTree() {
  rmSync(tree, { recursive: true, force: true });
  for (const file of output("git", ["-C", root, "ls-files", "-co", "--exclude-standard"]).split("\n")) {
    mkdirSync(dirname(join(tree, file)), { recursive: true });
    cpSync(join(root, file), join(tree, file));
  }
  mkdirSync(join(tree, ".tools"));
  symlinkSync(join(root, ".tools/bin"), join(tree, ".tools/bin"));
  symlinkSync(join(root, "node_modules"), join(tree, "node_modules"));
}

/** Whether the command fails in the tree; a loop without end, too. */
function fails(command, args) {
  const env = { ...process.env, CARGO_TARGET_DIR: join(root, "target/mutants/build") };
  // Of coreutils: it ends what the command has started, too.
  const { status, error } = spawnSync("timeout", ["300", command, ...args], { cwd: tree, env, stdio: "ignore" });
  if (error) throw error;
  return status !== 0;
}

/** A mutant that is no program says nothing about the tests. */
function compiles() {
  return !fails("cargo", ["test", "--no-run", "--profile", "mutants", "-p", "xent-kernel", "--test", "bits"]);
}

const cargo = (...tests) => fails("cargo", ["test", "--profile", "mutants", "-p", "xent-kernel", ...tests]);
const noticed = () => cargo("--test", "bits") || cargo();

if (values.all) {
  const config = ["--config", "scripts/mutants.toml", "-p", "xent-kernel", "--sharding", "round-robin"];
  const args = [...config, "--shard", values.shard, "--output", "target/mutants", "-C=--test", "-C=bits"];
  const { status } = spawnSync(join(tools, "bin/cargo-mutants"), ["mutants", ...args], { cwd: root, stdio: "inherit" });
  process.exit(status ?? 1);
}

const mutants = lastPlaces().filter(({ file, name }) => `${file} ${name}`.includes(values.only));
copyTree();
if (!compiles() || noticed()) throw new Error("the tests fail without any change");
let survivors = 0;
for (const mutant of mutants) {
  const path = join(tree, mutant.file);
  writeFileSync(path, apply(mutant));
  if (!compiles()) throw new Error(`does not compile: ${mutant.file}: ${mutant.name}`);
  const survives = !noticed();
  cpSync(join(root, mutant.file), path);
  if (!survives) continue;
  survivors++;
  console.log(`survives: ${mutant.file}: ${mutant.name}`);
}
console.log(`${mutants.length} mutants, ${mutants.length - survivors} noticed, ${survivors} survive`);
process.exit(survivors > 0 ? 1 : 0);
