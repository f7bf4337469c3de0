// Builds dist/index.html: the whole page in one file, which also works from disk. Run as a script, prints its size.
import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";

const here = dirname(fileURLToPath(import.meta.url));

/** Path of the page. */
export const page = join(here, "dist/index.html");

/** @returns {Promise<string>} The page, also written to {@link page}. */
export async function buildPlayground() {
  const { outputFiles } = await build({
    entryPoints: { script: join(here, "src/main.tsx"), style: join(here, "src/style.css") },
    outdir: dirname(page),
    bundle: true,
    minify: true,
    format: "iife",
    target: "es2022",
    jsx: "automatic",
    jsxImportSource: "preact",
    loader: { ".woff2": "dataurl" },
    write: false,
  });
  const [script, style] = [".js", ".css"].map((end) => outputFiles.find(({ path }) => path.endsWith(end)).text.trim());
  // With this policy, the browser loads nothing but this file, and no request can leave the page.
  const policy = [
    "default-src 'none'",
    `script-src ${sha256(script)} 'wasm-unsafe-eval'`,
    `style-src ${sha256(style)}`,
    "font-src data:",
    "img-src data:",
  ].join("; ");
  const parts = { policy, style, script };
  // A replacement function, because "$&" and similar patterns in a replacement string have a meaning.
  const html = readFileSync(join(here, "src/page.html"), "utf8").replace(
    /%(policy)%|\/\* (style|script) \*\//g,
    (_, ...names) => parts[names.find((name) => name in parts)],
  );
  mkdirSync(dirname(page), { recursive: true });
  writeFileSync(page, html);
  return html;
}

function sha256(text) {
  return `'sha256-${createHash("sha256").update(text).digest("base64")}'`;
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  const html = await buildPlayground();
  const kB = (bytes) => `${(bytes / 1000).toFixed(0)} kB`;
  console.log(`${page}: ${kB(Buffer.byteLength(html))}, ${kB(gzipSync(html, { level: 9 }).length)} compressed`);
}
