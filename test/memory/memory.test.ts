// The regions that the allocator hands out: they never overlap, never leak, and end at maxBytes.
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type Batch, createXentSync, type Xent } from "xent";
import { copyBytes, firstChange, firstDifference } from "../support/bytes.ts";
import { bitsOf, EVERYTHING, exampleBatch, exampleRows, type RowsSpec } from "../support/example.ts";
import { fillUp, workBytes } from "../support/place.ts";
import { mulberry32 } from "../support/random.mjs";
import { thrown } from "../support/thrown.ts";
import { variants } from "../support/variants.ts";

const PAGE = 65536;

/** All parts of a batch: its views and its results. */
function partsOf(batch: Batch): ArrayBufferView[] {
  const gradient = batch.gradient !== undefined;
  batch.labels.fill(0);
  const { loss, logSumExp, predictions } = batch.run({ gradient, predictions: true });
  const own = gradient && batch.gradient?.byteOffset !== batch.logits.byteOffset ? [batch.gradient] : [];
  return [batch.logits, batch.labels, loss, logSumExp, predictions, ...own].filter((part) => part !== undefined);
}

function fill(parts: readonly ArrayBufferView[], canary: number): void {
  for (const { buffer, byteOffset, byteLength } of parts) new Uint8Array(buffer, byteOffset, byteLength).fill(canary);
}

test("a batch is zero at first, even in memory that another batch has used", () => {
  const xent = createXentSync();
  for (const gradient of [true, false]) {
    using batch = xent.createBatch({ rows: 9, classes: 100, gradient });
    for (const array of [batch.logits, batch.labels, batch.gradient]) {
      expect(array?.every((x) => x === 0) ?? true).toBe(true);
      array?.fill(7);
    }
    batch.run();
  }
});

describe("creating and disposing of batches", () => {
  /** Creates and disposes 1,000 batches, up to 8 alive at once. */
  function comeAndGo(xent: Xent): void {
    const random = mulberry32(7);
    const alive: Batch[] = [];
    for (let cycle = 0; cycle < 1000; cycle++) {
      const gradient = ([false, true, "in-place"] as const)[random() % 3] ?? false;
      alive.push(xent.createBatch({ rows: random() % 300, classes: 1 + (random() % 100), gradient }));
      if (alive.length === 8) alive.splice(random() % 8, 1)[0]?.dispose();
    }
    for (const batch of alive) batch.dispose();
  }

  test.each([false, true])(
    "does not grow the memory after the first thousand, or fragment it, shared: %s",
    (shared) => {
      using xent = createXentSync({ shared });
      comeAndGo(xent);
      const { byteLength } = xent.memory.buffer;
      comeAndGo(xent);
      expect(xent.memory.buffer.byteLength).toBe(byteLength);
      fillUp(xent, byteLength);
      expect(xent.memory.buffer.byteLength).toBe(byteLength);
    },
  );

  test("does not grow the memory after the first of many one-calls", () => {
    using xent = createXentSync();
    const { logits, labels } = exampleRows(100, 100);
    xent.sparseSoftmaxCrossEntropyWithLogits(logits, labels, EVERYTHING);
    const { byteLength } = xent.memory.buffer;
    for (let call = 0; call < 100; call++) xent.sparseSoftmaxCrossEntropyWithLogits(logits, labels, EVERYTHING);
    expect(thrown(() => xent.sparseSoftmaxCrossEntropyWithLogits(logits, [...labels].fill(-1)))).toMatch(
      /^RangeError: /,
    );
    expect(xent.memory.buffer.byteLength).toBe(byteLength);
  });
});

describe("for any order of creating, running, disposing and growing,", () => {
  interface Live {
    batch: Batch;
    canary: number;
    bytes: number;
    /** Offsets and lengths of its parts. */
    parts: { byteOffset: number; byteLength: number }[];
  }
  interface Model {
    live: Live[];
    made: number;
    /** Pages that the owner of the memory has added. */
    foreign: number;
  }
  type Command = fc.Command<Model, Xent>;

  const MAX_BYTES = 8 * PAGE;

  function check({ live }: Model, xent: Xent): void {
    const parts = live.flatMap(({ parts }) => parts).filter(({ byteLength }) => byteLength > 0);
    parts.sort((a, b) => a.byteOffset - b.byteOffset);
    let end = PAGE;
    for (const { byteOffset, byteLength } of parts) {
      expect(byteOffset % 64).toBe(0);
      expect(byteOffset, "overlap").toBeGreaterThanOrEqual(end);
      end = byteOffset + byteLength;
    }
    expect(end).toBeLessThanOrEqual(xent.memory.buffer.byteLength);
    for (const { canary, parts } of live) {
      for (const { byteOffset, byteLength } of parts) {
        const found = new Uint8Array(xent.memory.buffer, byteOffset, byteLength);
        expect(firstDifference(found, new Uint8Array(byteLength).fill(canary))).toBeUndefined();
      }
    }
  }

  class Create implements Command {
    readonly spec: RowsSpec;
    constructor(spec: RowsSpec) {
      this.spec = spec;
    }
    check = () => true;
    run(model: Model, xent: Xent): void {
      const { rows, classes, gradient } = this.spec;
      const bytes = 4 * rows * (classes * (gradient === true ? 2 : 1) + 4);
      let batch: Batch;
      try {
        batch = xent.createBatch(this.spec);
      } catch (error) {
        expect(String(error)).toMatch(/^RangeError: .*"maxBytes"/);
        // Of all pieces between what is used, none may be large enough. Up to six parts are rounded up by up to 64 bytes.
        const used = model.live.reduce((sum, { bytes }) => sum + bytes + 6 * 64, (2 + model.foreign) * PAGE);
        const pieces = model.live.length + model.foreign + 1;
        expect(used + pieces * (bytes + 6 * 64), "refused what must fit").toBeGreaterThan(MAX_BYTES);
        check(model, xent);
        return;
      }
      expect([batch.logits.length, batch.labels.length]).toEqual([rows * classes, rows]);
      const canary = 1 + (model.made++ % 255);
      const parts = partsOf(batch);
      fill(parts, canary);
      model.live.push({
        batch,
        canary,
        bytes: bytes + workBytes(this.spec),
        parts: parts.map(({ byteOffset, byteLength }) => ({ byteOffset, byteLength })),
      });
      check(model, xent);
    }
    toString = () => `create(${JSON.stringify(this.spec)})`;
  }

  class Run implements Command {
    readonly index: number;
    constructor(index: number) {
      this.index = index;
    }
    check = ({ live }: Readonly<Model>) => live.length > 0;
    run(model: Model, xent: Xent): void {
      const { batch, canary } = model.live[this.index % model.live.length] as Live;
      fill(partsOf(batch), canary);
      check(model, xent);
    }
    toString = () => `run(${this.index})`;
  }

  class Dispose implements Command {
    readonly index: number;
    constructor(index: number) {
      this.index = index;
    }
    check = ({ live }: Readonly<Model>) => live.length > 0;
    run(model: Model, xent: Xent): void {
      const [gone] = model.live.splice(this.index % model.live.length, 1);
      gone?.batch.dispose();
      check(model, xent);
    }
    toString = () => `dispose(${this.index})`;
  }

  /** The memory is public, so the caller may grow it, too. */
  class GrowOutside implements Command {
    check = () => true;
    run(model: Model, xent: Xent): void {
      if (xent.memory.buffer.byteLength < MAX_BYTES) {
        xent.memory.grow(1);
        model.foreign++;
      }
      check(model, xent);
    }
    toString = () => "grow()";
  }

  const create = fc
    .record({
      rows: fc.integer({ min: 0, max: 200 }),
      classes: fc.integer({ min: 1, max: 200 }),
      gradient: fc.constantFrom(false, true, "in-place" as const),
    })
    .map((spec) => new Create(spec));
  const runOrDispose = [fc.nat(7).map((index) => new Run(index)), fc.nat(7).map((index) => new Dispose(index))];

  test.each<[string, boolean, fc.Arbitrary<Command>[]]>([
    ["private", false, [create, ...runOrDispose]],
    ["shared", true, [create, ...runOrDispose]],
    ["grown from outside", false, [create, ...runOrDispose, fc.constant(new GrowOutside())]],
  ])("batches are aligned to 64 bytes, do not overlap, and keep their contents: %s", (_, shared, commands) => {
    fc.assert(
      fc.property(fc.commands(commands, { maxCommands: 60 }), (commands) => {
        using xent = createXentSync({ maxBytes: MAX_BYTES, shared });
        fc.modelRun(() => ({ model: { live: [], made: 0, foreign: 0 }, real: xent }), commands);
      }),
    );
  });
});

describe("a batch that does not fit", () => {
  const TOO_LARGE: [string, (xent: Xent) => unknown][] = [
    ["createBatch", (xent) => xent.createBatch({ rows: 1000, classes: 1000 })],
    [
      "createBatch of more than 4 GiB",
      (xent) => xent.createBatch({ rows: 2 ** 32 - 1, classes: 2 ** 28, gradient: true }),
    ],
    ["a one-call", (xent) => xent.sparseSoftmaxCrossEntropyWithLogits(new Float32Array(1e6), new Int32Array(1000))],
  ];

  test.each(TOO_LARGE)("%s: a RangeError names maxBytes, and other batches still work", (_, tooLarge) => {
    using xent = createXentSync({ maxBytes: 3 * PAGE });
    const batch = exampleBatch(xent, { rows: 9, classes: 10, gradient: true });
    const bits = bitsOf(batch.run(EVERYTHING));
    const error = thrown(() => tooLarge(xent));
    expect(error).toMatch(
      /^RangeError: \d+ bytes do not fit: "maxBytes" allows 196608 bytes, of which \d+ are free in one piece$/,
    );
    const before = copyBytes(xent.memory);
    expect(thrown(() => tooLarge(xent))).toBe(error);
    expect(firstChange(xent.memory, before)).toBeUndefined();
    expect(bitsOf(batch.run(EVERYTHING))).toEqual(bits);
  });

  test.each(TOO_LARGE)("%s: nothing leaks, and the number of free bytes in the message is right", (_, tooLarge) => {
    using xent = createXentSync({ maxBytes: 3 * PAGE });
    let error = "";
    for (let time = 0; time < 100; time++) error = thrown(() => tooLarge(xent));
    // A row of logits, and 64 bytes each for its label, its loss before it is rounded, and its three results.
    const classes = (Number(/of which (\d+) are free/.exec(error)?.[1]) - 5 * 64) / 4;
    expect(thrown(() => xent.createBatch({ rows: 1, classes: classes + 1 }))).toMatch(/^RangeError: /);
    xent.createBatch({ rows: 1, classes });
    expect(xent.memory.buffer.byteLength).toBe(3 * PAGE);
    expect(thrown(() => xent.createBatch({ rows: 0, classes: 1 }))).toMatch(/ of which 0 are free in one piece$/);
  });

  test("the smallest maxBytes has room for a small call", () => {
    using xent = createXentSync({ maxBytes: 2 * PAGE });
    expect(xent.sparseSoftmaxCrossEntropyWithLogits([0, -Infinity], [0]).loss[0]).toBe(0);
    expect(xent.memory.buffer.byteLength).toBe(2 * PAGE);
  });

  test("a RangeError says that the engine refuses to grow, and later calls work once it grows again", () => {
    using xent = createXentSync();
    const batch = exampleBatch(xent, { rows: 9, classes: 10 });
    const bits = bitsOf(batch.run());
    xent.memory.grow = () => {
      throw new RangeError("WebAssembly.Memory.grow(): Unable to grow instance memory");
    };
    for (let time = 0; time < 100; time++) {
      expect(thrown(() => xent.createBatch({ rows: 100, classes: 1000 }))).toMatch(
        /^RangeError: 4\d{5} bytes do not fit: the engine refuses a memory of \d+ bytes$/,
      );
    }
    expect(bitsOf(batch.run())).toEqual(bits);
    Reflect.deleteProperty(xent.memory, "grow");
    const large = exampleBatch(xent, { rows: 100, classes: 1000 });
    expect(large.logits.byteOffset).toBeLessThan(3 * PAGE);
    expect(bitsOf(batch.run())).toEqual(bits);
  });
});

describe.each(variants)("%s", (variant) => {
  test.each<[number, number, RowsSpec["gradient"]]>([
    [16, 10, true],
    [1024, 3, "in-place"],
    [16, 300, true],
    [16, 1000, "in-place"],
  ])(
    "a batch may use the last bytes of 4 GiB: %d rows of %d classes, gradient: %s",
    (rows, classes, gradient = false) => {
      using xent = createXentSync({ variant });
      const spec = { rows, classes, gradient };
      const first = exampleBatch(xent, spec);
      const bytes = workBytes(spec) + 4 * rows * (classes * (gradient === true ? 2 : 1) + 6);
      // Never touched, so it takes no RAM.
      fillUp(xent, 2 ** 32 - bytes);
      const last = exampleBatch(xent, spec);
      const result = last.run(EVERYTHING);
      const { predictions } = result;
      expect((predictions?.byteOffset ?? 0) + (predictions?.byteLength ?? 0)).toBe(2 ** 32);
      expect(bitsOf(result)).toEqual(bitsOf(first.run(EVERYTHING)));
    },
  );
});
