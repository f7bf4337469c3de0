// Applications with xent from the tarball, bundled with default settings, run in Chromium and Node.
import { spawnSync } from "node:child_process";
import { copyFileSync, cpSync, existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { createServer } from "vite";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { hasChromium, launchTab, type Tab } from "../runtimes/chromium.ts";
import { engines } from "../runtimes/engines.ts";
import { output, type PackedProject, packedProject } from "../support/packed.ts";
import { isolation, serve } from "../support/serve.ts";

/** What the application prints for one form of call. */
interface Outcome {
  form: string;
  variant: string;
  sum: number;
  bits: string;
}

const app = fileURLToPath(new URL("app", import.meta.url));
let project: PackedProject;
// The same sources with two main scripts.
let full: string;
let oneCall: string;
let unbundled: Outcome[];

beforeAll(() => {
  project = packedProject();
  full = join(project.folder, "full");
  oneCall = join(project.folder, "one-call");
  for (const folder of [full, oneCall]) cpSync(app, folder, { recursive: true });
  copyFileSync(join(app, "one-call.js"), join(oneCall, "main.js"));
  unbundled = underNode("full/single.js");
}, 60_000);

afterAll(() => project.remove());

// It runs the relaxed variant, as Chromium does. Without it, the bits of that variant are not known.
const newer = engines.find(({ name, installed }) => installed && name === "Node.js 24");
const underNode = (file: string): Outcome[] =>
  JSON.parse(output(newer?.command ?? process.execPath, [file], project.folder));

interface Bundle {
  readonly platform: "browser" | "node";
  readonly app: string;
  readonly out: string;
}

/** Bundles applications in a process of their own, and returns the warnings of each. */
function bundle(name: string, bundles: readonly Bundle[]): string[][] {
  const script = fileURLToPath(new URL("bundle.mjs", import.meta.url));
  const run = () =>
    spawnSync(process.execPath, [script, name, JSON.stringify(bundles)], { encoding: "utf8", timeout: 60_000 });
  let ended = run();
  // On two busy cores, one build in hundreds never ended, as others report of Vite (rolldown/rolldown#10664).
  if (ended.signal) ended = run();
  if (ended.status !== 0) throw new Error(`${name}: ${ended.error ?? ended.stderr}`);
  return JSON.parse(ended.stdout);
}

describe.each(["esbuild", "vite", "webpack", "rollup"])("%s", (name) => {
  const bundlesForNode = name === "esbuild" || name === "webpack";
  let out: string;
  let oneCallOut: string;
  let nodeOut: string;
  let warnings: string[][];

  beforeAll(() => {
    out = join(full, "out", name);
    oneCallOut = join(oneCall, "out", name);
    nodeOut = join(full, "out", `${name}-node`);
    warnings = bundle(name, [
      { platform: "browser", app: full, out },
      { platform: "browser", app: oneCall, out: oneCallOut },
      ...(bundlesForNode ? [{ platform: "node", app: full, out: nodeOut } as const] : []),
    ]);
    if (!existsSync(join(out, "index.html"))) copyFileSync(join(app, "index.html"), join(out, "index.html"));
  }, 150_000);

  test.runIf(bundlesForNode)(
    "bundles an application for Node, with the bits of a single thread without a bundler",
    () => {
      expect(warnings[2]).toEqual([]);
      expect(underNode(join(nodeOut, "main.cjs"))).toEqual(unbundled);
    },
  );

  // The two variants of the kernel are larger than the 250 or 500 kB from which bundlers warn. esbuild.test.ts has the bound.
  test("gives no warning for a page except for its size", () => {
    expect(
      warnings
        .slice(0, 2)
        .flat()
        .filter((text) => !/larger than 500 kB|size limit|performance recommendations/.test(text)),
    ).toEqual([]);
  });

  test("puts the pool into a page that uses createXent, and not into one with only the one-call form", () => {
    const pool = /\bAtomics\.wait\b|\bnew Worker\b/;
    expect(scripts(out)).toMatch(pool);
    expect(scripts(oneCallOut)).not.toMatch(pool);
  });

  test.skipIf(!hasChromium)("bundles a page, with the bits of a single thread without a bundler", async () => {
    const server = await serve(out);
    onTestFinished(server.close);
    expect(await onPage(server.url)).toMatchObject(expectedOnPage());
  });
});

describe.skipIf(!hasChromium)("a page of the development server of vite", () => {
  test("computes the bits of a single thread without a bundler", async () => {
    const server = await createServer({
      root: full,
      configFile: false,
      logLevel: "error",
      server: { headers: isolation },
    });
    onTestFinished(() => server.close());
    await server.listen();
    expect(await onPage(server.resolvedUrls?.local[0] as string)).toMatchObject(expectedOnPage());
  });
});

/** All scripts of a bundle. */
function scripts(folder: string): string {
  const files = readdirSync(folder, { recursive: true, encoding: "utf8" }).filter((file) => file.endsWith(".js"));
  return files.map((file) => readFileSync(join(folder, file), "utf8")).join("\n");
}

function expectedOnPage(): Partial<Outcome>[] {
  const known = (form: string, variant: string) => ({
    ...unbundled.find((outcome) => outcome.variant === variant),
    form,
    variant,
  });
  return [known("runAsync", "simd128"), known("runAsync", "relaxed"), known("one call", "relaxed")];
}

let tab: Promise<Tab> | undefined;
afterAll(async () => (await tab)?.close());

async function onPage(url: string): Promise<Outcome[]> {
  tab ??= launchTab();
  return JSON.parse((await (await tab).read(url)).printed);
}
