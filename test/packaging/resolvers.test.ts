// The tarball in tools that resolve packages in ways of their own, with default settings: test runners, compilers, bundlers, require.
import { spawnSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { engines } from "../runtimes/engines.ts";
import { output, type PackedProject, packedProject } from "../support/packed.ts";

const tools = fileURLToPath(new URL("node_modules", import.meta.url));
const compileScript = fileURLToPath(new URL("compile.mjs", import.meta.url));
const root = fileURLToPath(new URL("../..", import.meta.url));
let project: PackedProject;
beforeAll(() => {
  project = packedProject();
}, 60_000);
afterAll(() => project.remove());

/** Writes an application of the project, and returns its folder. */
function app(name: string, files: Record<string, string | object>): string {
  for (const [file, content] of Object.entries(files)) {
    const path = join(project.folder, name, file);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, typeof content === "string" ? content : JSON.stringify(content));
  }
  return join(project.folder, name);
}

/** Everything that a script prints; its status must be 0. */
function run(command: string, args: string[], cwd: string): string {
  const { status, stdout, stderr, error } = spawnSync(command, args, { cwd, encoding: "utf8", timeout: 120_000 });
  if (error) throw error;
  expect(status, stdout + stderr).toBe(0);
  return stdout + stderr;
}

const LOSS = "sparseSoftmaxCrossEntropyWithLogits([[0, 0]], [0]).loss[0].toFixed(6)";
const REQUIRE = `const { createXent, sparseSoftmaxCrossEntropyWithLogits } = require("xent");
createXent({ threads: 2 }).then((xent) => {
  const batch = xent.createBatch({ rows: 400, classes: 1000 });
  console.log(${LOSS}, xent.threads, batch.run().mean.toFixed(6));
  xent.dispose();
});`;

describe("require", () => {
  for (const { name, command, installed } of engines.filter(({ name }) => /^(Node|Bun)/.test(name))) {
    test.skipIf(!installed)(`works in ${name}, without its support for ES modules if that can be turned off`, () => {
      const folder = app("require", { "package.json": { type: "commonjs" }, "main.js": REQUIRE });
      const flags = /2[2-6]/.test(name) ? ["--no-experimental-require-module"] : [];
      expect(run(command, [...flags, "main.js"], folder).trim()).toBe("0.693147 2 6.907755");
    });
  }

  test("resolves the worker script, also by resolvers that do not read exports", () => {
    const require = createRequire(import.meta.url);
    const resolve = require("resolve") as { sync(name: string, options: object): string };
    const basedir = app("resolve", { "package.json": { type: "commonjs" } });
    const found = ["xent", "xent/worker"].map((name) => resolve.sync(name, { basedir }));
    expect(found.map((path) => path.slice(-15))).toEqual(
      ["dist/index.cjs", "dist/worker.cjs"].map((path) => `/${path}`.slice(-15)),
    );
  });
});

describe("jest with default settings", () => {
  const jest = (folder: string): string =>
    run(process.execPath, [join(tools, "jest/bin/jest.js"), "--rootDir", folder], folder);
  const check = `test("computes", () => { expect(${LOSS}).toBe("0.693147"); });
    test("keeps views", () => {
      const xent = createXentSync();
      const batch = xent.createBatch({ rows: 2, classes: 3 });
      const { logits } = batch;
      xent.sparseSoftmaxCrossEntropyWithLogits(new Float32Array(1e6), new Int32Array(10));
      expect(batch.logits).toBe(logits);
      expect(() => batch.share()).toThrow("share() expected a shared memory");
    });`;

  test("runs a test that requires xent", () => {
    const folder = app("jest", {
      "package.json": { type: "commonjs" },
      "one.test.js": `const { createXentSync, sparseSoftmaxCrossEntropyWithLogits } = require("xent");\n${check}`,
    });
    expect(jest(folder)).toContain("2 passed");
  });

  test("runs a test in TypeScript, with ts-jest", () => {
    const folder = app("ts-jest", {
      "package.json": { type: "commonjs", jest: { transform: { "\\.ts$": join(tools, "ts-jest") } } },
      "tsconfig.json": {
        compilerOptions: {
          strict: true,
          module: "commonjs",
          moduleResolution: "node10",
          esModuleInterop: true,
          types: [],
        },
      },
      "globals.d.ts": "declare const test: any, expect: any;",
      "one.test.ts": `/// <reference path="./globals.d.ts" />\nimport { createXentSync, sparseSoftmaxCrossEntropyWithLogits } from "xent";\n${check}`,
    });
    expect(jest(folder)).toContain("2 passed");
  });
});

describe("TypeScript", () => {
  const compilers: Record<string, string> = {
    "5.2": join(tools, "typescript-5.2/lib/typescript.js"),
    "5.9": join(tools, "typescript/lib/typescript.js"),
    "7": join(root, "node_modules/typescript/bin/tsc"),
  };
  const use = `
import { createXent, createXentSync, sparseSoftmaxCrossEntropyWithLogits, softmaxCrossEntropyWithLogits, type LossOptions } from "xent";
import "xent/worker";
const x = [[1, 2, 3]];
const withGradient = sparseSoftmaxCrossEntropyWithLogits(x, [0], { gradient: true, predictions: true, ignoreIndex: undefined });
export const numbers: number[] = [withGradient.gradient[0]!, withGradient.predictions[0]!, withGradient.correct];
export const own: Float32Array = sparseSoftmaxCrossEntropyWithLogits(x, [2n]).loss;
export const wide: Float64Array = sparseSoftmaxCrossEntropyWithLogits([Float64Array.of(1, 2)], [0], { gradient: true }).gradient;
export const soft = softmaxCrossEntropyWithLogits(x, [[0, 0, 1]], { gradient: true }).gradient[0]!;
export function any(options: LossOptions): number | undefined {
  return sparseSoftmaxCrossEntropyWithLogits(x, [0], options).gradient?.[0];
}
export async function batches(): Promise<void> {
  const xent = await createXent({ threads: "auto", maxBytes: undefined });
  const batch = xent.createBatch({ rows: 1, classes: 3, gradient: true });
  batch.setLogits(x);
  batch.setLabels([0]);
  const backward = (gradient: Float32Array): number => gradient.length;
  const { gradient, loss } = batch.run({ gradient: true, copy: true });
  backward(gradient); backward(batch.gradient); backward(loss);
  const targets = xent.createBatch({ shape: [1, 3], targets: true });
  targets.targets.fill(1);
  const { mean } = await targets.runAsync();
  const none: undefined = targets.gradient;
  console.log(mean, none, xent.memory.buffer.byteLength);
  // @ts-expect-error: not asked for
  backward(batch.run().gradient);
  // @ts-expect-error: no gradient in this batch
  backward(targets.gradient);
  // @ts-expect-error: there are soft targets
  targets.labels.fill(0);
  // @ts-expect-error: that is what createXent is for
  createXentSync({ threads: 2 });
  // @ts-expect-error: rows are missing
  xent.createBatch({ classes: 3 });
  // @ts-expect-error: no such option, also beside one that there is
  batch.run({ gradient: true, gradients: true });
  // @ts-expect-error: targets have no predictions that are right
  const right: number = targets.run({ predictions: true }).correct;
}
declare const console: { log(...values: unknown[]): void };
`;
  const wasm = `import module from "xent/xent-simd128.wasm";
import { createXentSync } from "xent";
export const xent = createXentSync({ module });`;

  const blob = `import { sparseSoftmaxCrossEntropyWithLogits, encodeTotals, Totals } from "xent";
export const blob = new Blob([sparseSoftmaxCrossEntropyWithLogits([[1, 2]], [0]).loss, encodeTotals(new Totals())]);`;

  interface Program {
    name: string;
    type: "commonjs" | "module";
    file: string;
    content: string;
    flags: string;
    versions: string[];
  }
  const all = ["5.2", "5.9", "7"];
  const without = "without the DOM and with every declaration checked";
  const own = { type: "commonjs", content: use } as const;
  const dom = { type: "module", versions: all } as const;
  const programs: Program[] = [
    {
      ...own,
      name: `node10, ${without}`,
      file: "use.ts",
      flags: "--lib es2022 --module commonjs --moduleResolution node10",
      versions: ["5.2", "5.9"],
    },
    {
      ...own,
      name: `node16, CommonJS, ${without}`,
      file: "use.cts",
      flags: "--lib es2022 --module node16 --moduleResolution node16",
      versions: all,
    },
    {
      ...own,
      name: `node16, ESM, ${without}`,
      file: "use.mts",
      flags: "--lib es2022 --module node16 --moduleResolution node16",
      versions: all,
    },
    {
      ...own,
      name: `nodenext, ${without}`,
      file: "use.mts",
      flags: "--lib es2022 --module nodenext --moduleResolution nodenext",
      versions: all,
    },
    {
      ...own,
      name: `bundler, ${without}`,
      file: "use.ts",
      flags: "--lib es2022 --module esnext --moduleResolution bundler",
      versions: all,
    },
    {
      ...dom,
      name: "bundler, an import of a .wasm file, with the DOM's types",
      file: "wasm.ts",
      content: wasm,
      flags: "--lib es2022,dom --module esnext --moduleResolution bundler",
    },
    {
      ...dom,
      name: "nodenext, results of one call, which are the caller's own",
      file: "blob.ts",
      content: blob,
      flags: "--lib es2022,dom --module nodenext",
      versions: ["5.9", "7"],
    },
  ];

  const strict =
    "--noEmit --strict --exactOptionalPropertyTypes --noUncheckedIndexedAccess --skipLibCheck false --target es2022";

  function errorsOf(version: string, some: readonly Program[]): string[] {
    const given = some.map(({ type, file, content, flags }) => {
      const folder = app(`typescript-${type}`, { "package.json": { type }, [file]: content });
      const deprecated = version === "5.9" && flags.includes("node10") ? ["--ignoreDeprecations", "5.0"] : [];
      return { folder, args: [...strict.split(" "), ...flags.split(" "), ...deprecated, file] };
    });
    const compiler = compilers[version] as string;
    // TypeScript 7 has no library to call.
    if (version === "7")
      return given.map(({ folder, args }) => {
        const ended = spawnSync(process.execPath, [compiler, ...args], { cwd: folder, encoding: "utf8" });
        return ended.status === 0 ? ended.stdout : `status ${ended.status}: ${ended.stdout}${ended.stderr}`;
      });
    return JSON.parse(output(process.execPath, [compileScript, compiler, JSON.stringify(given)], project.folder));
  }

  describe.each(all)("%s compiles with", (version) => {
    const some = programs.filter(({ versions }) => versions.includes(version));
    let errors: string[];
    beforeAll(() => {
      errors = errorsOf(version, some);
    }, 120_000);

    test.each(some.map(({ name }, i) => [name, i] as const))("%s", (_, i) => {
      expect(errors[i]).toBe("");
    });
  });
});

describe("Parcel with default settings", () => {
  test("bundles for Node", () => {
    const folder = app("parcel", {
      "package.json": {
        name: "app",
        private: true,
        source: "main.js",
        targets: {
          main: false,
          out: {
            distDir: "out",
            context: "node",
            includeNodeModules: true,
            outputFormat: "commonjs",
            engines: { node: ">=20" },
          },
        },
      },
      "main.js": `import { sparseSoftmaxCrossEntropyWithLogits } from "xent";\nconsole.log(${LOSS});`,
    });
    run(process.execPath, [join(tools, "parcel/lib/bin.js"), "build", "--no-cache", "--no-source-maps"], folder);
    expect(output(process.execPath, ["out/main.js"], folder).trim()).toBe("0.693147");
  });
});
