// Restricted environments: the package asks only for what it needs, and errors name what is missing.
import { fileURLToPath } from "node:url";
import { inspect } from "node:util";
import { createContext, runInContext } from "node:vm";
import { buildSync } from "esbuild";
import { describe, expect, test } from "vitest";
import { createXentSync } from "xent";
import { printed } from "../support/script.ts";
import { engines } from "./engines.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));

const newer = engines.find(({ name, installed }) => installed && name === "Node.js 24")?.command;
const LOSS = "xent.sparseSoftmaxCrossEntropyWithLogits([[0, 0]], [0]).loss[0].toFixed(3)";

test("the memory of a large one-call is freed", () => {
  const script = `
    const logits = new Float32Array(2e7), labels = new Int32Array(1000);
    xent.sparseSoftmaxCrossEntropyWithLogits([[0, 0]], [0]);
    const settled = async () => {
      for (let i = 0; i < 5; i++) { gc(); await new Promise((resolve) => setTimeout(resolve)); }
      return process.memoryUsage().rss;
    };
    const before = await settled();
    const one = xent.createXentSync();
    const beside = one.createBatch({ rows: 1, classes: 2 });
    for (const call of [xent, one]) for (let i = 0; i < 2; i++) call.sparseSoftmaxCrossEntropyWithLogits(logits, labels, { gradient: true });
    console.log(JSON.stringify([beside.logits.length, Math.round(((await settled()) - before) / 2 ** 20)]));`;
  const [length, kept] = printed([process.execPath, "--expose-gc"], script) as [number, number];
  expect(length).toBe(2);
  // The logits and their gradient took 160 MB, each time.
  expect(kept).toBeLessThan(80);
});

test("console.log of an instance shows its threads", () => {
  expect(inspect(createXentSync({ variant: "simd128" }))).toMatch(/^Xent \{\s+variant: 'simd128',\s+threads: 1,/);
});

describe("where process.getBuiltinModule throws", () => {
  test("one thread never calls it, and threads: auto is one thread", () => {
    const script = `
      const { log } = console;
      let asked = 0;
      globalThis.process = { getBuiltinModule() { asked++; throw new Error("not supported in the Edge Runtime"); } };
      const alone = [${LOSS}, xent.createXentSync().threads, (await xent.createXent()).threads, asked];
      log(JSON.stringify([...alone, (await xent.createXent({ threads: "auto" })).threads]));`;
    expect(printed([process.execPath], script)).toEqual(["0.693", 1, 1, 0, 1]);
  });
});

test.runIf(newer)(
  "under --permission without --allow-worker, auto is one thread, and a number is an error that names the flag",
  () => {
    const script = `
    const auto = await xent.createXent({ threads: "auto" });
    const batch = auto.createBatch({ rows: 1, classes: 2 });
    const two = await xent.createXent({ threads: 2 }).catch(String);
    console.log(JSON.stringify([auto.threads, batch.run().loss[0].toFixed(3), two]));`;
    expect(printed([newer as string, "--permission", "--allow-fs-read=*"], script)).toEqual([
      1,
      "0.693",
      expect.stringMatching(/^Error: a worker of the pool did not start: .*--allow-worker/),
    ]);
  },
);

test("if compilation is forbidden, the error names the option module, with which an instance runs", async () => {
  const { outputFiles } = buildSync({
    stdin: { contents: 'export * from "xent";', resolveDir: root },
    bundle: true,
    format: "iife",
    globalName: "xent",
    write: false,
  });
  const context = createContext({}, { codeGeneration: { strings: false, wasm: false } });
  runInContext(outputFiles[0]?.text ?? "", context);
  const message =
    /^this environment does not allow compiling WebAssembly at run time: create an instance with "module"/;
  expect(() => runInContext(LOSS, context)).toThrow(message);
  await expect(runInContext("xent.createXent()", context)).rejects.toThrow(message);
});
