// Callers whose code runs in the middle of a call: getters, proxies, arrays that change while they are read. Whatever they do, they
// get an error or a right result, other batches stay as they are, nothing leaks, and the instance works on.
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { attach, type Batch, createXent, createXentSync, type RunOptions, type Xent } from "xent";
import { copyBytes, firstDifference } from "../support/bytes.ts";
import { holds } from "../support/cases.ts";
import { bitsOf, EVERYTHING, exampleBatch, exampleRows, type RowsSpec } from "../support/example.ts";
import { thrown } from "../support/thrown.ts";

const PAGE = 65536;
const ROWS = 5;
const CLASSES = 7;
const SPEC: RowsSpec = { rows: ROWS, classes: CLASSES, gradient: true };
const EXPECTED = bitsOf(exampleBatch(createXentSync(), SPEC).run(EVERYTHING));
const { logits, labels } = exampleRows(ROWS, CLASSES);

/** An instance with a batch to be tried, and another one that must not change. */
function scene(shared = false) {
  const xent = createXentSync({ maxBytes: 16 * PAGE, shared });
  const other = exampleBatch(xent, SPEC, 2);
  other.run(EVERYTHING);
  const batch = exampleBatch(xent, SPEC);
  const partsOf = ({ logits, labels, gradient, loss }: Batch) =>
    [logits, labels, gradient ?? loss, loss].map(copyBytes);
  const before = partsOf(other);
  const check = (): void => {
    for (const [i, part] of partsOf(other).entries())
      expect(firstDifference(part, before[i] as Uint8Array)).toBeUndefined();
    using fresh = exampleBatch(xent, SPEC);
    expect(bitsOf(fresh.run(EVERYTHING))).toEqual(EXPECTED);
  };
  return { xent, batch, other, check };
}

/** A getter that does something before it gives its value. */
const doing =
  <T>(act: () => void, value: T) =>
  (): T => {
    act();
    return value;
  };

/** Options of which one is read by this code. */
const reading = (name: string, read: () => unknown): RunOptions =>
  Object.defineProperty({ ...EVERYTHING }, name, { get: read, enumerable: true });

const NAMES = [
  "gradient",
  "reduction",
  "ignoreIndex",
  "classWeights",
  "sampleWeights",
  "labelSmoothing",
  "zLoss",
  "softcap",
];
const OPTIONS = [...NAMES, "temperature", "predictions", "invalidLabels"];
const everything = (name: string): unknown => (EVERYTHING as Record<string, unknown>)[name];
const boom = (): never => {
  throw new Error("boom");
};

describe("an option that throws when it is read", () => {
  test.each([...OPTIONS, "rows"])("%s: its error is the caller's, and the batch is not left busy", async (name) => {
    const { batch, check } = scene();
    expect(thrown(() => batch.run(reading(name, boom)))).toBe("Error: boom");
    await expect(batch.runAsync(reading(name, boom))).rejects.toThrow("boom");
    expect(bitsOf(batch.run(EVERYTHING))).toEqual(EXPECTED);
    expect(bitsOf(await batch.runAsync(EVERYTHING))).toEqual(EXPECTED);
    check();
  });

  test("in runAsync: a batch that was disposed then is given back", async () => {
    const { xent, batch, check } = scene();
    const { byteOffset } = batch.logits;
    const options = reading("gradient", () => {
      batch.dispose();
      return boom();
    });
    await expect(batch.runAsync(options)).rejects.toThrow("boom");
    using next = xent.createBatch(SPEC);
    expect(next.logits.byteOffset).toBe(byteOffset);
    check();
  });

  test("a specification, an instance's option, and one call's", () => {
    const { xent, check } = scene();
    for (const name of [
      "rows",
      "classes",
      "stride",
      "shape",
      "axis",
      "logits",
      "labels",
      "targets",
      "shift",
      "gradient",
    ])
      expect(
        thrown(() => xent.createBatch(Object.defineProperty({ ...SPEC }, name, { get: boom, enumerable: true }))),
      ).toBe("Error: boom");
    for (const name of ["threads", "variant", "maxBytes", "shared", "createWorker", "module"])
      expect(thrown(() => createXentSync(Object.defineProperty({}, name, { get: boom, enumerable: true })))).toBe(
        "Error: boom",
      );
    for (const name of [...OPTIONS, "shape", "axis"])
      expect(thrown(() => xent.sparseSoftmaxCrossEntropyWithLogits(logits, labels, reading(name, boom)))).toBe(
        "Error: boom",
      );
    check();
  });
});

describe("what is read", () => {
  /** Counts how often each property is read. */
  function counting<T extends object>(target: T): [T, Map<PropertyKey, number>] {
    const counts = new Map<PropertyKey, number>();
    const get = (of: T, name: PropertyKey): unknown => {
      counts.set(name, (counts.get(name) ?? 0) + 1);
      return Reflect.get(of, name);
    };
    return [new Proxy(target, { get }), counts];
  }

  test("is read once, so that nothing can change after it was checked", async () => {
    const { xent, batch } = scene();
    const all = { gradient: true, ignoreIndex: 1, classWeights: [1, 1, 1, 1, 1, 1, 1], temperature: 2 };
    const uses: ((read: <T extends object>(target: T) => T) => unknown)[] = [
      (read) => batch.run(read({ ...all, rows: [1, 2] as const })),
      (read) => batch.runAsync(read({ ...all, rows: [1, 2] as const })),
      (read) =>
        xent.sparseSoftmaxCrossEntropyWithLogits(logits, labels, read({ ...all, shape: [ROWS, CLASSES], axis: 1 })),
      (read) =>
        xent.createBatch(read({ ...SPEC, logits: "float64", labels: "uint8", shift: 1, sequence: ROWS })).dispose(),
      (read) =>
        createXentSync(
          read({ threads: 1 as const, variant: "simd128" as const, maxBytes: 8 * PAGE, shared: true }),
        ).dispose(),
    ];
    for (const use of uses) {
      let counts = new Map<PropertyKey, number>();
      await use((target) => {
        const [proxy, found] = counting(target);
        counts = found;
        return proxy;
      });
      expect([...counts.values()]).toEqual(new Array(counts.size).fill(1));
      expect(counts.size).toBeGreaterThan(3);
    }
  });

  test("a shape that is another one at a second look is the first one", () => {
    const { xent, check } = scene();
    let looks = 0;
    const shape = new Proxy([ROWS, CLASSES], {
      get: (target, name) => (name === "0" && looks++ > 0 ? 1000 : Reflect.get(target, name)),
    });
    const one = xent.sparseSoftmaxCrossEntropyWithLogits(logits, labels, { ...EVERYTHING, shape });
    expect(bitsOf(one)).toEqual(EXPECTED);
    check();
  });
});

describe("an option that, when it is read,", () => {
  type Scene = ReturnType<typeof scene>;
  const acts: [string, (scene: Scene) => void, string | undefined][] = [
    ["grows the memory", ({ xent }) => void xent.memory.grow(1), undefined],
    ["creates a batch", ({ xent }) => void xent.createBatch({ rows: 100, classes: 500 }), undefined],
    ["runs this batch", ({ batch }) => void batch.run({ temperature: 3 }), undefined],
    ["runs another one", ({ other }) => void other.run(EVERYTHING), undefined],
    ["makes one call", ({ xent }) => void xent.sparseSoftmaxCrossEntropyWithLogits(logits, labels), undefined],
    ["disposes of this batch", ({ batch }) => batch.dispose(), "TypeError: this batch was disposed"],
    ["disposes of the instance", ({ xent }) => xent.dispose(), "TypeError: this Xent was disposed"],
  ];

  test.each(acts)("%s, changes no result of run", (what, act, error) => {
    for (const name of [...OPTIONS, "rows"]) {
      const set = scene();
      const { batch, check } = set;
      const call = () =>
        batch.run(
          reading(
            name,
            doing(() => act(set), everything(name)),
          ),
        );
      if (error) expect(thrown(call)).toBe(error);
      else expect(bitsOf(call())).toEqual(EXPECTED);
      if (!what.endsWith("instance")) check();
    }
  });

  test.each(acts)("%s, changes no result of runAsync", async (what, act, error) => {
    for (const name of ["gradient", "rows"]) {
      const set = scene();
      const { batch, check } = set;
      const job = batch.runAsync(
        reading(
          name,
          doing(() => act(set), everything(name)),
        ),
      );
      if (error) expect(String(await job.catch(String))).toContain(error);
      else expect(bitsOf(await job)).toEqual(EXPECTED);
      if (!what.endsWith("instance")) check();
    }
  });

  test.each(acts)("%s, changes no result of one call", (what, act, error) => {
    for (const name of [...OPTIONS, "shape"]) {
      const set = scene();
      const { xent, check } = set;
      const options = reading(
        name,
        doing(() => act(set), everything(name)),
      );
      const call = () => xent.sparseSoftmaxCrossEntropyWithLogits(logits, labels, options);
      if (what.endsWith("instance")) expect(thrown(call)).toBe(error);
      else {
        expect(bitsOf(call())).toEqual(EXPECTED);
        check();
      }
    }
  });

  test("a specification that disposes of another batch, whose memory it then gets", () => {
    const { xent, batch, check } = scene();
    const spec = Object.defineProperty({ ...SPEC }, "gradient", {
      get: doing(() => batch.dispose(), true),
      enumerable: true,
    });
    using made = xent.createBatch(spec);
    expect([made.logits, made.labels, made.gradient].every((part) => part?.every((x) => x === 0))).toBe(true);
    check();
  });
});

describe("weights that are taken away while the options are read", () => {
  const detach = (array: Float32Array): void => {
    if (array.length > 0) structuredClone(array, { transfer: [array.buffer] });
  };
  const shrink = (array: Float32Array): void => (array.buffer as ArrayBuffer).resize(4);

  test.each([
    ["detached", detach, /^TypeError: "\w+" is detached/],
    ["shrunk", shrink, /^RangeError: "\w+" expected one number for each/],
  ])("%s: an error, and nothing is written", (_, take, message) => {
    const { xent, batch, check } = scene();
    const weights = (length: number) => {
      const bytes = 4 * length;
      // Node.js 20 can not transfer one that can be resized.
      const buffer = new ArrayBuffer(bytes, take === shrink ? { maxByteLength: bytes } : {});
      return new Float32Array(buffer).fill(1);
    };
    // An array whose entry is read late.
    const reader = (length: number, read: () => void): number[] =>
      Object.defineProperty(new Array<number>(length).fill(1), 0, { get: doing(read, 1), enumerable: true });
    const uses: (() => RunOptions)[] = [
      () => {
        const classWeights = weights(CLASSES);
        return { classWeights, sampleWeights: reader(ROWS, () => take(classWeights)) };
      },
      () => {
        const sampleWeights = weights(ROWS);
        return { sampleWeights, classWeights: reader(CLASSES, () => take(sampleWeights)) };
      },
      () => {
        const classWeights = weights(CLASSES);
        return Object.defineProperty({ classWeights }, "rows", {
          get: doing(() => take(classWeights), [0, 1]),
          enumerable: true,
        });
      },
    ];
    for (const use of uses) {
      const before = copyBytes(xent.memory);
      expect(thrown(() => batch.run(use()))).toMatch(message);
      expect(firstDifference(copyBytes(xent.memory), before)).toBeUndefined();
      expect(thrown(() => xent.sparseSoftmaxCrossEntropyWithLogits(logits, labels, use() as never))).toMatch(
        /^(Type|Range)Error: /,
      );
      check();
    }
  });
});

describe("arrays", () => {
  const named = (value: object, kind: string): unknown =>
    Object.defineProperty(value, Symbol.toStringTag, { value: kind });

  test("that only say that they are typed are refused", () => {
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

  test("of another kind than they say are what they are", () => {
    const { xent, batch, check } = scene();
    const doubles = named(
      Float64Array.from({ length: CLASSES }, (_, i) => i / 8),
      "Float32Array",
    ) as Float64Array;
    const expected = bitsOf(batch.run({ classWeights: Array.from(doubles) }));
    expect(bitsOf(batch.run({ classWeights: doubles }))).toEqual(expected);
    // Also in the memory, where weights are copied first.
    const integers = new Int32Array(xent.memory.buffer, batch.logits.byteOffset, CLASSES) as never;
    expect(thrown(() => batch.run({ classWeights: integers }))).toMatch(/^TypeError: "classWeights" expected/);
    const floats = named(Float32Array.from(labels), "Int32Array") as never;
    expect(thrown(() => xent.sparseSoftmaxCrossEntropyWithLogits(logits, floats))).toMatch(
      /^TypeError: "labels" expected/,
    );
    check();
  });

  test("of a subclass are read as what they hold, whatever its methods say", () => {
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

  test("of a subclass with a length of its own: an error or a right result", () => {
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

  test("over the kernel's own memory, one over the other, are read before anything is written", () => {
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

  test("over a buffer that can be resized or is shared are taken, and refused where it has shrunk", () => {
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

  test("behind a Proxy are read as arrays, and where it was revoked that is an error", () => {
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

  test("that change while they are read give an error or a result, and nothing leaks", () => {
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

  test("nothing becomes a number that is none", () => {
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
  test("can not be transferred away", () => {
    const { xent, batch } = scene();
    // Some engines throw, others do nothing.
    thrown(() => structuredClone(0, { transfer: [xent.memory.buffer as ArrayBuffer] }));
    expect(bitsOf(batch.run(EVERYTHING))).toEqual(EXPECTED);
  });

  test("can become a resizable buffer, where the engine has that", () => {
    const { xent, batch, check } = scene();
    const memory = xent.memory as WebAssembly.Memory & { toResizableBuffer?(): ArrayBuffer };
    memory.toResizableBuffer?.();
    expect(bitsOf(batch.run(EVERYTHING))).toEqual(EXPECTED);
    using large = exampleBatch(xent, { rows: 50, classes: 1000 });
    expect(large.logits.length).toBe(50_000);
    expect(bitsOf(batch.run(EVERYTHING))).toEqual(EXPECTED);
    check();
  });

  test("a clone of a batch or a result is data: it runs nothing, and disposes of nothing", () => {
    const { batch, check } = scene();
    const clone = structuredClone(batch) as object;
    expect(Object.keys(clone).sort()).toEqual(["classes", "rows"]);
    const result = batch.run(EVERYTHING);
    expect(bitsOf(structuredClone(result))).toEqual(EXPECTED);
    check();
  });

  test("methods are their object's", () => {
    const { xent, batch, check } = scene();
    for (const method of [batch.run, batch.share, batch.dispose, xent.createBatch, xent.share, xent.dispose])
      for (const other of [undefined, {}, Object.create(batch), Object.create(xent)])
        expect(thrown(() => (method as () => unknown).call(other))).toMatch(/^TypeError: /);
    check();
  });
});

describe("with any arguments at all", () => {
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

  test("a call returns or throws a TypeError or RangeError, and changes nothing else", async () => {
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

describe("a typed array with properties of its own", () => {
  /** An array that says of itself what it is not. */
  const claiming = <T extends object>(array: T, claims: object): T =>
    Object.defineProperties(array, Object.getOwnPropertyDescriptors(claims));

  test.each(["classWeights", "sampleWeights"] as const)("is as long as it is: %s", (name) => {
    const { batch, check } = scene();
    const length = name === "classWeights" ? CLASSES : ROWS;
    // What the last run has had in this place.
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

  test("is as long as it is: logits, labels and targets of one call", () => {
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

  test("lies where it lies: a view of the instance's own memory", () => {
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
