// The dist of packages/xent: each entry one file, as an ES module and as CommonJS, and its types. What differs where nothing may be
// compiled at run time is in src/edge.
import { copyFileSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { rolldown } from "rolldown";
import { dts } from "rolldown-plugin-dts";
import { root } from "./toolchain.mjs";

const index = "src/index.ts";
const worker = "src/pool/worker.ts";

/** Files, what they are made of, and where nothing may be compiled which modules are imported, and what follows their names. */
const entries = [
  { file: "index.js", input: index },
  { file: "index.cjs", input: index },
  { file: "worker.js", input: worker },
  { file: "worker.cjs", input: worker },
  // wrangler and workerd give a module for a .wasm file; Next.js and Vercel for one that says so.
  { file: "workerd.js", input: index, wasm: { variants: ["simd128", "relaxed"], suffix: "" } },
  // Its sandbox compiles both on the Node.js that it runs on: Node.js 20 has no relaxed SIMD.
  { file: "edge-light.js", input: index, wasm: { variants: ["simd128"], suffix: "?module" } },
];

function edge(core, { variants, suffix }) {
  const replaced = { "/compile.ts": "compile.ts", "/runtime.ts": "runtime.ts", "/generated/worker.ts": "worker.ts" };
  return {
    name: "edge",
    resolveId(id, importer) {
      if (id.startsWith("wasm:")) {
        const variant = id.slice(5);
        return variants.includes(variant) ? { id: `./xent-${variant}.wasm${suffix}`, external: true } : id;
      }
      const end = Object.keys(replaced).find((file) => id.endsWith(file));
      return end && !importer?.includes("/edge/") ? join(core, "src/edge", replaced[end]) : undefined;
    },
    // A variant that is left out.
    load: (id) => (id.startsWith("wasm:") ? "export default undefined;" : undefined),
  };
}

/** @param {string} core The folder of the package. */
export async function bundlePackage(core = join(root, "packages/xent")) {
  const dist = join(core, "dist");
  const cwd = join(core, "../..");
  for (const { file, input, wasm } of entries) {
    const bundle = await rolldown({
      cwd,
      input: join(core, input),
      // Apart from its own files there is nothing to be resolved.
      platform: "neutral",
      transform: { target: "es2022" },
      plugins: wasm === undefined ? [] : [edge(core, wasm)],
    });
    await bundle.write({
      file: join(dist, file),
      format: file.endsWith(".cjs") ? "cjs" : "es",
      // The types have them.
      comments: { legal: false, jsdoc: false },
    });
  }
  const types = await rolldown({
    cwd,
    input: join(core, index),
    plugins: [dts({ oxc: { stripInternal: true }, emitDtsOnly: true, tsconfig: false })],
  });
  await types.write({ dir: dist, format: "es" });
  const text = readFileSync(join(dist, "index.d.ts"), "utf8");
  writeFileSync(join(dist, "index.d.ts"), `/// <reference lib="esnext.disposable" preserve="true" />\n${text}`);
  // A worker exports nothing.
  writeFileSync(join(dist, "worker.d.ts"), "export {};\n");
  for (const name of ["index", "worker"]) copyFileSync(join(dist, `${name}.d.ts`), join(dist, `${name}.d.cts`));
  writeFileSync(
    join(dist, "wasm.d.ts"),
    `import type { WasmModule } from "./index.js";
/** What bundlers for edge runtimes, and source-phase imports, make of the file. */
declare const module: WasmModule;
export default module;
`,
  );
}
