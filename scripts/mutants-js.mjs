// Puts one fault after the other into the sources of the package (an off-by-one, a check that is not made, a condition the other way
// round) and asks whether a test notices: npm run mutants-js -- [labels memory options plan layout]. Works on a copy, 20 minutes and more.
// What survives is listed, with what is known of it in docs/reliability.md.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { bundlePackage } from "./bundle.mjs";
import { root } from "./toolchain.mjs";

/** The suites of each file: first those that are quick and notice most. */
const SUITES = {
  labels: [
    ["api/labels", "api/limits", "api/errors"],
    ["api/batch", "api/hostile", "numerics/model"],
  ],
  memory: [
    ["memory/allocator", "memory/memory"],
    ["api/throws", "api/hostile", "memory/high-memory"],
  ],
  options: [
    ["numerics/options", "api/limits", "api/throws"],
    ["numerics/edges", "api/hostile", "api/errors", "numerics/model"],
  ],
  plan: [
    ["api/limits", "numerics/options", "api/throws"],
    ["api/batch", "numerics/combinations", "memory/canaries", "threads/shared", "threads/threads", "numerics/model"],
  ],
  layout: [
    ["api/limits", "api/throws"],
    ["api/batch", "memory/canaries", "api/errors", "numerics/model"],
  ],
};

const files = process.argv.length > 2 ? process.argv.slice(2) : Object.keys(SUITES);

/** What is replaced by what; each place is a mutant. */
const FAULTS = [
  [/ < /g, " <= "],
  [/ <= /g, " < "],
  [/ > /g, " >= "],
  [/ >= /g, " > "],
  [/ === /g, " !== "],
  [/ !== /g, " === "],
  [/ && /g, " || "],
  [/ \|\| /g, " && "],
  [/ \+ /g, " - "],
  [/ - /g, " + "],
  [/ \* /g, " / "],
  [/ \+= /g, " -= "],
  [/ \?\? /g, " && "],
  [/\+\+/g, "--"],
  [/--/g, "++"],
  [/\bMath\.max\b/g, "Math.min"],
  [/\bMath\.(ceil|floor)\b/g, "Math.round"],
  [/\btrue\b/g, "false"],
  [/\bfalse\b/g, "true"],
  [/(?<![\w.])\d+\b(?!\.\d)/g, (digits) => String(Number(digits) + 1)],
  [/\bthrow /g, "void "],
  [/\bif \(/g, "if (!"],
  [/^ +(assert\w*|integer|this\.#?\w+)\(.*\);$/gm, ""],
];

const copy = mkdtempSync(join(tmpdir(), "xent-mutants-"));
for (const name of ["package.json", "vitest.config.ts", "tsconfig.json", "test", "packages/xent"])
  cpSync(join(root, name), join(copy, name), {
    recursive: true,
    filter: (path) => !/\/test\/\w+\/node_modules/.test(path),
  });
// Its own link to the package, and all others' to what they are.
const modules = join(copy, "node_modules");
mkdirSync(modules);
for (const name of ["vitest", "vite", "fast-check", "esbuild", "@vitest"])
  symlinkSync(join(root, "node_modules", name), join(modules, name));
symlinkSync("../packages/xent", join(modules, "xent"));

const vitest = join(root, "node_modules/vitest/vitest.mjs");
async function isNoticed(file) {
  for (const names of SUITES[file]) if ((await run(names)) !== 0) return true;
  return false;
}

/** The status of some suites; 1 where they do not end. */
async function run(names) {
  const args = [vitest, "run", "--bail=1", "--reporter=dot", "--testTimeout=20000"];
  const env = { ...process.env, XENT_CASES: "300", XENT_SEED: "1" };
  // A group of its own: a loop without an end is in a process of vitest's.
  const tests = spawn(process.execPath, [...args, ...names.map((name) => `test/${name}.test.ts`)], {
    cwd: copy,
    env,
    detached: true,
    stdio: "ignore",
  });
  const timer = setTimeout(() => process.kill(-tests.pid, "SIGKILL"), 90_000);
  const [status] = await once(tests, "exit");
  clearTimeout(timer);
  return status ?? 1;
}

let count = 0;
const survivors = [];
for (const file of files) {
  const source = readFileSync(join(root, `packages/xent/src/${file}.ts`), "utf8");
  // Imports, types and comments are no code; positions stay as they are.
  const blank = (text) => text.replace(/[^\n]/g, " ");
  const visible = source
    .replace(/\/\*[\s\S]*?\*\/|\/\/.*$/gm, blank)
    .replace(
      /^(import|export (type|interface)|interface|type) [\s\S]*?^\}?.*;$|^(export )?interface [\s\S]*?^\}$/gm,
      blank,
    )
    .replace(/`[^`]*`|"[^"\n]*"|'[^'\n]*'/g, blank);
  const place = join(copy, `packages/xent/src/${file}.ts`);
  await bundlePackage(join(copy, "packages/xent"));
  if (await isNoticed(file)) throw new Error(`the tests of ${file} fail without any fault`);
  for (const [pattern, replacement] of FAULTS) {
    for (const match of visible.matchAll(pattern)) {
      const found = source.slice(match.index, match.index + match[0].length);
      const made = typeof replacement === "string" ? replacement : replacement(found);
      const mutant = source.slice(0, match.index) + made + source.slice(match.index + found.length);
      // The negation of a condition takes its other bracket along.
      const whole = made === "if (!" ? negated(source, match.index) : mutant;
      writeFileSync(place, whole);
      try {
        await bundlePackage(join(copy, "packages/xent"));
      } catch {
        continue;
      }
      count++;
      if (!(await isNoticed(file))) {
        const line = source.slice(0, match.index).split("\n").length;
        survivors.push(
          `${file}.ts:${line}: ${found.trim()} -> ${made.trim() || "(nothing)"}: ${source.split("\n")[line - 1].trim()}`,
        );
        console.log(`mutants: survived: ${survivors.at(-1)}`);
      }
    }
  }
  writeFileSync(place, source);
  console.log(`mutants: ${file}: ${count} so far, ${survivors.length} survived`);
}
rmSync(copy, { recursive: true });
console.log(`mutants: ${count} faults, ${count - survivors.length} noticed, ${survivors.length} survived`);

function negated(source, at) {
  const open = at + "if ".length;
  let depth = 0;
  let end = open;
  do {
    if (source[end] === "(") depth++;
    if (source[end] === ")") depth--;
    end++;
  } while (depth > 0);
  return `${source.slice(0, open)}(!${source.slice(open, end)})${source.slice(end)}`;
}
