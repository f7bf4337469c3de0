// The variants of the modules in this engine.
import { readFileSync } from "node:fs";
import { describe, expect, test, vi } from "vitest";
import { createXentSync, type Variant } from "xent";
import { HEAP_START } from "../../packages/xent/src/abi.ts";
import { fuses } from "../runtimes/suite.mjs";
import { copyBytes, firstDifference } from "../support/bytes.ts";
import { bitsOf, EVERYTHING, exampleBatch } from "../support/example.ts";
import { taken, variants } from "../support/variants.ts";

const ALL: Variant[] = ["simd128", "relaxed"];
const built = ["xent", "xent-linear"].flatMap((file) => ALL.map((variant) => ({ file, variant })));

describe.each(built)("$file, $variant", ({ file, variant }) => {
  const bytes = readFileSync(new URL(`../../packages/xent/dist/${file}-${variant}.wasm`, import.meta.url));

  test("runs on the engines that the package says", () => {
    expect(WebAssembly.validate(bytes)).toBe(taken.includes(variant));
  });

  test.runIf(taken.includes(variant))("is the module that the package compiles", async () => {
    const compiled: BufferSource[] = [];
    const { Module } = WebAssembly;
    vi.spyOn(WebAssembly, "Module").mockImplementation(
      class extends Module {
        constructor(bytes: BufferSource) {
          super(bytes);
          compiled.push(bytes);
        }
      },
    );
    try {
      // Without the cache of compiled modules.
      vi.resetModules();
      const { createXentSync } = await import("xent");
      const { createLinear } = await import("xent/linear");
      using xent = createXentSync({ variant });
      createLinear(xent, { rows: 1, features: 1, classes: 2 });
    } finally {
      vi.restoreAllMocks();
    }
    const same = compiled.filter((other) => firstDifference(other as Uint8Array, bytes) === undefined);
    expect(same.length).toBe(1);
  });
});

describe.each(variants)("%s, running", (variant) => {
  test.each([false, true])("does not write its own data, shared: %s", (shared) => {
    using xent = createXentSync({ variant, shared });
    const data = () => copyBytes(new Uint8Array(xent.memory.buffer, 0, HEAP_START));
    const before = data();
    expect(before.some((byte) => byte !== 0)).toBe(true);
    for (const classes of [1, 3, 10, 256, 257, 3000]) {
      for (const gradient of [false, true, "in-place"] as const) {
        using batch = exampleBatch(xent, { rows: 200, classes, gradient });
        batch.logits.set([Number.NaN, -Infinity, 1e30].slice(0, classes), 5 * classes);
        batch.logits.fill(-Infinity, 7 * classes, 8 * classes);
        for (const reduction of ["none", "mean"] as const) {
          batch.run({ gradient: gradient !== false, reduction, ignoreIndex: 0, predictions: true });
          batch.run({ gradient: gradient !== false, reduction, rows: [3, 180] });
        }
      }
    }
    expect(firstDifference(data(), before)).toBeUndefined();
  });
});

describe("the variants", () => {
  const results = taken.map((variant) => {
    using xent = createXentSync({ variant });
    using batch = exampleBatch(xent, { rows: 100, classes: 1000, gradient: true });
    expect(xent.variant).toBe(variant);
    return bitsOf(batch.run(EVERYTHING));
  });

  test.runIf(taken.includes("relaxed"))(
    "differ in bits if the engine fuses relaxed_madd, so each is really used",
    () => {
      const [simd128, relaxed] = results;
      // About one entry in a hundred differs; the sums hide it.
      if (fuses()) expect(relaxed?.["gradient"]).not.toEqual(simd128?.["gradient"]);
      else expect(relaxed).toEqual(simd128);
    },
  );

  test('"auto" is relaxed where the engine has it', () => {
    using xent = createXentSync();
    expect(xent.variant).toBe(taken.at(-1));
    using batch = exampleBatch(xent, { rows: 100, classes: 1000, gradient: true });
    expect(bitsOf(batch.run(EVERYTHING))).toEqual(results.at(-1));
  });
});
