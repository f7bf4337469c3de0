import {
  createXentSync,
  decodePartials,
  decodeTotals,
  encodePartials,
  encodeTotals,
  lossFromPartials,
  mergePartials,
  type Partials,
  Totals,
} from "xent";
import { exampleBatch } from "./example.ts";
import { doubles, forged, words } from "./forged.ts";

const cut = (file: Uint8Array, length: number): Uint8Array => file.slice(0, length);

/** Every way in which the functions of shards can throw, for api/throws.test.ts. */
export function shardThrows(): Record<string, () => unknown> {
  const xent = createXentSync();
  const batch = exampleBatch(xent, { rows: 4, classes: 6, gradient: true });
  const fresh = exampleBatch(xent, { rows: 4, classes: 6, gradient: true });
  const shard = { classOffset: 0, classesTotal: 12 };
  const left = batch.partials(shard);
  const right = fresh.partials({ ...shard, classOffset: 6 });
  const merged = mergePartials(left, { ...right, labels: left.labels });
  const [file, totals] = [encodePartials(merged), encodeTotals(new Totals())];
  const some = encodeTotals(Totals.of({ sum: [1], normalizer: [1] }, 1, 0));
  const source = "1".repeat(32);
  const told = encodeTotals(Totals.of({ sum: [1], normalizer: [1] }, 1, 0, [source, "2".repeat(32)]));
  const never = exampleBatch(xent, { rows: 4, classes: 6, gradient: true });
  const gradient = (from: unknown) => () => batch.gradientFromPartials(from as Partials);
  const gradientOf = (options: unknown) => () => batch.gradientFromPartials(merged, options as object);
  const without = exampleBatch(xent, { rows: 4, classes: 6 });
  const merging = (other: unknown) => () => mergePartials(left, other as Partials);
  const partials = (options: unknown) => () => fresh.partials(options as typeof shard);
  const other = { ...right, labels: left.labels };
  const result = { loss: new Float32Array(1), normalizer: 1, count: 1 };
  return {
    "partials without options": partials(undefined),
    "partials without a number of classes": partials({ classOffset: 0 }),
    "partials that begin behind the last class": partials({ classOffset: 7, classesTotal: 12 }),
    "a gradient before partials": () => never.gradientFromPartials(merged),
    "a gradient of a number": gradient(3),
    "a gradient of some classes": gradient(left),
    "a gradient of fewer rows": () => {
      const some = batch.partials({ ...shard, rows: [0, 2] });
      batch.partials(shard);
      return batch.gradientFromPartials({ ...some, classes: [[0, 12]] });
    },
    "a gradient of more classes": gradient({ ...merged, classes: [[0, 13]], classesTotal: 13 }),
    "a gradient of other options": gradient({ ...merged, settings: { ...merged.settings, zLoss: 1 } }),
    "a gradient of other labels": gradient({ ...merged, labels: merged.labels.map((label) => label + 1) }),
    "a gradient of other sample weights": gradient({ ...merged, sampleWeights: merged.sampleWeights.map(() => 2) }),
    "a gradient of a smaller sum": gradient({ ...merged, sum: merged.sum.map(() => 0) }),
    "a gradient of logits that have changed": () => {
      const changed = exampleBatch(xent, { rows: 4, classes: 6, gradient: true });
      const all = changed.partials({ classOffset: 0, classesTotal: 6 });
      changed.logits.fill(-1);
      return changed.gradientFromPartials(all);
    },
    "a gradient of logits that it has replaced": () => {
      const replaced = exampleBatch(xent, { rows: 4, classes: 6, gradient: "in-place" });
      const all = replaced.partials({ classOffset: 0, classesTotal: 6 });
      replaced.gradientFromPartials(all);
      return replaced.gradientFromPartials(all);
    },
    "a gradient with options that are null": gradientOf(null),
    "a gradient with an unknown reduction": gradientOf({ reduction: "avg" }),
    "a gradient with another option than the reduction": gradientOf({ zLoss: 1 }),
    "a gradient of partials without memory for it": () => {
      without.partials(shard);
      return without.gradientFromPartials(merged);
    },
    "merging nothing": () => mergePartials(),
    "merging an object that is no partials": merging({}),
    "merging other rows": merging(fresh.partials({ ...shard, classOffset: 6, rows: [0, 2] })),
    "merging other classes": merging({ ...other, classesTotal: 13 }),
    "merging other options": merging({ ...other, settings: { ...other.settings, temperature: 2 } }),
    "merging other labels": merging({ ...other, labels: other.labels.map((label) => label + 1) }),
    "merging a class twice": merging(left),
    "a loss of null": () => lossFromPartials(null as unknown as Partials),
    "a loss of some classes": () => lossFromPartials(left),
    "encoding an object that is no partials": () => encodePartials({} as Partials),
    "encoding an object that is no totals": () => encodeTotals({} as Totals),
    "decoding a string": () => decodePartials("XENTPART" as unknown as Uint8Array),
    "decoding another file": () => decodePartials(totals),
    "decoding the beginning of a file": () => decodePartials(cut(file, 12)),
    "decoding an unknown version": () => decodePartials(forged(file, words(8, 99))),
    "decoding a part of a file": () => decodeTotals(cut(totals, totals.length - 1)),
    "decoding more than a file": () => decodeTotals(Uint8Array.of(...totals, 0)),
    "decoding damaged bytes": () => decodeTotals(totals.with(30, 1)),
    "decoding more rows than there are": () => decodePartials(forged(file, words(24, 5))),
    "decoding fewer rows than there are": () => decodePartials(forged(file, words(24, 3))),
    "decoding classes in disorder": () => decodePartials(forged(file, words(40, 6, 2))),
    "decoding no column of sums": () => decodePartials(forged(file, words(32, 0))),
    "decoding an unknown column": () => decodePartials(forged(file, words(32, 2 ** 31))),
    "decoding a label that is no class": () => decodePartials(forged(file, words(80, 12))),
    "decoding a reserved word that is not 0": () => decodePartials(forged(file, words(12, 1))),
    "decoding a negative number of rows": () => decodeTotals(forged(totals, doubles(24, -1))),
    "decoding totals of no rows": () => decodeTotals(forged(some, doubles(24, 0))),
    "decoding totals with NaN": () => decodeTotals(forged(some, doubles(24 + 32, NaN))),
    "merging impossible partials": merging({ ...other, settings: { ...other.settings, temperature: 0 } }),
    "adding a normalizer that is no number": () => new Totals().add({ ...result, normalizer: "1" } as never),
    "totals of terms that are no numbers": () => Totals.of({ sum: ["1"], normalizer: [] } as never, 1, 0),
    "adding a value that is no result": () => new Totals().add({} as never),
    "adding a negative number of rows": () => new Totals().add({ ...result, count: -1 }),
    "adding losses that are no array": () => new Totals().add({ ...result, loss: [1] } as never),
    "adding weights that are no array": () => new Totals().addRows(result.loss, undefined as never, 0),
    "adding more weights than losses": () => new Totals().addRows(result.loss, new Float32Array(2), 0),
    "adding more correct predictions than rows": () => new Totals().add({ ...result, correct: 2 }),
    "a source that is no text": () => new Totals().addSource(1 as never),
    "a source of another length": () => new Totals().addSource("1"),
    "a source twice": () => decodeTotals(told).addSource(source),
    "merging rows that are counted already": () => decodeTotals(told).merge(decodeTotals(told)),
    "decoding no source": () => decodeTotals(forged(told, doubles(24 + 48, 0))),
    "decoding sources in disorder": () => decodeTotals(forged(told, words(24 + 56, 2 ** 31))),
    "merging no totals": () => new Totals().merge({} as Totals),
  };
}
