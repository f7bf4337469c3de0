// Imports a TypeScript module of the packages' sources: Node.js 20 cannot run TypeScript.
import { join } from "node:path";
import { buildSync } from "esbuild";
import { root } from "./toolchain.mjs";

/** @param {string} path From the folder of the repository. */
export function importSource(path) {
  const { outputFiles } = buildSync({ entryPoints: [join(root, path)], bundle: true, format: "esm", write: false });
  return import(`data:text/javascript;base64,${Buffer.from(outputFiles[0].contents).toString("base64")}`);
}
