// No run writes a byte outside of its outputs: not the padding of a stride, other rows, outputs that were not asked for, or the gaps
// between and behind the parts of a batch. All of these hold canaries first.
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { createXentSync, type RunOptions, type Xent } from "xent";
import { HEAP_START } from "../../packages/xent/src/abi.ts";
import { copyBytes, firstDifference } from "../support/bytes.ts";
import { holds } from "../support/cases.ts";
import { fillUp, unroundedLosses, workBytes } from "../support/place.ts";
import { optionsFor, specs, type Wishes, wishes } from "../support/specs.ts";
import { type AnySpec, Twin } from "../support/twin.ts";
import { variants } from "../support/variants.ts";

const PAGE = 65536;
const MAX_PAGES = 20;
const CANARY = 0xa5;

type Range = readonly [begin: number, end: number];

/** The bytes that a run may write, where the batch lies between these addresses. */
function outputs(twin: Twin, { gradient, predictions, rows }: RunOptions, end: number): Range[] {
  const { batch, spec } = twin;
  const [first, last] = rows ?? [0, batch.rows];
  const part = (at: number, size: number): Range => [at + size * first, at + size * last];
  // The parts without a name, as packages/xent/src/plan.ts lays them out.
  const room = (size: number): number => Math.max(64, Math.ceil((size * batch.rows) / 64) * 64);
  const { byteOffset: loss, BYTES_PER_ELEMENT: size } = batch.loss;
  const logSumExp = loss + room(size);
  const all = [part(loss, size), part(logSumExp, size)];
  if (size === 4) all.push(part(unroundedLosses(batch).byteOffset, 8));
  if (predictions) all.push(part(logSumExp + room(size), 4));
  const direct = spec.targets || ((spec.labels ?? "int32") === "int32" && !spec.shift);
  if (!direct) all.push(part(end - room(4), 4));
  if (!gradient || !batch.gradient) return all;
  const { byteOffset, BYTES_PER_ELEMENT: bytes } = batch.gradient;
  for (let row = first; row < last; row++)
    for (const at of twin.places(row)) all.push([byteOffset + at * bytes, byteOffset + (at + 1) * bytes]);
  return all;
}

function assertCanaries(xent: Xent, spec: AnySpec, asked: Wishes, seed: number, atTheEnd: boolean): void {
  const measure = new Twin(spec, xent);
  using behind = xent.createBatch({ rows: 0, classes: 1 });
  const bytes = behind.logits.byteOffset - workBytes({ rows: 0, classes: 1 }) - measure.batch.logits.byteOffset;
  measure.batch.dispose();
  behind.dispose();
  if (atTheEnd) fillUp(xent, MAX_PAGES * PAGE - bytes - workBytes(spec));
  const twin = new Twin(spec, xent);
  const start = twin.batch.logits.byteOffset;
  const end = start + bytes;
  if (atTheEnd) expect(end).toBe(xent.memory.buffer.byteLength);
  // Memory behind the batch is free.
  new Uint8Array(xent.memory.buffer, start).fill(CANARY);
  twin.fill(seed, seed % 4 === 0);
  const options = optionsFor(twin.batch, asked);
  const outcome = twin.expected(options);
  const before = copyBytes(xent.memory);
  twin.compare(outcome, () => twin.batch.run(options), options);
  const now = copyBytes(xent.memory);
  if (typeof outcome !== "string")
    for (const [from, to] of outputs(twin, options, end)) now.set(before.subarray(from, to), from);
  const at = firstDifference(before.subarray(start), now.subarray(start));
  if (at !== undefined) throw new Error(`byte ${at} of a batch of ${bytes} was written`);
  // The module's own constants.
  if (firstDifference(before.subarray(0, HEAP_START), now.subarray(0, HEAP_START)) !== undefined)
    throw new Error("they were written");
}

describe.each(variants)("%s", (variant) => {
  test.each([
    ["in the middle of the memory", false],
    ["at the end of the last page", true],
  ])("a batch %s", async (_, atTheEnd) => {
    const given = fc
      .oneof(specs(6, 40), specs(3, 300), specs(40, 5), specs(1, 1500))
      .filter(({ logits, gradient }) => !(gradient === "in-place" && logits?.includes("16")));
    await holds(
      fc.property(given, wishes, fc.nat(), (spec, asked, seed) => {
        using xent = createXentSync({ variant, maxBytes: MAX_PAGES * PAGE });
        assertCanaries(xent, spec, asked, seed, atTheEnd);
      }),
      300,
    );
  });
});
