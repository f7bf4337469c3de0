// Mutated files, tasks and answers: each is read correctly or refused, in bounded time and memory, and no handle stays open.
// npm run search -- files -- --minutes 60 runs longer, with another seed.
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { corpusOf, keep, outcomeOf, type Target, targets } from "../support/file-fuzzer.ts";
import { mutate, randomOf } from "../support/mutate.ts";

const environment = (name: string, otherwise: number): number => Number(process.env[name] ?? otherwise);
const seed = environment("XENT_SEED", 1);
const cases = environment("XENT_CASES", 400);
const seconds = environment("XENT_SECONDS", 0);
const isKept = process.env["XENT_KEEP"] !== undefined;

const folder = mkdtempSync(join(tmpdir(), "xent-fuzz-"));
const { all, end } = targets(folder);
const counts = { inputs: 0, read: 0 };
const outcomes = new Set<string>();
afterAll(() => {
  end();
  if (seconds > 0) console.log(`${counts.inputs} inputs, ${counts.read} of them read, ${outcomes.size} outcomes`);
  rmSync(folder, { recursive: true, force: true });
});

const handles = (): number => (process.platform === "linux" ? readdirSync("/proc/self/fd").length : 0);
/** Processor time, which other load does not change. */
const MOST_SECONDS = 5;

async function tried(target: Target, bytes: Uint8Array): Promise<string> {
  const start = process.cpuUsage();
  try {
    const outcome = await outcomeOf(target, bytes);
    counts.inputs++;
    if (outcome === "read") counts.read++;
    outcomes.add(`${target.name}: ${outcome}`);
    if (process.cpuUsage(start).user > 1e6 * MOST_SECONDS) throw new Error("it took too long");
    return outcome;
  } catch (error) {
    const input = Buffer.from(bytes).toString("base64");
    throw new Error(`${target.name}, seed ${seed}: ${input}`, { cause: error });
  }
}

describe.each(all.map((target) => [target.name, target] as const))("%s", (name, target) => {
  const { seeds, mend = (bytes) => bytes } = target;

  test("valid input is read", async () => {
    for (const bytes of seeds) expect(await tried(target, bytes)).toBe("read");
  });

  test("input of the corpus is read correctly, or refused", async () => {
    for (const bytes of corpusOf(name)) await tried(target, bytes);
  });

  test(
    "mutated input is read correctly, or refused",
    async () => {
      const random = randomOf(seed + name.length);
      const pool = [...seeds, ...corpusOf(name)];
      const seen = new Set<string>(["read"]);
      for (const bytes of pool) seen.add(await tried(target, bytes));
      const pick = (): Uint8Array => pool[random(pool.length)] as Uint8Array;
      const [handlesBefore, until] = [handles(), performance.now() + (1000 * seconds) / all.length];
      let memory = 0;
      for (let i = 0; seconds > 0 ? performance.now() < until : i < cases; i++) {
        const mutant = mutate(pick(), pick(), random);
        const bytes = random(5) === 0 ? mutant : mend(mutant, random);
        const outcome = await tried(target, bytes);
        // The engine's own memory settles first.
        if (i === 100) memory = process.memoryUsage().rss;
        if (seen.has(outcome) || bytes.length > 4096) continue;
        seen.add(outcome);
        pool.push(bytes);
        if (isKept) keep(name, bytes);
      }
      expect(handles()).toBeLessThanOrEqual(handlesBefore + 2);
      if (memory > 0) expect((process.memoryUsage().rss - memory) / 2 ** 20).toBeLessThan(150);
      // The inputs reach more than one check.
      expect(seen.size).toBeGreaterThan(2);
    },
    Math.max(60_000, 2000 * seconds),
  );
});
