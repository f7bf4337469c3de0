// The contents of the built modules, and the layout of the memory, on which Rust and TypeScript must agree.
import { readFileSync } from "node:fs";
import binaryen from "binaryen";
import { describe, expect, test } from "vitest";
import type { Variant } from "xent";
import { HEAP_START } from "../../packages/xent/src/abi.ts";
import { JOB_FIELDS, JobRecord } from "../../packages/xent/src/job.ts";

function read(path: string): Buffer<ArrayBuffer> {
  return readFileSync(new URL(`../../${path}`, import.meta.url));
}

function textOf(bytes: Uint8Array): string {
  const module = binaryen.readBinary(bytes);
  try {
    return module.emitText();
  } finally {
    module.dispose();
  }
}

const ALL: Variant[] = ["simd128", "relaxed"];

const KERNEL = {
  file: "xent",
  // The output of wasm-bindgen, with the names of functions and globals.
  raw: "target/wasm-pack/xent_wasm_bg.wasm",
  imports: [
    { module: "./xent_wasm_bg.js", name: "memory", kind: "memory" },
    // Never called.
    { module: "./xent_wasm_bg.js", name: "__wbindgen_init_externref_table", kind: "function" },
  ],
  exports: [
    "function __wbindgen_start",
    "function find_segment",
    "function finish_row",
    "function reduce",
    "function run",
    "function sum_segment",
    "function write_segment",
    "global __abort_handler",
    "global __instance_terminated",
    "table __wbindgen_externrefs",
  ],
  // The aim is 60 KB. Most of it is loops: one for each type, reduction and layout.
  kilobytes: 133,
};

const LINEAR = {
  file: "xent-linear",
  raw: "target/linear-wasm/wasm32-unknown-unknown/release/xent_linear_wasm.wasm",
  imports: [{ module: "env", name: "memory", kind: "memory" }],
  exports: ["function run", "global __data_end", "global __heap_base"],
  kilobytes: 20,
};

const built = [KERNEL, LINEAR].flatMap((module) => ALL.map((variant) => ({ ...module, variant })));

// The optimised module, as it is embedded.
describe.each(built)("$file, $variant", ({ file, variant, ...expected }) => {
  const bytes = read(`packages/xent/dist/${file}-${variant}.wasm`);
  const raw = read(expected.raw);
  const [text, rawText] = [textOf(bytes), textOf(raw)];
  const module = WebAssembly.validate(bytes) ? new WebAssembly.Module(bytes) : undefined;

  test.runIf(module)("imports a memory, and what wasm-bindgen needs", () => {
    expect(WebAssembly.Module.imports(module as WebAssembly.Module)).toEqual(expected.imports);
  });

  test.runIf(module)("exports its functions, and what its tools add", () => {
    const exports = WebAssembly.Module.exports(module as WebAssembly.Module).map(({ name, kind }) => `${kind} ${name}`);
    expect(exports.sort()).toEqual(expected.exports);
  });

  test("takes a memory of 1 to 65,536 pages", () => {
    expect(text).toMatch(/\(import "\S+" "memory" \(memory \S+ 1 65536\)\)/);
  });

  // A message would name the file and line.
  test("contains no panic", () => expect(bytes.includes("src/")).toBe(false));

  test("has no start function", () => expect(text).not.toMatch(/\(start /));

  // Threads would share a stack.
  test("has no stack in the memory: no function reads or writes a global", () => {
    expect(rawText).toMatch(/\(func \$run /);
    expect(`${text}${rawText}`).not.toMatch(/global\.[gs]et/);
  });

  test("has all of its data below the memory of the allocator", () => {
    const ends = [...text.matchAll(/\(data \S+ \(i32\.const (\d+)\) "(.*)"\)/g)].map(
      ([, start, data]) => Number(start) + (data as string).replace(/\\([0-9a-f]{2}|.)/g, ".").length,
    );
    expect(ends.length).toBe(text.match(/\(data /g)?.length ?? 0);
    expect(Math.max(0, ...ends)).toBeLessThan(HEAP_START);
  });

  test("has the operations of its kind, and no others", () => {
    expect(text).toMatch(/f32x4\.mul/);
    if (variant === "simd128") expect(text).not.toMatch(/relaxed_/);
    else expect(text).toMatch(/f32x4\.relaxed_madd/);
    // For a NaN and a number, engines may return either.
    expect(text).not.toMatch(/relaxed_(min|max)/);
    // One build for private and shared memory.
    expect(text).not.toMatch(/atomic\./);
  });

  test(`is below ${expected.kilobytes} KB`, () => expect(bytes.length).toBeLessThan(expected.kilobytes * 1024));

  test("has a version for a shared memory, and both name their variant", () => {
    const shared = read(`packages/xent/dist/${file}-${variant}-shared.wasm`);
    expect(textOf(shared)).toBe(text.replace(/(\(memory \S+ 1 65536)\)/, "$1 shared)"));
    for (const file of [bytes, shared]) {
      // A custom section is 0, its size, and its name with its length before it.
      const content = `\u0004xent${variant}`;
      expect(file.subarray(-content.length - 2).toString("latin1")).toBe(
        `\0${String.fromCharCode(content.length)}${content}`,
      );
    }
  });
});

describe("packages/xent and crates/kernel agree on", () => {
  const abi = read("packages/xent/src/abi.ts").toString();
  const field = /^ {2,4}(?:pub )?(\w+): "?(\w+)"?,$/gm;

  /** "name: type" of what is between `start` and the next line that begins with a brace. */
  function fields(source: string, start: string): string[] {
    const body = source.slice(source.indexOf(start)).split("\n}")[0] as string;
    return [...body.matchAll(field)].map(([, name, type]) => `${name}: ${type === "usize" ? "u32" : type}`);
  }

  test("the fields of a job, without padding", () => {
    const record = fields(read("packages/xent/src/job.ts").toString(), "export const JOB_FIELDS = {");
    expect(record.length).toBeGreaterThan(10);
    expect(record).toEqual(fields(read("crates/kernel/src/job.rs").toString(), "pub struct Job {"));
    let offset = 0;
    for (const entry of record) {
      const size = entry.endsWith("64") ? 8 : 4;
      expect(offset % size, entry).toBe(0);
      offset += size;
    }
    expect(offset % 8).toBe(0);
    expect(abi).toContain(`export const JOB_BYTES = ${offset};`);
  });

  test("the place of each field of a job", () => {
    const names = Object.keys(JOB_FIELDS) as (keyof typeof JOB_FIELDS)[];
    const values = Object.fromEntries(names.map((name, i) => [name, i + 1])) as Record<keyof typeof JOB_FIELDS, number>;
    const memory = new WebAssembly.Memory({ initial: 1 });
    new JobRecord(memory, 64).write(values);
    const view = new DataView(memory.buffer);
    let offset = 64;
    const written = names.map((name) => {
      const value = JOB_FIELDS[name] === "f64" ? view.getFloat64(offset, true) : view.getInt32(offset, true);
      offset += JOB_FIELDS[name] === "f64" ? 8 : 4;
      return [name, value];
    });
    expect(Object.fromEntries(written)).toEqual(values);
  });

  test.each([
    ["SCRATCH_BYTES", "scratch"],
    ["HEADER_BYTES", "partial"],
    ["SEGMENT_BYTES", "partial"],
    ["SEGMENT", "row"],
    ["RECORD_BYTES", "partial"],
  ])("%s", (name, file) => {
    const [, value] =
      new RegExp(`pub const ${name}: usize = (\\d+);`).exec(read(`crates/kernel/src/${file}.rs`).toString()) ?? [];
    expect(value).toBeDefined();
    expect(abi).toContain(`export const ${name} = ${value};`);
  });
});

describe("packages/xent and crates/linear agree on", () => {
  const rust = read("crates/linear/src/product.rs").toString();
  const typescript = read("packages/xent/src/linear/product.ts").toString();
  const fieldsOf = (source: string, start: string): string[] => {
    const body = source.slice(source.indexOf(start)).split("\n}")[0] as string;
    const found = body.matchAll(/^ {2,4}(?:pub )?(\w+): "?(\w+)"?,$/gm);
    return Array.from(found, ([, name, type]) => `${name}: ${type === "usize" ? "u32" : type}`);
  };

  test("the fields of a product", () => {
    const record = fieldsOf(typescript, "export const PRODUCT_FIELDS = {");
    expect(record.length).toBeGreaterThan(10);
    expect(record).toEqual(fieldsOf(rust, "pub struct Product {"));
    expect(record.slice(0, -1).every((field) => field.endsWith(": u32"))).toBe(true);
    expect(record.at(-1)).toBe("scale: f64");
    expect(record.length % 2).toBe(1);
    expect(typescript).toContain(`export const PRODUCT_BYTES = ${4 * (record.length + 1)};`);
  });

  test.each(["BLOCK", "LOGITS_ITEM", "WEIGHT_ITEM"])("%s", (name) => {
    const [, value] = new RegExp(`pub const ${name}: usize = (\\d+);`).exec(rust) ?? [];
    expect(value).toBeDefined();
    expect(typescript).toContain(`export const ${name} = ${value};`);
  });

  test("the kinds of products and weights", () => {
    const kinds = [...rust.matchAll(/pub const (\w+): u32 = (\d);/g)].map(([, name, value]) => `${name}: ${value}`);
    expect(kinds.length).toBe(5);
    expect(typescript).toContain(`KIND = { ${kinds.join(", ")} }`);
    const types = read("crates/linear/src/pack.rs").toString();
    const values = [...types.matchAll(/pub const \w+: u32 = (\d);/g)].map(([, value]) => Number(value));
    expect(values).toEqual([0, 1, 2]);
    expect(typescript).toContain("WEIGHT_TYPES = { float32: 0, float16: 1, bfloat16: 2 }");
  });
});
