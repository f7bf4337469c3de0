// The packed package in every supported runtime: all of them run the same suite, test/runtimes/suite.mjs.
import { execFile } from "node:child_process";
import { copyFileSync, cpSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Variant } from "xent";
import { blocksRunBy } from "../support/blocks.ts";
import { type PackedProject, packedProject } from "../support/packed.ts";
import { isolation, serve } from "../support/serve.ts";
import { ulp } from "../support/ulp.ts";
import { browsers, type PageReader } from "./browsers.ts";
import { hasChromium, launchTab, type Tab } from "./chromium.ts";
import { type Engine, engines } from "./engines.ts";

/** The output of the suite: the bits of each shape, unless noted. A part that failed is its error. */
interface Seen {
  engine: { variant: Variant; fuses: boolean; isolated?: boolean };
  rows: { loss: string[]; gradient: string[] };
  labels: Record<string, string>;
  batches: Record<"simd128", string[]> & { relaxed?: string[] };
  growth: unknown;
  threads: { threads: number; run: string[]; runAsync: string[] };
  share: Record<string, string[]> | string;
  module: { variant: Variant; run: string[] };
  dispose: unknown;
}

const here = fileURLToPath(new URL(".", import.meta.url));
let project: PackedProject;
const seenIn = new Map<string, Seen>();

beforeAll(() => {
  project = packedProject();
  for (const file of ["main.mjs", "suite.mjs", "web-worker.mjs"])
    copyFileSync(join(here, file), join(project.folder, file));
  copyFileSync(join(here, "../support/row-worker.mjs"), join(project.folder, "row-worker.mjs"));
  cpSync(join(here, "page"), project.folder, { recursive: true });
  cpSync(join(here, "snippets"), project.folder, { recursive: true });
}, 60_000);

afterAll(() => project.remove());

/** Rows of the suite to 17 places, from arithmetic with 60. */
const exactLoss = [
  0.29750749712664459,
  1.1448325535819712,
  1.0687090691350491e-13,
  0.31326168751822281,
  Infinity,
  NaN,
  1.3862943611198906,
];
const exactGradient = [
  [-0.25733298466875798, 0.00067722465769275901, 0.16571141006781642, 0.090944349943248806],
  [0.078486194983630381, 0.078486194983630381, 0.52475040232567671, -0.68172279229293753],
  [-1.068709069134992e-13, 9.3576229688391752e-14, 1.2664165549092822e-14, 6.3051167601463157e-16],
  [0.2689414213699951, 0, -0.2689414213699951, 0],
  [-1, 1 / 3, 1 / 3, 1 / 3],
  [NaN, NaN, NaN, NaN],
  [0.25, -0.75, 0.25, 0.25],
].flat();

function worst(got: string[], exact: number[]): number {
  expect(got).toHaveLength(exact.length);
  return Math.max(...exact.map((value, i) => ulp(Number(got[i]), value)));
}

/** Rules for every runtime. */
function rules(name: string, look: () => Promise<Seen>, variant: Variant, threads: number): void {
  let seen: Seen;
  beforeAll(async () => {
    seen = await look();
    seenIn.set(name, seen);
  }, 180_000);
  const expected = (of = variant) => seen.batches[of] as string[];

  test(`"auto" is ${variant}`, () => expect(seen.engine.variant).toBe(variant));

  test("losses are within 2 ulp, gradients within 3", () => {
    expect(worst(seen.rows.loss, exactLoss)).toBeLessThanOrEqual(2);
    expect(worst(seen.rows.gradient, exactGradient)).toBeLessThanOrEqual(3);
  });

  test("labels of every type give the same result, and one that is no class is refused", () => {
    const { outOfRange, ...loss } = seen.labels;
    expect(new Set(Object.values(loss)).size).toBe(1);
    expect(outOfRange).toBe(
      "RangeError: Received a label value of 7 at row 3, which is outside the valid range of [0, 5)",
    );
  });

  test("a batch keeps its contents and gets new views when the memory grows", () => {
    expect(seen.growth).toEqual({ grown: true, views: [0, 100], firstIsSame: true, secondIsRight: true });
  });

  test(`threads: 2 gives ${threads === 1 ? "one thread" : "two threads"}, with the bits of one`, () => {
    expect(seen.threads).toEqual({ threads, run: expected(), runAsync: expected() });
  });

  test("a precompiled module runs, and its variant is recognised", () => {
    expect(seen.module).toEqual({ variant: "simd128", run: expected("simd128") });
  });

  test("a disposed batch and a disposed instance throw", () => {
    expect(seen.dispose).toEqual({
      run: "TypeError: this batch was disposed",
      createBatch: "TypeError: this Xent was disposed",
    });
  });
}

interface Ended {
  code: unknown;
  stdout: string;
  stderr: string;
}

function run({ command, args, emulated }: Engine, more: readonly string[]): Promise<Ended> {
  const options = {
    cwd: project.folder,
    env: { ...process.env, DENO_DIR: join(project.folder, ".deno"), DENO_NO_UPDATE_CHECK: "1" },
    // Far above the time that it takes.
    timeout: emulated ? 170_000 : 50_000,
  };
  return new Promise((resolve) => {
    execFile(command, [...args, ...more], options, (error, stdout, stderr) => {
      resolve({ code: error ? (error.signal ?? error.code) : 0, stdout, stderr });
    });
  });
}

const printedBySnippets = "10.37349114853879\n";

const missing = engines.filter(({ installed }) => !installed).map(({ name }) => name);
const emulated = engines.filter((engine) => engine.emulated).map(({ name }) => name);
const missingBrowsers = browsers.filter(({ installed }) => !installed).map(({ name }) => name);
for (const name of [...missing, ...missingBrowsers, ...(hasChromium ? [] : ["Chromium"])]) {
  console.warn(`${name} is not installed: its tests are skipped`);
}

for (const engine of engines) {
  const { name, installed, emulated, variant, mayRead, workers, snippet } = engine;
  describe.skipIf(!installed)(name, () => {
    let ended: Ended;
    let endedOfSnippet: Ended | undefined;
    const look = async () => {
      // An emulator takes seconds to start, so its snippet runs behind the suite.
      const { stdout, ...rest } = await run(engine, [...mayRead, "main.mjs", ...(emulated ? [snippet] : [])]);
      const [json = "", ...printed] = stdout.split(/^/m);
      ended = { ...rest, stdout: json };
      if (emulated) endedOfSnippet = { ...rest, stdout: printed.join("") };
      return JSON.parse(json);
    };
    rules(name, look, variant, 2);

    test("workers of the caller run rows in the same memory", () => {
      const seen = seenIn.get(name);
      expect(seen?.share).toEqual(Object.fromEntries(workers.map((kind) => [kind, seen?.batches[variant]])));
    });

    test("the process ends by itself, without a warning", () => {
      expect(ended).toMatchObject({ code: 0, stderr: "" });
    });

    test(`${snippet} prints its mean and ends`, async () => {
      expect(endedOfSnippet ?? (await run(engine, [snippet]))).toEqual({
        code: 0,
        stdout: printedBySnippets,
        stderr: "",
      });
    });

    if (mayRead.length === 0) return;
    test("xent needs no permission, not even for threads", async () => {
      const { share: _, module: __, ...expected } = seenIn.get(name) as Seen;
      expect(JSON.parse((await run(engine, ["main.mjs"])).stdout)).toMatchObject(expected);
    });
  });
}

describe.skipIf(!hasChromium)("Chromium", () => {
  let tab: Tab;
  beforeAll(async () => {
    tab = await launchTab();
  }, 60_000);
  afterAll(() => tab?.close());

  /** The output of a page of the project, and its errors and warnings. */
  async function open(path: string, headers: Record<string, string>): Promise<{ printed: string; errors: string[] }> {
    const server = await serve(project.folder, headers);
    try {
      return await tab.read(server.url + path);
    } finally {
      await server.close();
    }
  }

  for (const isolated of [true, false]) {
    describe(isolated ? "in a page that is cross-origin isolated" : "in any other page", () => {
      const name = `Chromium, isolated: ${isolated}`;
      const headers = isolated ? isolation : {};
      let errors: string[];
      const look = async () => {
        const page = await open("", headers);
        errors = page.errors;
        return JSON.parse(page.printed);
      };
      rules(name, look, "relaxed", isolated ? 2 : 1);

      test("the page has no errors and no warnings", () => expect(errors).toEqual([]));

      test(`crossOriginIsolated is ${isolated}`, () => expect(seenIn.get(name)?.engine.isolated).toBe(isolated));

      test(`workers of the caller ${isolated ? "run rows in the same memory" : "can not have the memory"}`, () => {
        const seen = seenIn.get(name);
        if (isolated) expect(seen?.share).toEqual({ web: seen?.batches.relaxed });
        else expect(seen?.share).toMatch(/^DataCloneError: .* requires self\.crossOriginIsolated/);
      });

      test("browser.html prints its mean", async () => {
        expect(await open("browser.html", headers)).toEqual({ printed: printedBySnippets.trim(), errors: [] });
      });
    });
  }

  test.each([
    { workers: "blob:", starts: "embedded", blocked: "ofFiles" },
    { workers: "'self'", starts: "ofFiles", blocked: "embedded" },
  ])("a Content-Security-Policy that allows workers from $workers allows a pool of them", async (policy) => {
    const allowed = `default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; worker-src ${policy.workers}`;
    const { printed, errors } = await open("csp.html", { ...isolation, "Content-Security-Policy": allowed });
    const seen = JSON.parse(printed);
    expect(seen[policy.starts]).toEqual({ ...seen.alone, threads: 2 });
    expect(seen[policy.blocked]).toMatch(/^Error: .*createWorker/);
    // The browser reports the blocked worker.
    expect(errors).not.toEqual([]);
    for (const error of errors) expect(error).toContain("worker-src");
  });
});

for (const { name, installed, variant, threads, shares, launch } of browsers) {
  describe.skipIf(!installed)(name, () => {
    let browser: PageReader;
    beforeAll(async () => {
      browser = await launch();
    }, 60_000);
    afterAll(() => browser?.close());

    for (const isolated of [true, false]) {
      describe(isolated ? "in a page that is cross-origin isolated" : "in any other page", () => {
        const title = `${name}, isolated: ${isolated}`;
        const look = async () => {
          const server = await serve(project.folder, isolated ? isolation : {});
          try {
            return JSON.parse(await browser.read(server.url));
          } finally {
            await server.close();
          }
        };
        rules(title, look, variant, isolated ? threads : 1);

        test(`crossOriginIsolated is ${isolated}`, () => expect(seenIn.get(title)?.engine.isolated).toBe(isolated));

        const may = isolated && shares;
        test(`workers of the caller ${may ? "run rows in the same memory" : "can not have the memory"}`, () => {
          const seen = seenIn.get(title);
          if (may) expect(seen?.share).toEqual({ web: seen?.batches[variant] });
          else expect(seen?.share).toMatch(/Error/);
        });
      });
    }
  });
}

describe("all runtimes", () => {
  test("give the same bits with simd128", () => {
    const [first, ...others] = [...seenIn.values()].map(({ batches }) => batches.simd128);
    expect(first).toHaveLength(5);
    for (const bits of others) expect(bits).toEqual(first);
  });

  test("that fuse give the same bits with relaxed, and the others give those of simd128", () => {
    const relaxed = [...seenIn.values()].filter(({ batches }) => batches.relaxed !== undefined);
    const fused = relaxed.find(({ engine }) => engine.fuses)?.batches.relaxed;
    for (const { engine, batches } of relaxed) {
      expect(batches.relaxed).toEqual(engine.fuses ? fused : batches.simd128);
      expect(engine.variant).toBe(engine.fuses ? "relaxed" : "simd128");
    }
  });

  // npm has Node.js only for this kind of machine.
  test.runIf(process.platform === "linux" && process.arch === "x64")("are installed by the set-up", () => {
    expect(
      missing.filter((name) => !emulated.includes(name)),
      "remove .tools/test-runtimes.stamp, and run the set-up again",
    ).toEqual([]);
  });
});

test("docs/environments.md shows exactly the programs of snippets/", () => {
  const snippets = readdirSync(join(here, "snippets")).map((file) =>
    readFileSync(join(here, "snippets", file), "utf8"),
  );
  expect(
    blocksRunBy("runtimes")
      .map(({ code }) => code)
      .sort(),
  ).toEqual(snippets.sort());
});
