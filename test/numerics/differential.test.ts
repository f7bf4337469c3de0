// The wasm gives the bits of the scalar kernel, which the tests and the fuzzer in Rust cover, for the same jobs. Results may differ only
// if the engine fuses products and sums, and then within the contract. crates/kernel/examples/differential.rs compares them, and checks
// that nothing else was written.
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { HEAP_START, importsOf, type Kernel, PAGE } from "../../packages/xent/src/abi.ts";
import { variants } from "../support/variants.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));
/** XENT_DIFFERENTIAL has another seed and another number of jobs. */
const [seed = "1", count = "1500"] = process.env["XENT_DIFFERENTIAL"]?.split(" ") ?? [];

function differential(args: string[], input?: Uint8Array): { status: number | null; stdout: Buffer; stderr: string } {
  const command = ["run", "--quiet", "--release", "-p", "xent-kernel", "--example", "differential", "--", ...args];
  const { status, stdout, stderr, error } = spawnSync("cargo", command, {
    cwd: root,
    maxBuffer: 2 ** 31,
    ...(input && { input }),
  });
  if (error) throw error;
  return { status, stdout, stderr: String(stderr) };
}

const HEADER_WORDS = 5;
const jobs = differential(["make", seed, count]).stdout;

/** Runs every job by its header, and returns the memory of all after the runs. */
function results(kernel: Kernel, memory: WebAssembly.Memory): Uint8Array {
  const parts: Uint8Array[] = [];
  for (let at = 0; at < jobs.length; ) {
    const word = (index: number): number => jobs.readUInt32LE(at + 4 * index);
    const [bytes, scratch, record, rows, segments] = [word(0), word(1), word(2), word(3), word(4)];
    const start = at + 4 * HEADER_WORDS;
    const missing = HEAP_START + bytes - memory.buffer.byteLength;
    if (missing > 0) memory.grow(Math.ceil(missing / PAGE));
    const heap = new Uint8Array(memory.buffer);
    heap.set(jobs.subarray(start, start + bytes), HEAP_START);
    const job = HEAP_START;
    if (segments === 0) kernel.run(job, HEAP_START + scratch, 0, rows);
    for (let row = 0; segments > 0 && row < rows; row++) {
      const [own, shared] = [HEAP_START + scratch, HEAP_START + record];
      const [, , soft] = new Uint32Array(memory.buffer, job, 3);
      for (let segment = 0; soft && segment < segments; segment++) kernel.find_segment(job, own, shared, row, segment);
      for (let segment = 0; segment < segments; segment++) kernel.sum_segment(job, own, shared, row, segment);
      if (kernel.finish_row(job, own, shared, row) === 0) kernel.run(job, own, row, row + 1);
      else for (let segment = 0; segment < segments; segment++) kernel.write_segment(job, own, shared, row, segment);
    }
    kernel.reduce(job, 0, rows);
    parts.push(heap.slice(HEAP_START, HEAP_START + bytes));
    at = start + bytes;
  }
  return Buffer.concat(parts);
}

describe.each(variants)("%s", (variant) => {
  test(`${variant === "simd128" ? "has the bits of the scalar kernel" : "keeps the contract"}, and writes outputs only`, () => {
    const memory = new WebAssembly.Memory({ initial: 1, maximum: 65536 });
    const module = new WebAssembly.Module(readFileSync(`${root}packages/xent/dist/xent-${variant}.wasm`));
    const { exports } = new WebAssembly.Instance(module, importsOf(memory));
    const how = variant === "simd128" ? "bits" : "contract";
    const { status, stderr } = differential(["judge", seed, count, how], results(exports as unknown as Kernel, memory));
    expect(stderr).toBe("");
    expect(status).toBe(0);
  });
});
