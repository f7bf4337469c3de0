// Arbitrary batches and options, of all types and layouts.
import fc from "fast-check";
import type { LossOptions, RunOptions } from "xent";
import type { AnyBatch, AnySpec } from "./twin.ts";

/** Options of a run, for a batch that is not known yet. */
export interface Wishes {
  /** First and last row, in percent of all rows. */
  part: [number, number] | undefined;
  weights: { classes: boolean; samples: boolean };
  options: LossOptions;
}

export function optionsFor({ rows, classes }: AnyBatch, { part, weights, options }: Wishes): RunOptions {
  const all: RunOptions = { ...options };
  if (weights.classes) all.classWeights = Array.from({ length: classes }, (_, j) => (j % 4) / 2);
  if (weights.samples) all.sampleWeights = Float32Array.from({ length: rows }, (_, row) => (row % 3) / 2);
  if (part) {
    const [begin, end] = part.map((at) => Math.round((at / 100) * rows)).sort((a, b) => a - b) as [number, number];
    all.rows = [begin, end];
  }
  return all;
}

const options: fc.Arbitrary<LossOptions> = fc.record(
  {
    gradient: fc.boolean(),
    predictions: fc.boolean(),
    reduction: fc.constantFrom("none", "sum", "mean"),
    ignoreIndex: fc.constantFrom(0, 1, -100),
    labelSmoothing: fc.constantFrom(0, 0.1),
    zLoss: fc.constantFrom(0, 0.01),
    softcap: fc.constantFrom(5, 30),
    temperature: fc.constantFrom(0.5, 1),
    invalidLabels: fc.constantFrom("throw", "nan"),
  },
  { requiredKeys: [] },
) as fc.Arbitrary<LossOptions>;

const hundredths = fc.nat(100);
export const wishes: fc.Arbitrary<Wishes> = fc.record({
  part: fc.option(fc.tuple(hundredths, hundredths), { nil: undefined }),
  weights: fc.record({ classes: fc.boolean(), samples: fc.boolean() }),
  options: fc.oneof(fc.constant({}), fc.constant({ gradient: true }), options),
});

/** Specifications with up to this number of rows and classes. */
export function specs(mostRows: number, mostClasses: number): fc.Arbitrary<AnySpec> {
  const types = fc.record({
    logits: fc.constantFrom("float32", "float32", "float64", "float16", "bfloat16"),
    gradient: fc.constantFrom(false, true, "in-place"),
  });
  const labels = fc.constantFrom("int32", "int32", "int8", "uint8", "int16", "uint16", "uint32", "int64", "uint64");
  const target = fc.oneof(
    { weight: 4, arbitrary: fc.record({ labels }) },
    { weight: 1, arbitrary: fc.constant({ targets: true }) },
  );
  const rows = fc.nat(mostRows);
  const classes = fc.integer({ min: 1, max: mostClasses });
  const layout = fc.oneof(
    fc.record({ rows, classes }),
    fc.tuple(rows, classes, fc.nat(5)).map(([rows, classes, more]) => ({ rows, classes, stride: classes + more })),
    fc
      .tuple(rows, classes)
      .map(([rows, classes]) => ({ rows: 2 * rows, classes, shift: 1, sequence: Math.max(1, rows) })),
    fc.tuple(fc.nat(3), classes, fc.integer({ min: 1, max: 4 })).map((shape) => ({ shape, axis: 1 })),
  );
  return fc.tuple(layout, types, target).map((parts) => {
    const { shift, ...spec } = Object.assign({}, ...parts) as AnySpec;
    return spec.targets || shift === undefined ? spec : { ...spec, shift };
  });
}
