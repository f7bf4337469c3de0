// Arbitrary arguments: every call returns, or throws a TypeError or a RangeError.
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { attach, type Batch, createXent, createXentSync, type Xent } from "xent";
import { holds } from "../support/cases.ts";
import { bitsOf, EVERYTHING } from "../support/example.ts";
import { EXPECTED, OPTIONS, scene } from "../support/hostile.ts";

describe("a call with arbitrary arguments", () => {
  const anything = fc.oneof(
    fc.anything({
      withBigInt: true,
      withDate: true,
      withTypedArray: true,
      withSparseArray: true,
      withNullPrototype: true,
    }),
    fc.constantFrom<unknown>(
      Symbol("s"),
      () => 1,
      new DataView(new ArrayBuffer(8)),
      new Float32Array(6),
      new Int32Array(2),
      [[1, 2]],
      [0],
      NaN,
    ),
  );
  const word = fc.constantFrom(
    ...OPTIONS,
    "rows",
    "classes",
    "shape",
    "axis",
    "logits",
    "labels",
    "stride",
    "shift",
    "targets",
    "__proto__",
  );
  const argument = fc.oneof(
    anything,
    fc.dictionary(word, anything),
    fc.record({ rows: fc.nat(9), classes: fc.nat(9) }),
  );

  type Call = (xent: Xent, batch: Batch, ...args: never[]) => unknown;
  const calls: Record<string, Call> = {
    run: (_, batch, ...args) => batch.run(...(args as [])),
    runAsync: (_, batch, ...args) => batch.runAsync(...(args as [])),
    sparse: (xent, _, ...args) => xent.sparseSoftmaxCrossEntropyWithLogits(...(args as unknown as [[], []])),
    soft: (xent, _, ...args) => xent.softmaxCrossEntropyWithLogits(...(args as unknown as [[], Float32Array])),
    createBatch: (xent, _, spec) => xent.createBatch(spec).dispose(),
    attachBatch: (xent, _, shared) => xent.attachBatch(shared),
    createXentSync: (_, __, options) => createXentSync(options).dispose(),
    createXent: async (_, __, options) => (await createXent(options)).dispose(),
    attach: (_, __, shared) => attach(shared),
  };

  test("returns, or throws a TypeError or a RangeError, and changes nothing else", async () => {
    const { xent, batch, check } = scene();
    await holds(
      fc.asyncProperty(
        fc.constantFrom(...Object.keys(calls)),
        fc.array(argument, { maxLength: 3 }),
        async (name, args) => {
          try {
            await calls[name]?.(xent, batch, ...(args as never[]));
          } catch (error) {
            if (!(error instanceof TypeError || error instanceof RangeError)) throw error;
          }
        },
      ),
      1000,
    );
    check();
    expect(bitsOf(batch.run(EVERYTHING))).toEqual(EXPECTED);
  });
});
