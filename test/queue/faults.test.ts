// Faults of Redis, of its connections and of its clients: each run has the right sum or a clear error, nothing counts twice, and every
// process ends. XENT_FAULTS=20 makes each fault last twenty times longer.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { Redis } from "ioredis";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { collect, forget, QueueError, type ServeOptions, serve } from "xent-queue";
import { npy } from "../support/array-files.ts";
import { xentCommand, xentJson } from "../support/cli.ts";
import { generate } from "../support/golden.ts";
import { freePort } from "../support/port.ts";
import { Detour, killAll, server, startXent, TestRedis } from "../support/redis.ts";

const LONGER = Number(process.env["XENT_FAULTS"] ?? 1);

interface Number {
  readonly x: number;
}
const tasksOf = (count: number) => Array.from({ length: count }, (_, x) => ({ id: `square-${x}`, data: { x } }));
const squares = (count: number): Map<string, number> =>
  new Map(Array.from({ length: count }, (_, x) => [`square-${x}`, x * x]));

/** Workers in this process, whose tasks take some milliseconds. */
function workers(
  url: string,
  name: string,
  count: number,
  milliseconds = 5,
  more: Partial<ServeOptions<Number, number>> = {},
) {
  const ending = new AbortController();
  const { signal } = ending;
  const compute = async ({ x }: Number): Promise<number> => {
    await pause(milliseconds);
    return x * x;
  };
  const all = Array.from({ length: count }, () => serve<Number, number>({ url, name, signal, compute, ...more }));
  return async () => {
    ending.abort();
    await Promise.all(all);
  };
}

describe.skipIf(server === undefined).concurrent("the queue", { timeout: 120_000 * LONGER }, () => {
  const started: (TestRedis | Detour)[] = [];
  const redis = async (...flags: string[]): Promise<TestRedis> => {
    const one = await TestRedis.start(...flags);
    started.push(one);
    return one;
  };
  const detour = async (port: number): Promise<Detour> => {
    const one = await Detour.start(port);
    started.push(one);
    return one;
  };
  const sorted = (results: ReadonlyMap<string, number>) =>
    new Map([...results].sort(([a], [b]) => +a.slice(7) - +b.slice(7)));

  const folder = mkdtempSync(join(tmpdir(), "xent-faults-"));
  const files = Array.from({ length: 6 }, (_, i) => `${i}.npy`);
  const slow = [...files, "--labels", "{path}.i32", "--softcap", "30", "--batch-rows", "20"];
  beforeAll(() => {
    const { logits, labels } = generate({ rows: 4000, classes: 500, seed: 1, bits: 16, shift: 12, boost: 3 });
    for (const [i, file] of files.entries()) {
      writeFileSync(join(folder, file), npy("<f4", [4000, 500], logits));
      writeFileSync(
        join(folder, `${i}.i32`),
        labels.map((label) => (label + i) % 500),
      );
    }
  }, 60_000);
  afterAll(async () => {
    killAll();
    for (const one of started) await one.end();
    rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
  });

  test("2,000 tasks and four workers give each result once", async () => {
    const { url } = await redis();
    const end = workers(url, "many", 4, 0);
    const seen: string[] = [];
    const count = 2000 * LONGER;
    const queue = { url, name: "many", tasks: tasksOf(count) };
    const results = await collect<Number, number>({ ...queue, onResult: (id) => seen.push(id) });
    expect(sorted(results)).toEqual(squares(count));
    expect(new Set(seen).size).toBe(seen.length);
    await forget(queue);
    await end();
  });

  test.each([
    ["which keeps nothing", []],
    ["which keeps everything", ["--appendonly", "yes", "--appendfsync", "always"]],
  ])("Redis, %s, is killed twice in the middle", async (_, flags) => {
    const server = await redis(...flags);
    const end = workers(server.url, "killed", 2, 20);
    let killed = 0;
    const kill = async (): Promise<void> => {
      await server.kill();
      await pause(500 * LONGER);
      await server.start();
    };
    let killing: Promise<void> | undefined;
    const results = await collect<Number, number>({
      ...{ url: server.url, name: "killed", tasks: tasksOf(150) },
      onResult: () => {
        killed++;
        if (killed === 20 || killed === 80) killing = kill();
      },
    });
    await killing;
    expect(sorted(results)).toEqual(squares(150));
    await end();
  });

  test("Redis has no memory left: the run fails with one error, and continues once there is memory", async () => {
    const { url, port } = await redis();
    const client = new Redis(url);
    const troubles = new Set<string>();
    const end = workers(url, "full", 1, 100, { onTrouble: ({ message }) => troubles.add(message) });
    const queue = { url, name: "full", tasks: tasksOf(30) };
    await client.config("SET", "maxmemory", "1");
    const message = `the Redis at redis://127.0.0.1:${port} fails: OOM command not allowed`;
    await expect(collect(queue)).rejects.toThrow(message);
    // In the middle of the run, when some results are written.
    await client.config("SET", "maxmemory", "0");
    let count = 0;
    const first = collect<Number, number>({
      ...queue,
      onResult: () => void (++count === 5 && client.config("SET", "maxmemory", "1")),
    });
    await expect(first).rejects.toThrow(message);
    expect([...troubles].join()).toContain("OOM command not allowed");
    expect([...troubles].length).toBeLessThan(20);
    const stderr = xentCommand(["evaluate", ...slow, "--queue", url], { cwd: folder }).stderr;
    expect(stderr).toMatch(/^xent: the Redis at [^\n]* fails: OOM command not allowed[^\n]*\n$/);
    await client.config("SET", "maxmemory", "0");
    expect(sorted(await collect<Number, number>(queue))).toEqual(squares(30));
    client.disconnect();
    await end();
  });

  test("Redis evicts random keys for a while", async () => {
    const { url } = await redis("--maxmemory-policy", "allkeys-random");
    const client = new Redis(url);
    const end = workers(url, "evicted", 2, 20);
    const evicting = (async () => {
      for (let i = 0; i < 30 * LONGER; i++) {
        await pause(100);
        const key = await client.randomkey();
        if (key !== null) await client.del(key);
      }
    })();
    const results = await collect<Number, number>({ url, name: "evicted", tasks: tasksOf(150) });
    await evicting;
    expect(sorted(results)).toEqual(squares(150));
    client.disconnect();
    await end();
  });

  test("all of Redis is flushed in the middle", async () => {
    const { url } = await redis();
    const client = new Redis(url);
    const end = workers(url, "flushed", 2, 20);
    let count = 0;
    const onResult = (): void => void (++count % 40 === 0 && client.flushall());
    expect(sorted(await collect<Number, number>({ url, name: "flushed", tasks: tasksOf(100), onResult }))).toEqual(
      squares(100),
    );
    client.disconnect();
    await end();
  });

  test("Redis answers after 3 s", async () => {
    const way = await detour((await redis()).port);
    way.delay = 1500;
    const end = workers(way.url, "away", 2);
    const results = await collect<Number, number>({ url: way.url, name: "away", tasks: tasksOf(4) });
    expect(sorted(results)).toEqual(squares(4));
    await end();
  });

  test("connections are cut at random", async () => {
    const way = await detour((await redis()).port);
    const end = workers(way.url, "cut", 3, 10);
    let [count, isCutting] = [0, true];
    const cutting = (async () => {
      // All workers must be connected: one without a connection would end with an error.
      while (count < 10) await pause(10);
      for (let i = 0; i < 40 * LONGER && isCutting; i++) {
        await pause(100);
        way.cut(0.3);
      }
    })();
    const onResult = (): void => void count++;
    const results = await collect<Number, number>({ url: way.url, name: "cut", tasks: tasksOf(300), onResult });
    isCutting = false;
    await cutting;
    expect(sorted(results)).toEqual(squares(300));
    await end();
  });

  test("three clients ask for the same tasks at the same time", async () => {
    const { url } = await redis();
    const end = workers(url, "both", 2, 5);
    const queue = { url, name: "both", tasks: tasksOf(100) };
    const one = async (): Promise<ReadonlyMap<string, number>> => {
      const results = await collect<Number, number>(queue);
      await forget(queue);
      return results;
    };
    for (const results of await Promise.all([one(), one(), one()])) expect(sorted(results)).toEqual(squares(100));
    await end();
  });

  test("a worker is stopped in the middle of a file, and continued after another one has computed it", async () => {
    const { url } = await redis();
    const client = new Redis(url);
    const local = xentJson<{ sum: number; rows: number }>(["evaluate", ...slow], { cwd: folder });
    const first = startXent(folder, "work", "--queue", url, "--threads", "1");
    const asking = startXent(folder, "evaluate", ...slow, "--queue", url, "--json");
    while ((await client.llen("bull:xent:active")) === 0) await pause(5);
    first.child.kill("SIGSTOP");
    const second = startXent(folder, "work", "--queue", url, "--threads", "1");
    const { status, stdout } = await asking.ended;
    expect(status).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ sum: local.sum, rows: local.rows });
    first.child.kill("SIGCONT");
    // Its answer is too late, and has no effect.
    const again = startXent(folder, "evaluate", ...slow, "--queue", url, "--json");
    expect(JSON.parse((await again.ended).stdout)).toMatchObject({ sum: local.sum, rows: local.rows });
    for (const { child, ended } of [first, second]) {
      child.kill("SIGTERM");
      const { status, stderr } = await ended;
      expect(status).toBe(143);
      expect(stderr).not.toMatch(/^\s*at /m);
    }
    client.disconnect();
  });

  test("Redis is gone for good: every process ends when it is interrupted", async () => {
    const server = await redis();
    const asking = startXent(folder, "evaluate", ...slow, "--queue", server.url, "--queue-name", "nobody");
    const working = startXent(folder, "work", "--queue", server.url);
    // This worker gets the two connections that look for Redis, and no others.
    const way = await detour(server.port);
    way.left = 2;
    const between = startXent(folder, "work", "--queue", way.url);
    const client = new Redis(server.url);
    const connections = async () => (await client.client("LIST")) as string;
    // BullMQ's name for a worker.
    while (!(await connections()).includes("name=bull:eGVudA==")) await pause(20);
    while ((await client.llen("bull:nobody:wait")) === 0 || way.left > -2) await pause(20);
    client.disconnect();
    await server.kill();
    for (const { child } of [asking, working, between]) child.kill("SIGINT");
    for (const { ended } of [asking, working, between]) {
      const { status, stderr } = await ended;
      expect({ status, trace: /^\s*at /m.test(stderr) }).toEqual({ status: 130, trace: false });
    }
  });

  test("something else is at the port, or nothing answers", async () => {
    const url = `redis://127.0.0.1:${await freePort()}`;
    await expect(collect({ url, name: "x", tasks: tasksOf(1) })).rejects.toThrow(QueueError);
    const way = await detour(await freePort());
    await expect(
      serve({ url: way.url, name: "x", compute: async () => 1, signal: AbortSignal.abort() }),
    ).rejects.toThrow(/^there is no Redis at /);
  });
});
