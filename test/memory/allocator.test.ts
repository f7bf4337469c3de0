// The allocator against a model of its rule: first fit, aligned to 64 bytes; if nothing fits, the memory grows by whole pages. After a
// hundred thousand batches, all memory is one free block again.
import { expect, test } from "vitest";
import { type Batch, createXentSync } from "xent";
import { copyBytes, firstChange, firstDifference } from "../support/bytes.ts";
import { bitsOf, EVERYTHING, exampleBatch } from "../support/example.ts";
import { BEGIN, fillUp, workBytes } from "../support/place.ts";
import { mulberry32 } from "../support/random.mjs";
import { thrown } from "../support/thrown.ts";

const PAGE = 65536;
const MAX_ALIVE = 24;

interface Block {
  start: number;
  end: number;
  batch: Batch;
}

const rounded = (bytes: number): number => Math.max(64, Math.ceil(bytes / 64) * 64);

/** Working memory, logits, labels, loss before and after rounding, log-sum-exp, predictions, and a separate gradient. */
function bytesOf(rows: number, classes: number, gradient: boolean | "in-place"): number {
  return (
    workBytes({ rows, classes }) +
    rounded(4 * rows * classes) * (gradient === true ? 2 : 1) +
    4 * rounded(4 * rows) +
    rounded(8 * rows)
  );
}

/** The first gap between the sorted blocks where so many bytes fit; behind the last block they always do. */
function firstFit(blocks: readonly Block[], begin: number, bytes: number): { at: number; index: number } {
  let at = begin;
  for (const [index, { start, end }] of blocks.entries()) {
    if (start - at >= bytes) return { at, index };
    at = end;
  }
  return { at, index: blocks.length };
}

test.each([false, true])(
  "100,000 batches of random sizes have the addresses of the model, and leak nothing, shared: %s",
  (shared) => {
    using xent = createXentSync({ shared });
    const random = mulberry32(shared ? 3 : 4);
    const blocks: Block[] = [];
    let highest = BEGIN;
    for (let cycle = 0; cycle < 100_000; cycle++) {
      if (blocks.length === MAX_ALIVE || (blocks.length > 0 && random() % 3 === 0)) {
        blocks.splice(random() % blocks.length, 1)[0]?.batch.dispose();
      }
      const rows = random() % 40;
      const classes = 1 + (random() % (random() % 50 === 0 ? 4000 : 60));
      const gradient = ([false, true, "in-place"] as const)[random() % 3] ?? false;
      const batch = xent.createBatch({ rows, classes, gradient });
      const bytes = bytesOf(rows, classes, gradient);
      const { at, index } = firstFit(blocks, BEGIN, bytes);
      const logits = at + workBytes({ rows, classes });
      if (batch.logits.byteOffset !== logits) expect(batch.logits.byteOffset, `batch ${cycle}`).toBe(logits);
      blocks.splice(index, 0, { start: at, end: at + bytes, batch });
      highest = Math.max(highest, at + bytes);
    }
    // The memory is no page larger than the most that was in use at once.
    expect(xent.memory.buffer.byteLength).toBe(Math.ceil(highest / PAGE) * PAGE);
    for (const { batch } of blocks) batch.dispose();
    fillUp(xent, xent.memory.buffer.byteLength);
    expect(xent.memory.buffer.byteLength).toBe(Math.ceil(highest / PAGE) * PAGE);
  },
);

test("a batch without room for the memory of options runs without options, and with them throws and writes nothing", async () => {
  const SPEC = { rows: 4, classes: 6000, gradient: true };
  using small = createXentSync();
  using xent = createXentSync({ maxBytes: 5 * PAGE });
  const expected = bitsOf(exampleBatch(small, SPEC).run(EVERYTHING));
  const classWeights = new Float32Array(SPEC.classes);
  fillUp(xent, 5 * PAGE - rounded(4 * 4 * 6000) * 2 - 5 * 64);
  const batch = exampleBatch(xent, SPEC);
  const before = copyBytes(xent.memory);
  const message = /^RangeError: this run needs \d+ bytes beside the batch, but "maxBytes" leaves no room$/;
  for (let time = 0; time < 10; time++) {
    expect(thrown(() => batch.run({ classWeights }))).toMatch(message);
    await expect(batch.runAsync({ classWeights })).rejects.toThrow(/ leaves no room$/);
    expect(thrown(() => batch.partials({ classOffset: 0, classesTotal: SPEC.classes }))).toMatch(message);
  }
  expect(firstChange(xent.memory, before)).toBeUndefined();
  expect(bitsOf(batch.run(EVERYTHING))).toEqual(expected);
  expect(bitsOf(await batch.runAsync(EVERYTHING))).toEqual(expected);
});

test("share throws if its memory does not fit below maxBytes, and leaks nothing", () => {
  const SPEC = { rows: 4, classes: 6000, gradient: true };
  using xent = createXentSync({ maxBytes: 16 * PAGE, shared: true });
  const batch = exampleBatch(xent, SPEC);
  fillUp(xent, 16 * PAGE);
  for (let time = 0; time < 100; time++) expect(thrown(() => batch.share())).toMatch(/"maxBytes" allows/);
  batch.dispose();
  using again = exampleBatch(xent, SPEC);
  expect(again.run().loss.length).toBe(4);
});

test("the working memory of a run overlaps no other region, whatever its size", () => {
  for (let classes = 1; classes <= 64; classes++) {
    using xent = createXentSync();
    const batch = exampleBatch(xent, { rows: 1, classes });
    const classWeights = new Float32Array(classes).fill(0.7);
    batch.run({ classWeights });
    const behind = exampleBatch(xent, { rows: 1, classes: 16 });
    const before = copyBytes(xent.memory);
    batch.run({ classWeights });
    const { byteOffset, byteLength } = behind.logits;
    expect(
      firstDifference(copyBytes(behind.logits), before.subarray(byteOffset, byteOffset + byteLength)),
    ).toBeUndefined();
  }
});

test("maxBytes is rounded down to whole pages", () => {
  using xent = createXentSync({ maxBytes: 3 * PAGE - 1 });
  expect(thrown(() => xent.createBatch({ rows: 1, classes: PAGE / 4 }))).toMatch(/"maxBytes" allows 131072 bytes/);
});

test("disposing of a batch frees what it has shared", () => {
  using xent = createXentSync({ shared: true });
  const use = (): void => {
    using batch = xent.createBatch({ rows: 10, classes: 1000 });
    for (let worker = 0; worker < 8; worker++) batch.share();
  };
  use();
  const { byteLength } = xent.memory.buffer;
  for (let time = 0; time < 1000; time++) use();
  expect(xent.memory.buffer.byteLength).toBe(byteLength);
});
