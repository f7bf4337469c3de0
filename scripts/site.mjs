// Builds the site into site/dist, and serves it on this machine until it is stopped. --build only builds; --port 4173 is the port.
// A dead link fails the build.
import { cpSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import { buildPlayground, page } from "../packages/playground/build.mjs";
import { root } from "./toolchain.mjs";

const { values } = parseArgs({ options: { build: { type: "boolean" }, port: { type: "string", default: "4173" } } });
const site = join(root, "site");
const vitepress = createRequire(join(site, "package.json")).resolve("vitepress");
const { build, serve } = await import(pathToFileURL(vitepress));

await buildPlayground();
await build(site);
cpSync(page, join(site, "dist/playground/index.html"));

if (!values.build) await serve({ root: site, port: Number(values.port) });
