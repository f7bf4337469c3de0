// The largest or smallest accepted value of each number, and the next one, which is refused.
import { expect, test } from "vitest";
import { type BatchSpec, createXentSync, type LabelsType, type LogitsType, type RunOptions } from "xent";
import { exampleBatch } from "../support/example.ts";
import { thrown } from "../support/thrown.ts";

const PAGE = 65536;
const ROWS = 4;
const CLASSES = 6;
const xent = createXentSync();
const create = (spec: BatchSpec<LogitsType, LabelsType>) => () => xent.createBatch(spec).dispose();
const batch = exampleBatch(xent, { rows: ROWS, classes: CLASSES, gradient: true });
const run = (options: RunOptions) => () => batch.run(options);
const label = (labels: LabelsType, value: number) => (): void => {
  using one = xent.createBatch<"float32", LabelsType>({ rows: 2, classes: 100, labels });
  one.labels[1] = (typeof one.labels[0] === "bigint" ? BigInt(value) : value) as never;
  one.run();
};
const unsigned: LabelsType[] = ["uint8", "uint16", "uint32", "uint64"];
const signed: LabelsType[] = ["int8", "int16", "int32", "int64"];

test.each<[string, () => unknown, () => unknown]>([
  ["one class", create({ rows: 1, classes: 1 }), create({ rows: 1, classes: 0 })],
  ["no rows", create({ rows: 0, classes: 1 }), create({ rows: -1, classes: 1 })],
  ["a stride of the classes", create({ rows: 2, classes: 5, stride: 5 }), create({ rows: 2, classes: 5, stride: 4 })],
  ["a row of 2 GiB less 4 bytes", create({ rows: 0, classes: 2 ** 29 - 1 }), create({ rows: 0, classes: 2 ** 29 })],
  [
    "a row of 2 GiB less 8 bytes",
    create({ rows: 0, classes: 2 ** 28 - 1, logits: "float64" }),
    create({ rows: 0, classes: 2 ** 28, logits: "float64" }),
  ],
  [
    "a row of 2 GiB less 2 bytes",
    create({ rows: 0, classes: 2 ** 30 - 1, logits: "bfloat16" }),
    create({ rows: 0, classes: 2 ** 30, logits: "bfloat16" }),
  ],
  [
    "a row that spans 2 GiB less 4 bytes",
    create({ shape: [0, 2 ** 28, 2], axis: 1 }),
    create({ shape: [0, 2 ** 28 + 1, 2], axis: 1 }),
  ],
  ["the first axis", create({ shape: [2, 3, 4], axis: -3 }), create({ shape: [2, 3, 4], axis: -4 })],
  ["the last axis", create({ shape: [2, 3, 4], axis: 2 }), create({ shape: [2, 3, 4], axis: 3 })],
  ["a shape with one class", create({ shape: [2, 1] }), create({ shape: [2, 0] })],
  ["no shift", create({ rows: 2, classes: 1, shift: 0 }), create({ rows: 2, classes: 1, shift: -1 })],
  [
    "a shift of 2^31",
    create({ rows: 2, classes: 1, shift: 2 ** 31 }),
    create({ rows: 2, classes: 1, shift: 2 ** 31 + 1 }),
  ],
  ["sequences of one row", create({ rows: 2, classes: 1, sequence: 1 }), create({ rows: 2, classes: 1, sequence: 0 })],
  [
    "a sequence of 2^32",
    create({ rows: 0, classes: 1, sequence: 2 ** 32 }),
    create({ rows: 0, classes: 1, sequence: 2 ** 32 + 1 }),
  ],
  ["the largest ignoreIndex", run({ ignoreIndex: 2 ** 53 - 1 }), run({ ignoreIndex: 2 ** 53 })],
  ["the smallest ignoreIndex", run({ ignoreIndex: 1 - 2 ** 53 }), run({ ignoreIndex: -(2 ** 53) })],
  ["no smoothing", run({ labelSmoothing: 0 }), run({ labelSmoothing: -5e-324 })],
  ["nearly all smoothing", run({ labelSmoothing: 1 - 2 ** -53 }), run({ labelSmoothing: 1 })],
  ["no z-loss", run({ zLoss: 0 }), run({ zLoss: -5e-324 })],
  ["the largest z-loss", run({ zLoss: Number.MAX_VALUE }), run({ zLoss: Infinity })],
  ["the smallest softcap", run({ softcap: 5e-324 }), run({ softcap: 0 })],
  ["the largest softcap", run({ softcap: Number.MAX_VALUE }), run({ softcap: Infinity })],
  ["the smallest temperature", run({ temperature: 5e-324 }), run({ temperature: 0 })],
  ["the largest temperature", run({ temperature: Number.MAX_VALUE }), run({ temperature: Infinity })],
  ["no rows at the beginning", run({ rows: [0, 0] }), run({ rows: [-1, 0] })],
  ["no rows at the end", run({ rows: [ROWS, ROWS] }), run({ rows: [ROWS, ROWS + 1] })],
  ["one row", run({ rows: [2, 3] }), run({ rows: [3, 2] })],
  ["weights for all", run({ classWeights: [1, 1, 1, 1, 1, 1] }), run({ classWeights: [1, 1, 1, 1, 1] })],
  ["weights for all rows", run({ sampleWeights: [1, 1, 1, 1] }), run({ sampleWeights: [1, 1, 1, 1, 1] })],
  [
    "the smallest memory",
    () => createXentSync({ maxBytes: 2 * PAGE }),
    () => createXentSync({ maxBytes: 2 * PAGE - 1 }),
  ],
  ["the largest memory", () => createXentSync({ maxBytes: 2 ** 32 }), () => createXentSync({ maxBytes: 2 ** 32 + 1 })],
  ...[...signed, ...unsigned].map((type): [string, () => void, () => void] => [
    `the last class, ${type}`,
    label(type, 99),
    label(type, 100),
  ]),
  ...signed.map((type): [string, () => void, () => void] => [
    `the first class, ${type}`,
    label(type, 0),
    label(type, -1),
  ]),
])("%s", (_, accepted, refused) => {
  expect(thrown(accepted)).toBe("nothing");
  expect(thrown(refused)).toMatch(/^RangeError: /);
});

test.each([{ rows: 2 }, { classes: 3 }, { stride: 3 }])("a shape is refused beside %o", (more) => {
  expect(thrown(create({ shape: [2, 3], ...more } as never))).toMatch(/^TypeError: "shape" replaces rows/);
});

test("the error says that the engine has no memory", () => {
  const { Memory } = WebAssembly;
  Object.assign(WebAssembly, { Memory: undefined });
  try {
    expect(thrown(() => createXentSync({ maxBytes: 2 * PAGE }))).toBe(
      'RangeError: "maxBytes" of 131072: this engine has no memory',
    );
  } finally {
    Object.assign(WebAssembly, { Memory });
  }
});

test("the largest number of rows is refused only for its memory", () => {
  expect(thrown(create({ rows: 2 ** 32 - 1, classes: 1 }))).toMatch(/^RangeError: \d+ bytes do not fit/);
  expect(thrown(create({ rows: 2 ** 32, classes: 1 }))).toMatch(/^RangeError: "rows" expected/);
  expect(thrown(create({ shape: [2 ** 32 - 1, 1] }))).toMatch(/^RangeError: \d+ bytes do not fit/);
  expect(thrown(create({ shape: [2 ** 16, 1, 2 ** 16], axis: 1 }))).toMatch(/^RangeError: "rows" expected/);
  expect(thrown(create({ rows: 0, classes: 2 ** 31 - 1 }))).toMatch(/^RangeError: "classes" expected rows that span/);
  expect(thrown(create({ rows: 0, classes: 2 ** 31 }))).toMatch(/^RangeError: "classes" expected an integer/);
  expect(thrown(create({ shape: [0, 2 ** 31 - 1] }))).toMatch(/^RangeError: "classes" expected rows that span/);
  expect(thrown(create({ shape: [0, 2 ** 31] }))).toMatch(/^RangeError: "shape" Array expected at least one class/);
});
