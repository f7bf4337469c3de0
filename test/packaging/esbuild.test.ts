// An application bundled by esbuild without configuration: it runs, and contains only what it uses.
import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";
import { afterAll, describe, expect, test } from "vitest";

const folder = mkdtempSync(join(tmpdir(), "xent-bundle-"));
afterAll(() => rmSync(folder, { recursive: true }));

async function bundle(source: string): Promise<Uint8Array> {
  const { outputFiles, warnings } = await build({
    stdin: { contents: source, resolveDir: fileURLToPath(new URL("../..", import.meta.url)) },
    bundle: true,
    minify: true,
    format: "esm",
    platform: "neutral",
    write: false,
  });
  expect(warnings).toEqual([]);
  return (outputFiles[0] as { contents: Uint8Array }).contents;
}

describe("a bundled application", () => {
  // Most of it is wasm. The aims are 53 and 46: see test/packaging/module.test.ts.
  test.each([
    ["all of the package", 'export * from "xent";', 89],
    ["one call", 'export { sparseSoftmaxCrossEntropyWithLogits } from "xent";', 72],
  ])("that uses %s is small, compressed", async (_, source, kilobytes) => {
    expect(gzipSync(await bundle(source), { level: 9 }).length).toBeLessThan(kilobytes * 1024);
  });

  test("contains batches, shards and threads only if it imports them", async () => {
    const isOf = (code: Uint8Array) =>
      ["createBatch", "gradientFromPartials", "createWorker"].map((name) => Buffer.from(code).includes(name));
    expect(isOf(await bundle('export { klDivergenceWithLogits } from "xent";'))).toEqual([false, false, false]);
    expect(isOf(await bundle('export { createXent } from "xent";'))).toEqual([true, true, true]);
  });

  test("contains xent/linear only if it imports it", async () => {
    const withLinear = await bundle('export { createLinear } from "xent/linear";');
    const without = await bundle('export * from "xent";');
    const isOfLinear = (code: Uint8Array) => Buffer.from(code).includes("chunkRows");
    expect([isOfLinear(withLinear), isOfLinear(without)]).toEqual([true, false]);
    expect(Buffer.from(withLinear).includes("createBatch()")).toBe(false);
    expect(gzipSync(withLinear, { level: 9 }).length).toBeLessThan(23 * 1024);
  });

  test("that throws prints the line of its source, not the embedded wasm", async () => {
    const file = join(folder, "throws.mjs");
    writeFileSync(
      file,
      await bundle('import { createXentSync } from "xent"; createXentSync().createBatch({ rows: 1, classes: 0 });'),
    );
    const { status, stderr } = spawnSync(process.execPath, [file], { encoding: "utf8" });
    expect(status).toBe(1);
    expect(stderr).toContain('RangeError: "classes" expected an integer');
    expect(stderr).not.toMatch(/[0-9a-f]{200}/);
  });

  test("runs", async () => {
    const contents = await bundle(`
      import { sparseSoftmaxCrossEntropyWithLogits } from "xent";
      console.log(sparseSoftmaxCrossEntropyWithLogits([[2, -5, 0.5, -0.1]], [0]).loss[0].toFixed(6));`);
    const file = join(folder, "app.mjs");
    writeFileSync(file, contents);
    expect(execFileSync(process.execPath, [file], { encoding: "utf8" })).toBe("0.297507\n");
  });

  test("that imports xent without using it contains none of it", async () => {
    const contents = await bundle(`import { attach } from "xent"; console.log(1);`);
    expect(new TextDecoder().decode(contents).trim()).toBe("console.log(1);");
  });
});
