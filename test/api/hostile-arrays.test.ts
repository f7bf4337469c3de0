// Arrays and memories that misreport their type or length, or change while they are read. The caller gets an error or a right result,
// other batches do not change, nothing leaks, and the instance still works.
import { describe, expect, test } from "vitest";
import { createXentSync } from "xent";
import { bitsOf, EVERYTHING, exampleBatch } from "../support/example.ts";
import { boom, CLASSES, doing, EXPECTED, labels, logits, ROWS, reading, SPEC, scene } from "../support/hostile.ts";
import { thrown } from "../support/thrown.ts";

describe("arrays", () => {
  const named = (value: object, kind: string): unknown =>
    Object.defineProperty(value, Symbol.toStringTag, { value: kind });

  test("that pretend to be typed arrays are refused", () => {
    const { xent, batch, check } = scene();
    const impostors = (kind: string): unknown[] => [
      named({ length: CLASSES, 0: 1 }, kind),
      named(Object.assign(new DataView(new ArrayBuffer(64)), { length: CLASSES }), kind),
      new Proxy(new Float32Array(CLASSES), {}),
    ];
    for (const impostor of impostors("Float32Array")) {
      expect(thrown(() => batch.run({ classWeights: impostor as never }))).toMatch(
        /^TypeError: "classWeights" expected/,
      );
      expect(thrown(() => xent.sparseSoftmaxCrossEntropyWithLogits(impostor as never, [0]))).toMatch(
        /^TypeError: "logits" expected/,
      );
    }
    for (const impostor of impostors("Int32Array"))
      expect(thrown(() => xent.sparseSoftmaxCrossEntropyWithLogits(logits, impostor as never))).toMatch(
        /^TypeError: "labels" expected/,
      );
    check();
  });

  test("are read by their real type, whatever name they give", () => {
    const { xent, batch, check } = scene();
    const doubles = named(
      Float64Array.from({ length: CLASSES }, (_, i) => i / 8),
      "Float32Array",
    ) as Float64Array;
    const expected = bitsOf(batch.run({ classWeights: Array.from(doubles) }));
    expect(bitsOf(batch.run({ classWeights: doubles }))).toEqual(expected);
    // The same in the memory, where weights are copied first.
    const integers = new Int32Array(xent.memory.buffer, batch.logits.byteOffset, CLASSES) as never;
    expect(thrown(() => batch.run({ classWeights: integers }))).toMatch(/^TypeError: "classWeights" expected/);
    const floats = named(Float32Array.from(labels), "Int32Array") as never;
    expect(thrown(() => xent.sparseSoftmaxCrossEntropyWithLogits(logits, floats))).toMatch(
      /^TypeError: "labels" expected/,
    );
    check();
  });

  test("of a subclass are read by their elements, not by overridden methods", () => {
    const { xent, batch, check } = scene();
    class Floats extends Float32Array {
      static get [Symbol.species](): Float32ArrayConstructor {
        return boom();
      }
      override slice = boom;
      override set = boom;
      override [Symbol.iterator] = boom;
    }
    class Integers extends Int32Array {
      override slice = boom;
      override [Symbol.iterator] = boom;
    }
    const call = () => xent.sparseSoftmaxCrossEntropyWithLogits(new Floats(logits), new Integers(labels), EVERYTHING);
    expect(bitsOf(call())).toEqual(EXPECTED);
    const weights = new Floats(CLASSES).fill(0.5);
    const inMemory = new Floats(xent.memory.buffer, batch.logits.byteOffset, CLASSES);
    for (const classWeights of [weights, inMemory]) {
      const copy = Float32Array.from({ length: CLASSES }, (_, j) => classWeights[j] as number);
      const found = bitsOf(batch.run({ classWeights }));
      expect(found).toEqual(bitsOf(batch.run({ classWeights: copy })));
    }
    check();
  });

  test("of a subclass that overrides length give an error or a right result", () => {
    const { xent, batch, check } = scene();
    for (const length of [0, 1, ROWS * CLASSES, 1e9, -1, Number.NaN]) {
      const lie = <T extends object>(array: T): T => Object.defineProperty(array, "length", { value: length });
      const tries = [
        () => xent.sparseSoftmaxCrossEntropyWithLogits(lie(logits.slice()), labels, { shape: [ROWS, CLASSES] }),
        () => xent.sparseSoftmaxCrossEntropyWithLogits(logits, lie(labels.slice()), { shape: [ROWS, CLASSES] }),
        () => xent.softmaxCrossEntropyWithLogits(logits, lie(logits.slice()), { shape: [ROWS, CLASSES] }),
        () => batch.run({ classWeights: lie(new Float32Array(2)) }),
        () => batch.run({ sampleWeights: lie(new Float32Array(CLASSES + 1)) }),
      ];
      for (const attempt of tries) expect(thrown(attempt)).toMatch(/^(nothing|(Type|Range)Error: .*)$/);
      check();
    }
  });

  test("that overlap in the memory of the instance are read before anything is written", () => {
    const { xent, batch, check } = scene();
    // Labels that are the bits of logits, weights that are logits and losses.
    batch.logits.fill(0);
    const asLabels = new Int32Array(xent.memory.buffer, batch.logits.byteOffset, ROWS);
    const own = { classWeights: batch.logits.subarray(0, CLASSES), sampleWeights: batch.loss };
    const copies = { classWeights: new Float32Array(CLASSES), sampleWeights: new Float32Array(ROWS) };
    const found = xent.sparseSoftmaxCrossEntropyWithLogits(batch.logits, asLabels, { ...EVERYTHING, ...own });
    const fresh = createXentSync().sparseSoftmaxCrossEntropyWithLogits(
      new Float32Array(ROWS * CLASSES),
      new Int32Array(ROWS),
      {
        ...EVERYTHING,
        ...copies,
      },
    );
    expect(bitsOf(found)).toEqual(bitsOf(fresh));
    check();
  });

  test("over a resizable or shared buffer are accepted, and refused after the buffer has shrunk", () => {
    const { xent, check } = scene();
    const resizable = new ArrayBuffer(logits.byteLength, { maxByteLength: 2 * logits.byteLength });
    const shared = new SharedArrayBuffer(logits.byteLength);
    for (const buffer of [resizable, shared]) {
      const array = new Float32Array(buffer as ArrayBuffer);
      array.set(logits);
      expect(bitsOf(xent.sparseSoftmaxCrossEntropyWithLogits(array, labels, EVERYTHING))).toEqual(EXPECTED);
    }
    const array = new Float32Array(resizable);
    const options = reading(
      "gradient",
      doing(() => resizable.resize(8), true),
    );
    expect(thrown(() => xent.sparseSoftmaxCrossEntropyWithLogits(array, labels, options))).toMatch(/^RangeError: /);
    check();
  });

  test("behind a Proxy are read as arrays, and a revoked Proxy is an error", () => {
    const { xent, check } = scene();
    const rows = Array.from({ length: ROWS }, (_, i) => Array.from(logits.subarray(i * CLASSES, (i + 1) * CLASSES)));
    const proxied = new Proxy(
      rows.map((row) => new Proxy(row, {})),
      {},
    );
    const found = xent.sparseSoftmaxCrossEntropyWithLogits(proxied, new Proxy([...labels], {}), EVERYTHING);
    expect(bitsOf(found)).toEqual(EXPECTED);
    const { proxy, revoke } = Proxy.revocable([] as number[], {});
    revoke();
    expect(thrown(() => xent.sparseSoftmaxCrossEntropyWithLogits(proxy, [0]))).toMatch(/^TypeError: /);
    expect(thrown(() => xent.sparseSoftmaxCrossEntropyWithLogits(logits, proxy))).toMatch(/^TypeError: /);
    expect(thrown(() => xent.sparseSoftmaxCrossEntropyWithLogits(logits, labels, proxy as never))).toMatch(
      /^TypeError: /,
    );
    check();
  });

  test("that change while they are read give an error or a right result, and nothing leaks", () => {
    const { xent, check } = scene();
    const changing = (act: (array: number[]) => void): number[] => {
      const array = [...labels];
      return Object.defineProperty(array, 1, { get: doing(() => act(array), 0), enumerable: true, configurable: true });
    };
    const acts: ((array: number[]) => void)[] = [
      (array) => void array.splice(2),
      (array) => void array.push(0),
      (array) => void array.fill(99, 2),
      () => void xent.memory.grow(0),
      () => xent.createBatch(SPEC).dispose(),
    ];
    const call = (act: (array: number[]) => void) => {
      thrown(() => xent.sparseSoftmaxCrossEntropyWithLogits(logits, changing(act)));
      thrown(() => xent.sparseSoftmaxCrossEntropyWithLogits([changing(act)], [0]));
      thrown(() => xent.sparseSoftmaxCrossEntropyWithLogits(changing(act), [0]));
    };
    for (const act of acts) call(act);
    const { byteLength } = xent.memory.buffer;
    for (let time = 0; time < 200; time++) for (const act of acts) call(act);
    expect(xent.memory.buffer.byteLength).toBe(byteLength);
    check();
  });

  test("values that are no numbers are refused, not converted", () => {
    const { xent, batch, check } = scene();
    const sly = { valueOf: () => 1, [Symbol.toPrimitive]: () => 1 };
    for (const value of [sly, "1", new Number(1), [1], 1n, true, null]) {
      for (const name of ["ignoreIndex", "labelSmoothing", "zLoss", "softcap", "temperature"])
        expect(thrown(() => batch.run({ [name]: value } as never))).toMatch(
          new RegExp(`^TypeError: "${name}" expected`),
        );
      for (const name of ["rows", "classes", "stride", "shift", "sequence"])
        expect(thrown(() => xent.createBatch({ ...SPEC, [name]: value } as never))).toMatch(/^TypeError: |^nothing$/);
      expect(thrown(() => batch.run({ rows: [0, value] as never }))).toMatch(/^TypeError: "rows\[1\]" expected/);
      expect(thrown(() => xent.sparseSoftmaxCrossEntropyWithLogits([[0, value as never]], [0]))).toMatch(
        /^TypeError: "logits"/,
      );
      // A BigInt is an integer, and arrays of labels may be nested.
      if (typeof value === "bigint" || Array.isArray(value)) continue;
      expect(thrown(() => xent.sparseSoftmaxCrossEntropyWithLogits([[0, 1]], [value as never]))).toMatch(
        /^TypeError: "labels"/,
      );
    }
    check();
  });
});

describe("the memory", () => {
  test("can not be transferred", () => {
    const { xent, batch } = scene();
    // Some engines throw, others do nothing.
    thrown(() => structuredClone(0, { transfer: [xent.memory.buffer as ArrayBuffer] }));
    expect(bitsOf(batch.run(EVERYTHING))).toEqual(EXPECTED);
  });

  test("may become a resizable buffer, where the engine supports it", () => {
    const { xent, batch, check } = scene();
    const memory = xent.memory as WebAssembly.Memory & { toResizableBuffer?(): ArrayBuffer };
    memory.toResizableBuffer?.();
    expect(bitsOf(batch.run(EVERYTHING))).toEqual(EXPECTED);
    using large = exampleBatch(xent, { rows: 50, classes: 1000 });
    expect(large.logits.length).toBe(50_000);
    expect(bitsOf(batch.run(EVERYTHING))).toEqual(EXPECTED);
    check();
  });

  test("a clone of a batch or a result holds data only", () => {
    const { batch, check } = scene();
    const clone = structuredClone(batch) as object;
    expect(Object.keys(clone).sort()).toEqual(["classes", "rows"]);
    const result = batch.run(EVERYTHING);
    expect(bitsOf(structuredClone(result))).toEqual(EXPECTED);
    check();
  });

  test("is safe from methods that are called on another object", () => {
    const { xent, batch, check } = scene();
    for (const method of [batch.run, batch.share, batch.dispose, xent.createBatch, xent.share, xent.dispose])
      for (const other of [undefined, {}, Object.create(batch), Object.create(xent)])
        expect(thrown(() => (method as () => unknown).call(other))).toMatch(/^TypeError: /);
    check();
  });
});

describe("a typed array with own properties", () => {
  /** An array whose own properties claim something else. */
  const claiming = <T extends object>(array: T, claims: object): T =>
    Object.defineProperties(array, Object.getOwnPropertyDescriptors(claims));

  test.each(["classWeights", "sampleWeights"] as const)("has its real length: %s", (name) => {
    const { batch, check } = scene();
    const length = name === "classWeights" ? CLASSES : ROWS;
    // The last run left its weights in this place.
    batch.run(EVERYTHING);
    const run = (array: Float32Array) => thrown(() => batch.run({ [name]: array }));
    for (const claims of [{ length }, { length, byteLength: 4 * length }]) {
      expect(run(claiming(Float32Array.of(5, 5), claims))).toMatch(
        new RegExp(`^RangeError: "${name}" expected one number for each of ${length} \\w+, got 2$`),
      );
    }
    expect(run(claiming(new Float32Array(length), { length: 1 }))).toBe("nothing");
    check();
  });

  test("has its real length: logits, labels and targets of one call", () => {
    const call = (array: unknown, of: unknown = labels) =>
      thrown(() => createXentSync().sparseSoftmaxCrossEntropyWithLogits(array as Float32Array, of as Int32Array));
    const length = ROWS * CLASSES;
    expect(call(claiming(logits.slice(0, -1), { length }))).toBe(
      `RangeError: "labels" has ${ROWS} rows, which do not divide ${length - 1} logits`,
    );
    expect(call(logits, claiming(labels.slice(0, 2), { length: ROWS }))).toMatch('RangeError: "labels" has 2 rows');
    const targets = claiming(new Float32Array(3), { length });
    expect(
      thrown(() => createXentSync().softmaxCrossEntropyWithLogits(logits, targets, { shape: [ROWS, CLASSES] })),
    ).toBe(`RangeError: "targets" expected one for each of ${length} logits, got 3`);
  });

  test("has its real offset: a view of the memory of the instance", () => {
    const { xent, check } = scene();
    using batch = xent.createBatch({ rows: 10_000, classes: 3 });
    batch.logits.set(batch.logits.map((_, i) => i % 3));
    const labels = new Int32Array(10_000);
    const expected = batch.run().loss[0];
    const fake = { buffer: new ArrayBuffer(12), byteOffset: 0, length: 3, byteLength: 12, constructor: Int8Array };
    const { loss } = xent.sparseSoftmaxCrossEntropyWithLogits(claiming(batch.logits, fake), labels);
    expect(loss).toEqual(new Float32Array(10_000).fill(expected as number));
    check();
  });
});
