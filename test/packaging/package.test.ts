// The package as users install it: packed, installed into an empty project, run and compiled there.
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { runInNewContext } from "node:vm";
import { buildSync } from "esbuild";
import { afterAll, describe, expect, test } from "vitest";
import { output, packedProject } from "../support/packed.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));
const { folder: project, files, write, remove } = packedProject();
const installed = join(project, "node_modules/xent");
const manifest: Record<string, unknown> = JSON.parse(readFileSync(join(installed, "package.json"), "utf8"));

afterAll(remove);

describe("the tarball", () => {
  test("contains code, types and modules, and no other files", () => {
    const code = files.filter((path) => /\.(c?js|d\.c?ts)$/.test(path));
    expect(code.sort()).toEqual(
      [
        ...["edge-light.js", "index.cjs", "index.d.cts", "index.d.ts", "index.js", "linear-edge-light.js"],
        ...["linear-workerd.js", "linear.cjs", "linear.d.cts", "linear.d.ts", "linear.js", "wasm.d.ts"],
        ...["worker.cjs", "worker.d.cts", "worker.d.ts", "worker.js", "workerd.js"],
      ].map((name) => `dist/${name}`),
    );
    expect(files.filter((path) => path.endsWith(".wasm")).sort()).toEqual([
      "dist/xent-linear-relaxed-shared.wasm",
      "dist/xent-linear-relaxed.wasm",
      "dist/xent-linear-simd128-shared.wasm",
      "dist/xent-linear-simd128.wasm",
      "dist/xent-relaxed-shared.wasm",
      "dist/xent-relaxed.wasm",
      "dist/xent-simd128-shared.wasm",
      "dist/xent-simd128.wasm",
    ]);
    const known =
      /^(((linear|worker)\/)?package\.json|README\.md|CHANGELOG\.md|LICENSE(-\w+)?|dist\/[\w-]+\.(c?js|d\.c?ts|wasm))$/;
    expect(files.filter((path) => !known.test(path))).toEqual([]);
  });

  test("has no dependencies and no install scripts", () => {
    expect(readdirSync(join(project, "node_modules")).filter((name) => !name.startsWith("."))).toEqual(["xent"]);
    expect(Object.keys(manifest).filter((name) => /dependencies$/i.test(name))).toEqual([]);
    expect(manifest["scripts"]).toBeUndefined();
  });

  test("evaluates no strings, uses no network and opens no file", () => {
    // The script of a Node worker is a string of the package: { eval: true } in spawn.js.
    const outside =
      /\beval\(|new Function|\bfetch\(|XMLHttpRequest|WebSocket|importScripts|node:(fs|net|http|child_process)/;
    const scripts = files.filter((path) => path.endsWith(".js"));
    expect(scripts.filter((path) => outside.test(readFileSync(join(installed, path), "utf8")))).toEqual([]);
  });

  // V8 stores a script with one other character as two bytes for each, and takes longer to parse it.
  test("has scripts in ASCII", () => {
    const scripts = files.filter((path) => /\.c?js$/.test(path));
    expect(scripts.length).toBeGreaterThan(8);
    expect(scripts.filter((path) => readFileSync(join(installed, path)).some((byte) => byte > 127))).toEqual([]);
  });

  test("has the functions that every first call runs, and no others, compiled with the script", () => {
    for (const file of ["index.js", "index.cjs"]) {
      const script = readFileSync(join(installed, "dist", file), "utf8");
      const eager = Array.from(script.matchAll(/^const (\w+) = \(function \1\(/gm), ([, name]) => name);
      const lazy = Array.from(script.matchAll(/^function (\w+)\(/gm), ([, name]) => name);
      expect(eager).toEqual(expect.arrayContaining(["computeCall", "fuses", "readLabelsCall"]));
      expect(lazy).toEqual(expect.arrayContaining(["mergePartials", "readDivergence", "unfuse", "wrongType"]));
    }
  });

  test("contains every file that it exports, with types before code", () => {
    type Target = string | { [condition: string]: Target };
    const look = (name: string, target: Target): string[] => {
      if (typeof target === "string") return [target];
      const conditions = Object.keys(target);
      if (conditions.includes("types")) expect(conditions, name).toEqual(["types", "default"]);
      return Object.values(target).flatMap((inner) => look(name, inner));
    };
    const exported = Object.entries(manifest["exports"] as Record<string, Target>);
    expect(exported.length).toBeGreaterThan(3);
    const paths = exported.flatMap(([name, target]) => look(name, target));
    const old = ["main", "module", "types"].map((name) => `./${manifest[name]}`);
    expect([...paths, ...old].filter((path) => !existsSync(join(installed, path)))).toEqual([]);
  });
});

describe("an installed package", () => {
  test("computes a loss and its gradient", () => {
    write(
      "run.mjs",
      `import { createXent, createXentSync, sparseSoftmaxCrossEntropyWithLogits } from "xent";
       const logits = [[0, 0, 0, 0], [0, 0, 0, 0]];
       const plain = sparseSoftmaxCrossEntropyWithLogits(logits, [0, 3]);
       const { loss, gradient } = sparseSoftmaxCrossEntropyWithLogits(logits, [0, 3], { gradient: true });
       const batches = [await createXent(), createXentSync({ shared: true })].map((xent) => {
         const batch = xent.createBatch({ rows: 2, classes: 4, gradient: "in-place" });
         batch.logits.fill(0);
         batch.labels.set([0, 3]);
         return [...batch.run({ gradient: true }).gradient];
       });
       console.log(JSON.stringify({ keys: Object.keys(plain), plain: [...plain.loss], loss: [...loss], gradient: [...gradient], batches }));`,
    );
    const { keys, plain, loss, gradient, batches } = JSON.parse(output(process.execPath, ["run.mjs"], project));
    expect(keys).not.toContain("gradient");
    expect(plain).toEqual(loss);
    expect(loss.map((x: number) => x.toFixed(6))).toEqual(["1.386294", "1.386294"]);
    expect(gradient.map((x: number) => x.toFixed(6))).toEqual(
      [-0.75, 0.25, 0.25, 0.25, 0.25, 0.25, 0.25, -0.75].map((x) => x.toFixed(6)),
    );
    expect(batches).toEqual([gradient, gradient]);
  });

  test("gives access to the files of its modules", () => {
    write(
      "modules.mjs",
      `import { readFileSync } from "node:fs";
       for (const variant of ["simd128", "relaxed"]) {
         const path = new URL(import.meta.resolve("xent/xent-" + variant + ".wasm"));
         console.log(readFileSync(path).subarray(0, 4).toString("hex"));
       }`,
    );
    expect(output(process.execPath, ["modules.mjs"], project)).toBe("0061736d\n0061736d\n");
  });

  test("does nothing when it is imported, and uses only WebAssembly when it runs", () => {
    write("import.mjs", 'import * as xent from "xent"; globalThis.xent = xent;');
    const { outputFiles, metafile } = buildSync({
      entryPoints: [join(project, "import.mjs")],
      absWorkingDir: project,
      // Modules of a runtime, such as node:fs, can not be resolved.
      platform: "neutral",
      bundle: true,
      format: "iife",
      write: false,
      metafile: true,
    });
    expect(Object.keys(metafile.inputs)).toContain("node_modules/xent/dist/index.js");
    expect(outputFiles[0]?.text).not.toMatch(/\bimport\(|import\.meta|\brequire\(/);
    // A context with only the language, without fetch, process and timers, and with traps.
    const touched: string[] = [];
    const trap = (name: string, value: object) =>
      new Proxy(value, {
        get(target, member) {
          touched.push(`${name}.${String(member)}`);
          return Reflect.get(target, member);
        },
      });
    const context = { WebAssembly: trap("WebAssembly", WebAssembly), xent: undefined };
    runInNewContext(outputFiles[0]?.text as string, context);
    expect(touched).toEqual([]);
    const loss = runInNewContext("xent.sparseSoftmaxCrossEntropyWithLogits([[0, -Infinity]], [0]).loss[0]", context);
    expect(loss).toBe(0);
    // Engines without relaxed SIMD are asked whether they have it.
    const used = [...new Set(touched)].filter((member) => member !== "WebAssembly.validate").sort();
    expect(used).toEqual(["Instance", "Memory", "Module"].map((member) => `WebAssembly.${member}`));
  });

  test("leaves no unused code in a bundle", () => {
    write("unused.mjs", 'import { createXent } from "xent"; console.log(1);');
    const { outputFiles } = buildSync({
      entryPoints: [join(project, "unused.mjs")],
      bundle: true,
      format: "esm",
      write: false,
    });
    expect(outputFiles[0]?.text.length).toBeLessThan(200);
  });
});

describe("a TypeScript consumer", () => {
  const consumer = `
    import {
      attach, type Batch, createXent, createXentSync, type Labels, type Logits, type LossOptions, type LossResult, type SharedXent,
      sparseSoftmaxCrossEntropyWithLogits, WorkerError,
    } from "xent";
    const options: LossOptions = { gradient: true, reduction: "mean", ignoreIndex: -100, predictions: true };
    const logits: Logits = [[2, -5, 0.5, -0.1]];
    const labels: Labels = new BigInt64Array([0n]);
    const result: LossResult = sparseSoftmaxCrossEntropyWithLogits(logits, labels, options);
    export const gradient: Float32Array | undefined = result.gradient;
    export async function use(): Promise<number> {
      const xent = await createXent({ variant: "simd128", maxBytes: 1e6, shared: true });
      const batch: Batch = xent.createBatch({ rows: 1, classes: 4, gradient: "in-place" });
      batch.logits.set([1, 2, 3, 4]);
      const shared: SharedXent = xent.share();
      const { loss } = attach(shared).attachBatch(batch.share()).run({ rows: [0, 1] });
      batch.dispose();
      createXentSync().dispose();
      const createWorker = () => new Worker("worker.js", { type: "module" });
      const pool = await createXent({ threads: "auto", createWorker });
      const threads: number = pool.threads;
      try {
        const { mean }: LossResult = await pool.createBatch({ rows: threads, classes: 4 }).runAsync({ rows: [0, 1] });
        return mean;
      } catch (error) {
        if (error instanceof WorkerError && error.canContinue) pool.dispose();
      }
      return loss[0] ?? 0;
    }
    // @ts-expect-error: no such option
    sparseSoftmaxCrossEntropyWithLogits(logits, labels, { gradients: true });
    // @ts-expect-error: no such type of labels
    sparseSoftmaxCrossEntropyWithLogits(logits, new Float32Array(1));
    // @ts-expect-error: views are the batch's to give
    createXentSync().createBatch({ rows: 1, classes: 2 }).logits = new Float32Array(2);
  `;

  test.each<[string, string, string[]]>([
    ["nodenext", "nodenext", []],
    ["bundler", "esnext", []],
    ["nodenext", "nodenext", ["--target", "es2022", "--lib", "es2022,dom"]],
    ["bundler", "esnext", ["--target", "es2022", "--lib", "es2022,dom"]],
  ])("compiles with moduleResolution %s, module %s, and %j", (resolution, module, more) => {
    write("consumer.ts", consumer);
    const strict = ["--noEmit", "--strict", "--exactOptionalPropertyTypes", "--noUncheckedIndexedAccess"];
    const args = [...strict, "--module", module, "--moduleResolution", resolution, ...more, "consumer.ts"];
    output(join(root, "node_modules/.bin/tsc"), args, project);
  });
});
