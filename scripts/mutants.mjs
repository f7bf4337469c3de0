// Whether the tests notice a change of the kernel that nobody would see in a review: every constant of exp, log1p and math moved by
// one last place, and lengths, ends and tails that are off by one. On demand: half an hour.
// --wasm: those of vector/wasm.rs and of what is built for it, by the differential test; a build of the wasm each. --only TEXT: some.
// --all: what cargo-mutants makes of every operator and function, by the pinned bits alone; hours. --shard 0/10: a tenth of that.
import { spawnSync } from "node:child_process";
import { cpSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { parseArgs } from "node:util";
import { output, root, tools } from "./toolchain.mjs";

const { values } = parseArgs({
  options: {
    wasm: { type: "boolean" },
    only: { type: "string", default: "" },
    all: { type: "boolean" },
    shard: { type: "string", default: "0/1" },
  },
});
const tree = join(root, "target/mutants/tree");
const kernel = (file) => join("crates/kernel/src", file);

/** File, what is there exactly once, and what is put there instead. */
const offByOne = [
  ["vector/scalar.rs", "from.get(i).map_or(fill", "from.get(i + 1).map_or(fill"],
  ["vector/scalar.rs", "to.iter().zip(self.0) {", "to.iter().zip(self.0).skip(1) {"],
  ["vector/scalar.rs", "mask(i < n)", "mask(i <= n)"],
  ["vector/scalar.rs", "mask(i < n)", "mask(i + 1 < n)"],
  ["pass.rs", "(label / BLOCK, x.len() / BLOCK)", "(label / BLOCK, (x.len() + 1) / BLOCK)"],
  ["pass.rs", "(label / BLOCK, x.len() / BLOCK)", "((label + 1) / BLOCK, x.len() / BLOCK)"],
  ["pass.rs", "begin = end + 1;", "begin = end;"],
  ["pass.rs", "let end = (end * BLOCK).min(x.len());", "let end = (end * BLOCK).min(x.len() - 1);"],
  ["pass.rs", "label.wrapping_sub(end * BLOCK)", "label.wrapping_sub(end * BLOCK + 1)"],
  ["pass.rs", "place = place.wrapping_sub(LANES);", "place = place.wrapping_sub(LANES - 1);"],
  ["pass.rs", "V::first_lanes(x_rest.len())", "V::first_lanes(x_rest.len() - 1)"],
  ["pass.rs", "V::first_lanes(x_rest.len())", "V::first_lanes(x_rest.len() + 1)"],
  ["pass.rs", "for ((x, low), e) in chunks.iter()", "for ((x, low), e) in chunks.iter().skip(1)"],
  ["row.rs", "place = place.wrapping_sub(SEGMENT);", "place = place.wrapping_sub(SEGMENT - 1);"],
  ["row.rs", "factor.times(V::load_partial(from_rest, 0.0)).store_partial(to_rest);", ""],
  ["narrow.rs", "first += classes;", "first += classes - 1;"],
  ["narrow.rs", "let beyond = (whole + 1) * LANES;", "let beyond = whole * LANES;"],
  ["narrow.rs", "from.get(chunks.len())", "from.get(chunks.len() + 1)"],
  ["narrow/parts.rs", "let odd = x.len() & !1;", "let odd = (x.len() & !1) + 1;"],
  [
    "narrow/parts.rs",
    "(x_rest.first(), powers.get(x.len()), tails.get(x.len()))",
    "(x_rest.first(), powers.get(x.len()), tails.get(x.len() + 1))",
  ],
  ["narrow/sums.rs", "let [a, b, c, d] = [first, first + classes,", "let [a, b, c, d] = [first, first + classes - 1,"],
  ["narrow/sums.rs", "first += 4 * classes;", "first += 4 * classes - 1;"],
  ["narrow/sums.rs", "get(..=WHOLE)", "get(..WHOLE)"],
  ["narrow/sums.rs", "chunks[..WHOLE].iter()", "chunks[..WHOLE].iter().skip(1)"],
  ["narrow/sums.rs", "chunks.get(..classes / LANES)", "chunks.get(..classes / LANES - 1)"],
  ["narrow/sums.rs", "chunks.get(classes / LANES).map_or", "chunks.get(classes / LANES + 1).map_or"],
  ["scratch.rs", "take(rows.div_ceil(4))", "take(rows / 4)"],
  ["largest.rs", "if lane < LANES {", "if lane < LANES - 1 {"],
  ["largest.rs", "(chunks.len() * LANES + i) as i32", "(chunks.len() * LANES + i + 1) as i32"],
  ["largest.rs", "b = b.max(V::load_partial(rest, f32::NEG_INFINITY));", ""],
  ["split.rs", "begin..(begin + SEGMENT).min(all.len())", "begin..(begin + SEGMENT).min(all.len() - 1)"],
  ["split.rs", "(begin + SEGMENT).min", "(begin + SEGMENT - 1).min"],
  ["rows.rs", "all.get(row * entries..)", "all.get(row * entries + 1..)"],
  [
    "staged.rs",
    "for (x, out) in from_rest.iter().zip(to_rest) {",
    "for (x, out) in from_rest.iter().zip(to_rest).skip(1) {",
  ],
  ["job.rs", "let span = (classes - 1) * stride + 1;", "let span = (classes - 1) * stride;"],
  ["job.rs", "V::load_partial(rest, 0.0)", "V::load_partial(&rest[rest.len().min(1)..], 0.0)"],
  ["terms.rs", "factor.times_parts(power, tail).store_partial(rest);", ""],
  ["label.rs", "(label as u32) < classes", "(label as u32) <= classes"],
];

const ofWasm = [
  ["vector/wasm.rs", "lane(0), lane(1), lane(2), fill", "lane(1), lane(2), lane(3), fill"],
  ["vector/wasm.rs", "lane(0), lane(1), lane(2), fill", "lane(0), lane(1), fill, fill"],
  ["vector/wasm.rs", "take(LANES - 1)", "take(LANES - 2)"],
  ["vector/wasm.rs", "i32x4_lt(i32x4(0, 1, 2, 3)", "i32x4_le(i32x4(0, 1, 2, 3)"],
  ["vector/wasm.rs", "i32x4_eq(i32x4(0, 1, 2, 3)", "i32x4_eq(i32x4(1, 2, 3, 4)"],
  ["vector/wasm.rs", "i32x4_shuffle::<0, 4, 1, 5>", "i32x4_shuffle::<0, 4, 1, 1>"],
  ["vector/wasm.rs", "i64x2_shuffle::<0, 2>(ab, cd)", "i64x2_shuffle::<1, 2>(ab, cd)"],
  ["vector/wasm.rs", "i32x4_shuffle::<2, 3, 2, 3>", "i32x4_shuffle::<2, 2, 2, 3>"],
  ["vector/wasm.rs", "f32x4_extract_lane::<3>", "f32x4_extract_lane::<2>"],
  ["vector/wasm.rs", "f64x2_extract_lane::<1>", "f64x2_extract_lane::<0>"],
  ["vector/wasm.rs", "1 << LANES).trailing_zeros()", "1 << (LANES - 1)).trailing_zeros()"],
  ["vector/wasm.rs", "i32x4_shl(self.0, 23)", "i32x4_shl(self.0, 22)"],
  ["vector/wasm.rs", "u64x2(u64::MAX, 0x0706_0504_0302_0100)", "u64x2(u64::MAX, 0x0706_0504_0302_0101)"],
  ["vector/wasm.rs", "u32x4_splat(0x7780_0000)", "u32x4_splat(0x7780_0001)"],
  ["vector/wasm.rs", "u32x4_splat(0x7fff)", "u32x4_splat(0x7ffe)"],
  ["vector/wasm.rs", "v128_bitselect(a.0, b.0, self.0)", "v128_bitselect(b.0, a.0, self.0)"],
  ["vector/wasm.rs", "v128_or(v128_or(magnitude, special), sign)", "v128_or(magnitude, sign)"],
  ["exp.rs", "0.041_668_292", "0.041_668_29"],
  ["exp.rs", "0.693_147_180_369_123_8;", "0.693_147_180_369_123_9;"],
  ["pass.rs", "V::first_lanes(x_rest.len())", "V::first_lanes(x_rest.len() + 1)"],
];

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
  for (const file of ["exp.rs", "log1p.rs", "math.rs"]) {
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
          from: line,
          to: changed,
          name: `${line.trim()}  ->  ${moved}`,
        });
      }
    }
  }
  return mutants;
}

function places(list) {
  return list.map(([file, from, to]) => ({ file: kernel(file), from, to, name: `${from}  ->  ${to}` }));
}

function apply({ file, line, from, to }) {
  const text = readFileSync(join(root, file), "utf8");
  if (line !== undefined) {
    const lines = text.split("\n");
    lines[line - 1] = to;
    return lines.join("\n");
  }
  if (text.split(from).length !== 2) throw new Error(`${file} has not once: ${from}`);
  return text.replace(from, () => to);
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
  const env = { ...process.env };
  if (!values.wasm) env["CARGO_TARGET_DIR"] = join(root, "target/mutants/build");
  // Of coreutils: it ends what the command has started, too.
  const { status, error } = spawnSync("timeout", ["300", command, ...args], { cwd: tree, env, stdio: "ignore" });
  if (error) throw error;
  return status !== 0;
}

/** A mutant that is no program says nothing about the tests. */
function compiles() {
  if (values.wasm) return !fails(process.execPath, ["scripts/build.mjs"]);
  return !fails("cargo", ["test", "--no-run", "--profile", "mutants", "-p", "xent-kernel", "--test", "bits"]);
}

const cargo = (...tests) => fails("cargo", ["test", "--profile", "mutants", "-p", "xent-kernel", ...tests]);
const noticed = values.wasm
  ? () => fails(process.execPath, ["node_modules/vitest/vitest.mjs", "run", "test/differential.test.ts"])
  : () => cargo("--test", "bits") || cargo();

if (values.all) {
  const config = ["--config", "scripts/mutants.toml", "-p", "xent-kernel", "--sharding", "round-robin"];
  const args = [...config, "--shard", values.shard, "--output", "target/mutants", "-C=--test", "-C=bits"];
  const { status } = spawnSync(join(tools, "bin/cargo-mutants"), ["mutants", ...args], { cwd: root, stdio: "inherit" });
  process.exit(status ?? 1);
}

const mutants = (values.wasm ? places(ofWasm) : [...lastPlaces(), ...places(offByOne)]).filter(({ file, name }) =>
  `${file} ${name}`.includes(values.only),
);
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
