// The order of operations in the built module: loops compute the same as before, whatever they read and write.
import fc from "fast-check";
import { expect, test } from "vitest";
import initWabt from "wabt";
import { interleave } from "../../scripts/interleave.mjs";
import { taken } from "../support/variants.ts";

const wabt = await initWabt();
const LOCALS = 14;
const WORDS = 32;

const local = fc.integer({ min: 1, max: LOCALS - 2 });
const place = fc.integer({ min: 0, max: WORDS / 4 - 1 }).map((vector) => 16 * vector);
/** `c = a * b + d`, kept below 2; a largest with `local.tee`; a swap; a read; a write. */
const statement = fc.oneof(
  {
    weight: 8,
    arbitrary: fc
      .tuple(local, local, local, local)
      .map(([a, b, c, d]) => [get(a), get(b), get(d), MADD, BELOW_2, "v128.and", set(c)]),
  },
  fc
    .tuple(local, local, local)
    .map(([a, b, c]) => [get(a), get(b), "f32x4.max", `local.tee ${c}`, get(a), "v128.xor", set(b)]),
  fc.tuple(local, local).map(([a, b]) => [get(a), get(b), set(a), set(b)]),
  fc.tuple(local, place).map(([a, at]) => ["local.get 0", `v128.load offset=${at}`, set(a)]),
  fc.tuple(local, place).map(([a, at]) => ["local.get 0", get(a), `v128.store offset=${at}`]),
);
const MADD = "f32x4.relaxed_madd";
const BELOW_2 = "v128.const i32x4 0xbfffffff 0xbfffffff 0xbfffffff 0xbfffffff";
const get = (of: number) => `local.get ${of}`;
const set = (of: number) => `local.set ${of}`;

/**
 * A function that runs the body and swaps the last two locals, while the old value of one is on the stack, three times, and then writes
 * all locals.
 */
function functionOf(body: string[]): string {
  const results = Array.from({ length: LOCALS }, (_, i) => [
    "local.get 0",
    get(i + 1),
    `v128.store offset=${4 * WORDS + 16 * i}`,
  ]);
  return [
    `  (func (;0;) (param i32)`,
    `    (local${" v128".repeat(LOCALS)} i32)`,
    ...Array.from({ length: LOCALS }, (_, i) => [
      `i32.const ${i + 1}`,
      "f32.convert_i32_s",
      "f32x4.splat",
      set(i + 1),
    ]).flat(),
    "i32.const 3",
    `local.set ${LOCALS + 1}`,
    "loop",
    get(LOCALS),
    ...body,
    ...[get(LOCALS), get(LOCALS - 1), set(LOCALS), set(LOCALS - 1)],
    ...["block", "end", set(1)],
    `local.get ${LOCALS + 1}`,
    "i32.const 1",
    "i32.sub",
    `local.tee ${LOCALS + 1}`,
    "br_if 0",
    "end",
    ...results.flat(),
    "  )",
  ].join("\n");
}

/** The bytes of memory after the function ran. */
function run(text: string): Uint8Array {
  const features = { simd: true, relaxed_simd: true };
  const parsed = wabt.parseWat(
    "test.wat",
    `(module (memory (export "m") 1)\n${text}\n(export "f" (func 0)))`,
    features,
  );
  const { buffer } = parsed.toBinary({});
  parsed.destroy();
  const { m, f } = new WebAssembly.Instance(new WebAssembly.Module(buffer as BufferSource)).exports as {
    m: WebAssembly.Memory;
    f: (at: number) => void;
  };
  new Float32Array(m.buffer, 0, WORDS).set(Array.from({ length: WORDS }, (_, i) => Math.sin(i)));
  f(0);
  return new Uint8Array(m.buffer.slice(0, 4 * WORDS + 16 * LOCALS));
}

test.skipIf(!taken.includes("relaxed"))("a loop with its operations in another order writes the same bytes", () => {
  let changed = 0;
  fc.assert(
    fc.property(fc.array(statement, { minLength: 50, maxLength: 80 }), (statements) => {
      const text = functionOf(statements.flat());
      const ordered = interleave(text);
      if (ordered !== text) changed += 1;
      expect(run(ordered)).toEqual(run(text));
    }),
    { numRuns: 200 },
  );
  expect(changed).toBeGreaterThan(100);
});

test("a short loop stays as it is", () => {
  const text = functionOf(["local.get 1", "local.get 2", "v128.xor", "local.set 1"]);
  expect(interleave(text)).toBe(text);
});

test.each(["v128.load8_lane 0", "i32.atomic.rmw.add", "f32x4.relaxed_nmadd"])(
  "%s is refused, because it is not known",
  (unknown) => {
    const fused = Array.from({ length: 32 }, () => [get(1), get(1), get(1), MADD, set(1)]).flat();
    expect(() => interleave(functionOf([...fused, "local.get 0", get(1), unknown, set(2)]))).toThrow("is not known");
  },
);
