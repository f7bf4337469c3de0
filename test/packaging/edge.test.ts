// The tarball in edge runtimes: workerd of Cloudflare Workers, and the runtime of Next.js.
import { readFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { EdgeRuntime } from "edge-runtime";
import { build, type Plugin } from "esbuild";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type PackedProject, packedProject } from "../support/packed.ts";

interface Miniflare {
  dispatchFetch(url: string): Promise<Response>;
  dispose(): Promise<void>;
}
// Its types need packages that are not installed.
const name: string = "miniflare";
const { Miniflare } = (await import(name)) as { Miniflare: new (options: object) => Miniflare };
let project: PackedProject;
beforeAll(() => {
  project = packedProject();
}, 60_000);
afterAll(() => project.remove());

/** The response of the handler: results of one call and of a batch, and the threads of "auto". */
const ANSWER = `
  const { loss, gradient } = sparseSoftmaxCrossEntropyWithLogits([[0, 0], [2, 1]], [0, 1], { gradient: true });
  const xent = await createXent({ threads: "auto" });
  const batch = xent.createBatch({ rows: 1, classes: 2 });
  batch.setLogits([3, 0]);
  // Long enough for more than one slice.
  const long = xent.createBatch({ rows: 40, classes: 100_000 });
  long.logits.fill(1);
  const head = createLinear(xent, { rows: 2, features: 3, classes: 7, gradient: true });
  head.features.fill(1);
  const linear = head.run({ gradient: true }).mean + head.weightGradient[0];
  const answer = { linear, one: [...loss, ...gradient], batch: batch.run().mean, threads: xent.threads, async: (await long.runAsync({ temperature: 2 })).mean };`;

const EXPECTED = {
  linear: expect.closeTo(Math.log(7) + 2 * (1 / 7 - 1), 6),
  one: [Math.log(2), Math.log1p(Math.E), -0.5, 0.5, 1 / (1 + 1 / Math.E), -1 / (1 + 1 / Math.E)].map((x) =>
    expect.closeTo(x, 6),
  ),
  batch: expect.closeTo(Math.log1p(Math.exp(-3)), 7),
  threads: 1,
  async: expect.closeTo(Math.log(100_000), 4),
};

/** Bundles a script of the project with the conditions of its platform. */
async function bundle(
  source: string,
  conditions: string[],
  options: { plugins?: Plugin[]; format: "esm" | "iife" },
): Promise<string> {
  const outfile = join(project.folder, `out-${conditions[0]}`, "main.js");
  await build({
    stdin: { contents: source, resolveDir: project.folder },
    bundle: true,
    outfile,
    conditions,
    loader: { ".wasm": "copy" },
    mainFields: ["browser", "module", "main"],
    assetNames: "[name]",
    ...options,
  });
  return outfile;
}

describe("workerd", () => {
  async function answerOf(source: string, conditions: string[]): Promise<unknown> {
    const path = await bundle(source, conditions, { format: "esm" });
    const miniflare = new Miniflare({
      modules: true,
      modulesRules: [
        { type: "ESModule", include: ["**/*.js"] },
        { type: "CompiledWasm", include: ["**/*.wasm"] },
      ],
      scriptPath: path,
      modulesRoot: dirname(path),
      compatibilityDate: "2025-01-01",
    });
    try {
      return await (await miniflare.dispatchFetch("http://localhost/")).json();
    } finally {
      await miniflare.dispose();
    }
  }

  test("computes batches and one-calls without a setting", async () => {
    const worker = `import { createXent, sparseSoftmaxCrossEntropyWithLogits } from "xent";
      import { createLinear } from "xent/linear";
      export default { async fetch() { ${ANSWER} return Response.json(answer); } };`;
    expect(await answerOf(worker, ["workerd", "worker", "browser"])).toEqual(EXPECTED);
  }, 60_000);

  test("accepts a module, and an error names the option if it is missing", async () => {
    const worker = `import { createXentSync, sparseSoftmaxCrossEntropyWithLogits } from "xent";
      import module from "xent/xent-simd128.wasm";
      export default { fetch() {
        let error;
        try { sparseSoftmaxCrossEntropyWithLogits([[0, 0]], [0]); } catch (thrown) { error = String(thrown); }
        const xent = createXentSync({ module });
        return Response.json([error, xent.variant, xent.sparseSoftmaxCrossEntropyWithLogits([[0, 0]], [0]).loss[0].toFixed(6)]);
      } };`;
    expect(await answerOf(worker, ["import"])).toEqual([
      expect.stringMatching(
        /^Error: this environment does not allow compiling WebAssembly at run time: create an instance with "module"/,
      ),
      "simd128",
      "0.693147",
    ]);
  }, 60_000);
});

test("the edge runtime of Next.js computes batches and one-calls, with the module that its bundler provides", async () => {
  // Next.js puts each file into a variable of the sandbox.
  const modules: Plugin = {
    name: "modules",
    setup(build) {
      build.onResolve({ filter: /\.wasm\?module$/ }, ({ path }) => ({
        path: basename(path, ".wasm?module"),
        namespace: "module",
      }));
      build.onLoad({ filter: /.*/, namespace: "module" }, ({ path }) => ({
        contents: `export default globalThis.wasm[${JSON.stringify(path)}];`,
      }));
    },
  };
  const script = `import { createXent, sparseSoftmaxCrossEntropyWithLogits } from "xent";
    import { createLinear } from "xent/linear";
    addEventListener("fetch", (event) => event.respondWith((async () => { ${ANSWER} return Response.json(answer); })()));`;
  const path = await bundle(script, ["edge-light", "worker", "import"], { format: "iife", plugins: [modules] });
  const moduleOf = (name: string): [string, WebAssembly.Module] => {
    const bytes = readFileSync(join(project.folder, `node_modules/xent/dist/${name}.wasm`));
    return [name, new WebAssembly.Module(bytes)];
  };
  const wasm = Object.fromEntries(["xent-simd128", "xent-linear-simd128"].map(moduleOf));
  const code = readFileSync(path, "utf8");
  // Code that its build refuses or warns of.
  expect(code).not.toMatch(
    /WebAssembly\.(compile|instantiate)\b|\beval\(|new Function|getBuiltinModule|MessageChannel/,
  );
  const runtime = new EdgeRuntime({ initialCode: code, extend: (context) => Object.assign(context, { wasm }) });
  expect(await (await runtime.dispatchFetch("http://localhost/")).json()).toEqual(EXPECTED);
});
