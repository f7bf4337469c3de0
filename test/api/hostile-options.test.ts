// Options whose getters and proxies run code in the middle of a call. Whatever it does, the caller gets an error or a right result,
// other batches do not change, nothing leaks, and the instance still works.
import { describe, expect, test } from "vitest";
import { createXentSync, type RunOptions } from "xent";
import { copyBytes, firstDifference } from "../support/bytes.ts";
import { bitsOf, EVERYTHING } from "../support/example.ts";
import {
  boom,
  CLASSES,
  doing,
  EXPECTED,
  everything,
  labels,
  logits,
  OPTIONS,
  PAGE,
  ROWS,
  reading,
  SPEC,
  scene,
} from "../support/hostile.ts";
import { thrown } from "../support/thrown.ts";

describe("an option whose getter throws", () => {
  test.each([...OPTIONS, "rows"])("%s: the call throws that error, and the batch can run again", async (name) => {
    const { batch, check } = scene();
    expect(thrown(() => batch.run(reading(name, boom)))).toBe("Error: boom");
    await expect(batch.runAsync(reading(name, boom))).rejects.toThrow("boom");
    expect(bitsOf(batch.run(EVERYTHING))).toEqual(EXPECTED);
    expect(bitsOf(await batch.runAsync(EVERYTHING))).toEqual(EXPECTED);
    check();
  });

  test("in runAsync: the memory of a batch that the getter disposed is freed", async () => {
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

  test("of a specification, of an instance and of one call", () => {
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

describe("options that an object inherits", () => {
  class Inherited {
    get labelSmoothing(): number {
      return 0.1;
    }
    get gradient(): true {
      return true;
    }
  }
  const hidden = new Proxy({}, { get: (_, name) => ({ labelSmoothing: 0.1, gradient: true })[name as string] });

  test.each<[string, RunOptions]>([
    ["getters of a class", new Inherited()],
    ["those of a prototype", Object.create({ labelSmoothing: 0.1, gradient: true }) as RunOptions],
    ["a Proxy without keys", hidden],
  ])("%s: one call reads them as a run does", (_, options) => {
    const { xent, batch, check } = scene();
    const own = { labelSmoothing: 0.1, gradient: true } as const;
    const expected = bitsOf(xent.sparseSoftmaxCrossEntropyWithLogits(logits, labels, own));
    expect(bitsOf(xent.sparseSoftmaxCrossEntropyWithLogits(logits, labels, options))).toEqual(expected);
    batch.setLogits(logits);
    expect(bitsOf(batch.run(options))).toEqual(bitsOf(batch.run(own)));
    check();
  });

  test("with names that do not exist are errors, and so are arrays", () => {
    const { xent, batch, check } = scene();
    const misspelt = Object.create({ labelSmoothin: 0.1 }) as RunOptions;
    for (const call of [
      () => xent.sparseSoftmaxCrossEntropyWithLogits(logits, labels, misspelt),
      () => batch.run(misspelt),
    ]) {
      expect(thrown(call)).toBe('TypeError: "options" has no option "labelSmoothin"');
    }
    expect(thrown(() => batch.run([] as RunOptions))).toBe('TypeError: "options" expected an object, got Array');
    check();
  });
});

describe("each property of an argument", () => {
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

  test("has the value of the first read: a shape whose getter changes it", () => {
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

describe("an option whose getter", () => {
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

  test("disposes of another batch gives its memory, zeroed, to the batch that is created", () => {
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

describe("weights that are detached or shrunk while the options are read", () => {
  const detach = (array: Float32Array): void => {
    if (array.length > 0) structuredClone(array, { transfer: [array.buffer] });
  };
  const shrink = (array: Float32Array): void => (array.buffer as ArrayBuffer).resize(4);

  test.each([
    ["detached", detach, /^TypeError: "\w+" is detached/],
    ["shrunk", shrink, /^RangeError: "\w+" expected one number for each/],
  ])("%s: the call throws, and nothing is written", (_, take, message) => {
    const { xent, batch, check } = scene();
    const weights = (length: number) => {
      const bytes = 4 * length;
      // Node.js 20 can not transfer one that can be resized.
      const buffer = new ArrayBuffer(bytes, take === shrink ? { maxByteLength: bytes } : {});
      return new Float32Array(buffer).fill(1);
    };
    // The getter of this entry runs after the options were read.
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
