// Builds the dist of packages/xent: one file for each entry, as an ES module and as CommonJS, and its types. src/edge replaces modules
// for runtimes that do not allow compiling wasm at run time.
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { rolldown } from "rolldown";
import { dts } from "rolldown-plugin-dts";
import { functionsCalled, withEager } from "./eager.mjs";
import { root } from "./toolchain.mjs";

const index = "src/index.ts";
const worker = "src/pool/worker.ts";
const linear = "src/linear/index.ts";

/** Output files and their entries. `wasm`: the modules that an edge build imports, and the suffix of their specifiers. */
const entries = [
  { file: "index.js", input: index },
  { file: "index.cjs", input: index },
  { file: "worker.js", input: worker },
  { file: "worker.cjs", input: worker },
  // wrangler and workerd import a .wasm file as a module; Next.js and Vercel need the suffix ?module.
  { file: "workerd.js", input: index, wasm: { variants: ["simd128", "relaxed"], suffix: "" } },
  // The edge-light sandbox compiles all imported modules on its Node.js, and Node.js 20 has no relaxed SIMD.
  { file: "edge-light.js", input: index, wasm: { variants: ["simd128"], suffix: "?module" } },
  { file: "linear.js", input: linear },
  { file: "linear.cjs", input: linear },
  { file: "linear-workerd.js", input: linear, wasm: { variants: ["linear-simd128", "linear-relaxed"], suffix: "" } },
  { file: "linear-edge-light.js", input: linear, wasm: { variants: ["linear-simd128"], suffix: "?module" } },
];

function edge(core, { variants, suffix }) {
  const replaced = {
    "/compile.ts": "compile.ts",
    "/runtime.ts": "runtime.ts",
    "/generated/worker.ts": "worker.ts",
    "/modules.ts": "linear-modules.ts",
  };
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
    // A variant that the entry leaves out.
    load: (id) => (id.startsWith("wasm:") ? "export default undefined;" : undefined),
  };
}

// One character beyond Latin-1, and V8 stores and parses the whole script with two bytes for each character.
function ascii(code) {
  return code.replace(/[^\0-\x7f]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

/** @param {string} core The folder of the package. */
export async function bundlePackage(core = join(root, "packages/xent")) {
  const dist = join(core, "dist");
  const cwd = join(core, "../..");
  for (const { file, input, wasm } of entries) {
    const bundle = await rolldown({
      cwd,
      input: join(core, input),
      // There are no imports to resolve but the package's own files.
      platform: "neutral",
      transform: { target: "es2022" },
      plugins: wasm === undefined ? [] : [edge(core, wasm)],
    });
    const { output } = await bundle.generate({
      format: file.endsWith(".cjs") ? "cjs" : "es",
      // The types keep the comments.
      comments: { legal: false, jsdoc: false },
    });
    writeFileSync(join(dist, file), ascii(output[0].code));
  }
  await compileEagerly(dist);
  await writeTypes(core, { input: index, name: "index" });
  await writeTypes(core, { input: linear, name: "linear", plugins: [besideIndex] });
  // A worker exports nothing.
  for (const file of ["worker.d.ts", "worker.d.cts"]) writeFileSync(join(dist, file), "export {};\n");
  writeFileSync(
    join(dist, "wasm.d.ts"),
    `import type { WasmModule } from "./index.js";
/** The type of the file in bundlers for edge runtimes and in source-phase imports. */
declare const module: WasmModule;
export default module;
`,
  );
}

/** Has the functions that every first call runs compiled with the script. */
async function compileEagerly(dist) {
  const called = await functionsCalled(pathToFileURL(join(dist, "index.js")).href, (xent) =>
    xent.sparseSoftmaxCrossEntropyWithLogits([[2, -5, 0.5, -0.1]], [0]),
  );
  // Only engines without relaxed SIMD call these: whether the engine of this script does must make no difference.
  for (const name of ["hasRelaxedSimd", "unfuse"]) called.delete(name);
  for (const file of ["index.js", "index.cjs"]) {
    const path = join(dist, file);
    writeFileSync(path, withEager(readFileSync(path, "utf8"), called));
  }
}

// Types of other entries import from the types of index: a class that is declared twice would be two types.
const besideIndex = {
  name: "beside-index",
  resolveId: (id) => (id === "../index.ts" ? { id: "./index.js", external: true } : undefined),
};

async function writeTypes(core, { input, name, plugins = [] }) {
  const dist = join(core, "dist");
  const types = await rolldown({
    cwd: join(core, "../.."),
    input: { [name]: join(core, input) },
    plugins: [...plugins, dts({ oxc: { stripInternal: true }, emitDtsOnly: true, tsconfig: false })],
  });
  await types.write({ dir: dist, format: "es" });
  const text = readFileSync(join(dist, `${name}.d.ts`), "utf8");
  const all = `/// <reference lib="esnext.disposable" preserve="true" />\n${text}`;
  writeFileSync(join(dist, `${name}.d.ts`), all);
  writeFileSync(join(dist, `${name}.d.cts`), all.replaceAll('"./index.js"', '"./index.cjs"'));
}
