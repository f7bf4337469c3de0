// A gradient from the partials of other rows, options or logits than the last call's would be wrong, and nothing would show it.
import fc from "fast-check";
import { afterAll, describe, expect, test } from "vitest";
import { type Batch, createXentSync, type LossOptions, mergePartials, type Partials } from "xent";
import { generate } from "../support/golden.ts";
import { makeParts, type Whole } from "../support/shards.ts";
import { thrown } from "../support/thrown.ts";

const xent = createXentSync();
afterAll(() => xent.dispose());

const left = { classOffset: 0, classesTotal: 4 };
const right = { classOffset: 2, classesTotal: 4 };

/** The left shard of two rows, whose merged largest logits are 7 and 3. */
function makeLeft(options: { labels?: number[]; targets?: true | "logits" } = {}): Batch {
  const { labels = [0, 0], targets = false } = options;
  const batch = xent.createBatch({ rows: 2, classes: 2, gradient: true, targets }) as Batch;
  batch.setLogits([7, 1, 3, 2]);
  if (targets === false) batch.setLabels(labels);
  else batch.setTargets([0.5, 0.25, 0.125, 0.125]);
  return batch;
}

/** Merges partials of the left shard with a shard whose logits, and target logits, are `others`. */
function mergeWith(partials: Partials, options: LossOptions & { rows?: [number, number] } = {}, others = 0): Partials {
  const { softTargets, divergence } = partials.settings;
  const targets = divergence === 1 ? "logits" : softTargets === 1;
  const batch = xent.createBatch({ rows: 2, classes: 2, targets });
  batch.logits.fill(others);
  if (targets === "logits") batch.targets?.fill(others);
  if (targets === false) batch.labels.set(partials.labels, options.rows?.[0] ?? 0);
  return mergePartials(partials, batch.partials({ ...options, ...right }));
}

/** What a gradient throws if it is computed from the partials of the first options after a call with the second ones. */
function refusal(
  batch: Batch,
  [first, second]: readonly [LossOptions & { rows?: [number, number] }, LossOptions & { rows?: [number, number] }],
  others?: number,
): string {
  const merged = mergeWith(batch.partials({ ...first, ...left }), { ...first, classWeights: undefined }, others);
  batch.partials({ ...second, ...left });
  return thrown(() => batch.gradientFromPartials(merged));
}

describe("a gradient refuses merged partials", () => {
  const weights = (...classWeights: number[]) => ({ classWeights, labelSmoothing: 0.5 });

  test("of other class weights", () => {
    expect(refusal(makeLeft(), [weights(1, 2), weights(5, 5)])).toBe(
      'RangeError: "merged" expected the labelWeight of row 0 of the last partials(), 5, got 1',
    );
    // The label is in the other shard, but the largest logit is here.
    expect(refusal(makeLeft({ labels: [2, 2] }), [weights(1, 2), weights(5, 5)])).toBe(
      'RangeError: "merged" expected the bestWeight of row 0 of the last partials(), 5, got 1',
    );
  });

  test("of other sample weights", () => {
    for (const targets of [undefined, true, "logits"] as const) {
      const batch = makeLeft(targets && { targets });
      expect(refusal(batch, [{}, { sampleWeights: [3, 3] }])).toBe(
        'RangeError: "merged" expected the sampleWeights of row 0 of the last partials(), 3, got 1',
      );
    }
  });

  const rows = [{ rows: [0, 1] as [number, number] }, { rows: [1, 2] as [number, number] }] as const;

  test("of other rows with the same labels", () => {
    expect(refusal(makeLeft(), rows)).toBe(
      'RangeError: "merged" expected the labelLogit of row 0 of the last partials(), 3, got 7',
    );
    expect(refusal(makeLeft({ labels: [2, 2] }), rows)).toBe(
      'RangeError: "merged" expected the maximum of row 0 of the last partials(), 3, got 7',
    );
    const [first, second] = rows;
    expect(refusal(makeLeft({ labels: [2, 2] }), [second, first])).toBe(
      'RangeError: "merged" expected at least the maximum of row 0 of the last partials(), 7, got 3',
    );
    // The largest logit is in the other shard, but the sum here is more than the sum of all.
    const batch = makeLeft({ labels: [2, 2] });
    batch.setLogits([-100, -100, 0, 0]);
    expect(refusal(batch, rows, 0.25)).toMatch(
      /^RangeError: "merged" expected at least the sum of row 0 of the last partials\(\), 2, got 1\.28/,
    );
  });

  test("of other labels, of which only the last partials() knew", () => {
    const batch = makeLeft();
    const merged = mergeWith(batch.partials(left));
    batch.setLabels([1, 1]);
    batch.partials(left);
    batch.setLabels([0, 0]);
    expect(thrown(() => batch.gradientFromPartials(merged))).toBe(
      'RangeError: "merged" expected the labels of row 0 of the last partials(), 1, got 0',
    );
  });

  test("of other logits", () => {
    const changed = (batch: Batch, ...logits: number[]): string => {
      const merged = mergeWith(batch.partials(left));
      batch.setLogits(logits);
      batch.partials(left);
      return thrown(() => batch.gradientFromPartials(merged));
    };
    expect(changed(makeLeft(), 6)).toContain("expected the labelLogit of row 0 of the last partials(), 6, got 7");
    expect(changed(makeLeft({ labels: [2, 2] }), 0)).toContain("expected the predictions of row 0");
    expect(changed(makeLeft({ labels: [2, 2] }), NaN)).toContain(
      "expected at least the maximum of row 0 of the last partials(), NaN, got 7",
    );
    for (const targets of [true, "logits"] as const) {
      expect(changed(makeLeft({ targets }), 8)).toContain("maximum of row 0 of the last partials(), 8, got 7");
    }
    const batch = makeLeft();
    const capped = { ...left, softcap: 2 ** -20 };
    const partials = batch.partials(capped);
    const merged = mergeWith(partials, { softcap: 2 ** -20 });
    batch.setLogits([8]);
    batch.partials(capped);
    // After the softcap, the two are equal.
    expect(thrown(() => batch.gradientFromPartials(merged))).toBe(
      'RangeError: "merged" expected the largest of row 0 of the last partials(), 8, got 7',
    );
  });

  test("of other target logits", () => {
    const changed = (...targets: number[]): string => {
      const batch = makeLeft({ targets: "logits" });
      const merged = mergeWith(batch.partials(left), {}, -100);
      batch.setTargets(targets);
      batch.partials(left);
      return thrown(() => batch.gradientFromPartials(merged));
    };
    expect(changed(9)).toBe(
      'RangeError: "merged" expected at least the targetMaximum of row 0 of the last partials(), 9, got 0.5',
    );
    expect(changed(0.5, 0.5)).toMatch(
      /^RangeError: "merged" expected at least the targetSum of row 0 of the last partials\(\), [\d.]+, got [\d.]+$/,
    );
  });
});

describe("a gradient refuses logits or targets", () => {
  test("that have changed since the last partials()", () => {
    const batch = makeLeft({ labels: [1, 1] });
    const merged = mergeWith(batch.partials(left));
    const call = () => thrown(() => batch.gradientFromPartials(merged));
    for (const [at, was, title] of [
      [2, 3, "largest logit"],
      [3, 2, "label"],
    ] as const) {
      batch.setLogits([0], at);
      expect(call(), title).toBe(
        `RangeError: "logits" expected those of the last partials(), with ${was} in row 1, got 0`,
      );
      batch.setLogits([was], at);
    }
    expect(call()).toBe("nothing");
  });

  test.each([true, "logits"] as const)("of kind %s that have changed", (targets) => {
    const batch = makeLeft({ targets });
    const merged = mergeWith(batch.partials(left));
    batch.setTargets([0.75]);
    expect(thrown(() => batch.gradientFromPartials(merged))).toBe(
      'RangeError: "targets" expected those of the last partials(), with 0.5 in row 0, got 0.75',
    );
  });

  test("that have changed in any layout, and no others", () => {
    // Rows of padding, interleaved rows, and a range of the rows.
    for (const spec of [
      { rows: 6, classes: 3, stride: 5 },
      { shape: [2, 3, 3], axis: 1 },
    ] as const) {
      using batch = xent.createBatch({ ...spec, gradient: true });
      batch.logits.set(batch.logits.map((_, i) => (i * 7) % 11));
      batch.labels.fill(3);
      const other = batch.partials({ classOffset: 0, classesTotal: 6, rows: [2, 5] });
      const own = batch.partials({ classOffset: 3, classesTotal: 6, rows: [2, 5] });
      const merged = mergePartials(other, own);
      let refused = 0;
      for (const [i, was] of batch.logits.slice().entries()) {
        batch.logits[i] = -1;
        if (thrown(() => batch.gradientFromPartials(merged)).startsWith('RangeError: "logits"')) refused++;
        batch.logits[i] = was;
      }
      // The largest logit and the label's of three rows, which are one class if the label is the largest logit.
      expect(refused).toBe(6 - own.predictions.filter((best) => best === 3).length);
    }
  });

  test("that a gradient has replaced", async () => {
    const batch = xent.createBatch({ rows: 1, classes: 2, gradient: "in-place" });
    batch.setLogits([1, 2]);
    const shard = { classOffset: 0, classesTotal: 2 };
    const merged = batch.partials(shard);
    batch.gradientFromPartials(merged);
    const message =
      "TypeError: gradientFromPartials() expected a call of partials(), after a gradient has replaced the logits";
    expect(thrown(() => batch.gradientFromPartials(merged, { reduction: "mean" }))).toBe(message);
    await expect(batch.gradientFromPartialsAsync(merged)).rejects.toThrow(message.slice("TypeError: ".length));
    // The same numbers again would be another call's.
    batch.setLogits([1, 2]);
    expect(thrown(() => batch.gradientFromPartials(merged))).toBe(message);
    await batch.gradientFromPartialsAsync(await batch.partialsAsync(shard));
    expect(thrown(() => batch.gradientFromPartials(merged))).toBe(message);
    batch.partials(shard);
    batch.run({ gradient: true });
    expect(thrown(() => batch.gradientFromPartials(merged))).toBe(message);
    batch.setLogits([1, 2]);
    expect(batch.gradientFromPartials(batch.partials(shard)).length).toBe(2);
  });
});

test("a gradient accepts partials that are merged in any order and grouping, with any options", () => {
  const number = fc.constantFrom(0, 1, -1, 0.5, 3, 7.25, 1e-3, -88, 200, -1e4, 2 ** 31, -3e38, -Infinity, NaN);
  fc.assert(
    fc.property(
      fc.record({
        seed: fc.nat(2 ** 20),
        odd: fc.array(number, { maxLength: 12 }),
        labelSmoothing: fc.constantFrom(0, 0.25),
        softcap: fc.constantFrom(undefined, 0.01, 30),
        temperature: fc.constantFrom(1, 0.7, 1e-3),
        weighted: fc.boolean(),
        kind: fc.constantFrom("labels", "targets", "targetLogits"),
        order: fc.shuffledSubarray([0, 1, 2, 3], { minLength: 4 }),
      }),
      ({ seed, odd, labelSmoothing, softcap, temperature, weighted, kind, order }) => {
        const spec = { rows: 4, classes: 12, seed, bits: 16, shift: 12, boost: 0 };
        const { logits, labels } = generate(spec);
        for (const [i, value] of odd.entries()) logits[(i * 17) % 48] = value;
        const of = kind === "labels" ? {} : { [kind]: Float32Array.from(logits, (x) => Math.abs(x) % 1 || 0.5) };
        const whole: Whole = { dtype: "float32", shape: [4, 12], axis: -1, logits, labels, ...of };
        const options: LossOptions = {
          temperature,
          ...(kind !== "targetLogits" && { softcap }),
          ...(kind === "labels" && { labelSmoothing, ignoreIndex: labels[1] as number }),
          ...(weighted && { sampleWeights: [0, 1, -2, 0.3] }),
          ...(weighted &&
            kind === "labels" && {
              classWeights: logits.slice(0, 12).map((x) => (Number.isFinite(x) ? x : 0)),
            }),
        };
        const parts = makeParts(xent, whole, [0, 1, 4, 9, 12], options, true);
        const [a, b, c, d] = order.map((i) => parts[i]?.partials) as [Partials, Partials, Partials, Partials];
        for (const merged of [mergePartials(a, b, c, d), mergePartials(mergePartials(mergePartials(a, b), c), d)]) {
          for (const { batch } of parts) batch.gradientFromPartials(merged);
        }
        for (const { batch } of parts) batch.dispose();
      },
    ),
    { numRuns: 500 },
  );
});
