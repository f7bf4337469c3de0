// Searches for faults that take longer than npm test: npm run search -- NAME. Without a name, lists the searches. Exits with 1 and
// prints how to reproduce a fault if it finds one. The nightly workflow runs all searches.
import { spawnSync } from "node:child_process";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { output, root, tools } from "./toolchain.mjs";

const seed = String(Math.floor(Math.random() * 2 ** 31));
/** The sanitizers are unstable options, but the stable compiler includes their runtimes. */
const unstable = { RUSTC_BOOTSTRAP: "1" };
const kernelTests = ["test", "--profile", "mutants", "-p", "xent-kernel"];

const searches = {
  properties: {
    what: "random options, types and calls against the formula in f64; --path and --test reproduce a failure",
    options: { cases: "1000000", seed, path: "", test: "" },
    needs: ["build"],
    run({ cases, seed, path, test }) {
      const suites = ["properties", "model", "divergence"].map((name) => `test/numerics/${name}.test.ts`);
      suites.push("test/shards/divergence.test.ts");
      const pattern = test ? ["--testNamePattern", test] : [];
      vitest([...suites, "--testTimeout=0", "--maxWorkers=1", "--disable-console-intercept", ...pattern], {
        XENT_CASES: cases,
        XENT_SEED: seed,
        ...(path && { XENT_PATH: path }),
      });
    },
  },
  jobs: {
    what: "random jobs of the kernel against the formula, and of the wasm against the scalar kernel",
    options: { cases: "20000", seed },
    needs: ["build"],
    run({ cases, seed }) {
      run("cargo", ["test", "--release", "-p", "xent-kernel", "--test", "any_job"], { PROPTEST_CASES: cases });
      vitest(["test/numerics/differential.test.ts", "--testTimeout=0"], { XENT_DIFFERENTIAL: `${seed} ${cases}` });
    },
  },
  contract: {
    what: "10^8 entries of rows made to exceed the bounds of loss and gradient",
    run: () => run("cargo", ["test", "--release", "-p", "xent-kernel", "--test", "contract", "--", "--ignored"]),
  },
  exp: {
    what: "exp of every float",
    run: () => run("cargo", ["test", "--release", "-p", "xent-kernel", "--test", "exp", "--", "--ignored"]),
  },
  kernel: {
    what: "any bytes as a job, by libFuzzer with AddressSanitizer; --keep adds inputs that reached new code to fuzz/corpus/job",
    options: { minutes: "15", keep: false },
    needs: ["setup --fuzz"],
    run({ minutes, keep }) {
      const [kept, all] = ["fuzz/corpus/job", "target/fuzz/corpus"];
      mkdirSync(join(root, all), { recursive: true });
      const fuzz = (corpora, ...flags) =>
        run(join(tools, "bin/cargo-fuzz"), ["fuzz", "run", "job", ...corpora, "--", ...flags], unstable);
      fuzz([all, kept], "-max_len=2048", "-timeout=20", "-print_final_stats=1", `-max_total_time=${seconds(minutes)}`);
      if (keep) fuzz([kept, all], "-set_cover_merge=1", "-max_len=512");
    },
  },
  sanitize: {
    what: "the Rust tests with AddressSanitizer, and some of them under valgrind if it is installed",
    run() {
      const host = /host: (.*)/.exec(output("rustc", ["-vV"]))[1];
      const folder = (name) => ({ CARGO_TARGET_DIR: join(root, "target", name) });
      const flags = { ...unstable, RUSTFLAGS: "-Zsanitizer=address", ...folder("sanitize") };
      run("cargo", [...kernelTests, "--target", host, "--tests"], flags);
      if (output("valgrind", ["--version"]) === undefined) return console.log("search: valgrind is not installed");
      const runner = `CARGO_TARGET_${host.toUpperCase().replaceAll("-", "_")}_RUNNER`;
      run("cargo", [...kernelTests, "--target", host, "--test", "corpus", "--test", "structure"], {
        [runner]: "valgrind --quiet --error-exitcode=9",
        ...folder("valgrind"),
      });
    },
  },
  files: {
    what: "mutated files, tasks and answers; --keep adds inputs that were refused in a new way to fuzz/corpus/files",
    options: { minutes: "15", seed, keep: false },
    needs: ["build"],
    run({ minutes, seed, keep }) {
      const env = { XENT_SECONDS: seconds(minutes), XENT_SEED: seed, ...(keep && { XENT_KEEP: "1" }) };
      vitest(["test/cli/fuzz-files.test.ts", "--disable-console-intercept"], env);
    },
  },
  pool: {
    what: "random jobs on all threads while workers die; memory and handles must stay flat",
    options: { minutes: "15", seed, threads: "" },
    needs: ["build"],
    run({ minutes, seed, threads }) {
      const args = ["--minutes", minutes, "--seed", seed, ...(threads ? ["--threads", threads] : [])];
      run(process.execPath, ["--expose-gc", join(root, "scripts/soak.mjs"), ...args]);
    },
  },
  queue: {
    what: "the fault tests of the queue, repeatedly, with faults that last --longer times as long",
    options: { minutes: "15", longer: "3" },
    needs: ["setup --tests", "build"],
    run({ minutes, longer }) {
      const until = performance.now() + 1000 * seconds(minutes);
      for (let round = 1; performance.now() < until; round++) {
        console.log(`search: round ${round}`);
        vitest(["test/queue/faults.test.ts", "--testTimeout=600000"], { XENT_FAULTS: longer });
      }
    },
  },
};

const [name = "", ...args] = process.argv.slice(2);
if (!Object.hasOwn(searches, name)) {
  console.error("usage: npm run search -- NAME [options]\n");
  for (const [name, { what, options = {} }] of Object.entries(searches)) {
    const flags = Object.entries(options).map(
      ([flag, value]) => ` [--${flag}${value === false ? "" : ` ${value || "…"}`}]`,
    );
    console.error(`${name}${flags.join("").replaceAll(seed, "N")}\n    ${what}`);
  }
  process.exit(2);
}

const search = searches[name];
const options = Object.fromEntries(
  Object.entries(search.options ?? {}).map(([flag, value]) => [
    flag,
    value === false ? { type: "boolean", default: false } : { type: "string", default: value },
  ]),
);
const { values } = parsed();
for (const flag of ["minutes", "cases", "longer"]) {
  if (values[flag] !== undefined && !(Number(values[flag]) > 0)) {
    console.error(`search: --${flag} must be a number above 0, got ${values[flag]}`);
    process.exit(2);
  }
}
const needs = search.needs ?? [];
for (const step of [
  "setup",
  ...needs.filter((step) => step.startsWith("setup ")),
  ...needs.filter((step) => step === "build"),
]) {
  const [script, ...flags] = step.split(" ");
  run(process.execPath, [join(root, `scripts/${script}.mjs`), ...flags]);
}
console.log(`search: ${name} ${JSON.stringify(values)}`);
search.run(values);
console.log(`search: ${name} found nothing`);

function parsed() {
  try {
    return parseArgs({ args, options });
  } catch (error) {
    console.error(`search: ${error.message}`);
    process.exit(2);
  }
}

function seconds(minutes) {
  return String(Math.ceil(60 * Number(minutes)));
}

function vitest(args, env) {
  run(process.execPath, [join(root, "node_modules/vitest/vitest.mjs"), "run", ...args], env);
}

function run(command, args, env = {}) {
  const { status, error } = spawnSync(command, args, {
    cwd: root,
    stdio: ["ignore", "inherit", "inherit"],
    env: { ...process.env, ...env },
  });
  if (error) throw error;
  if (status !== 0) process.exit(1);
}
