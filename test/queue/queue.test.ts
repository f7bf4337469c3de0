// Shards of the rows on a queue in Redis, while its processes die: the result is that of a local run, to the bit.
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { Redis } from "ioredis";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { collect, forget, serve } from "xent-queue";
import { KEEP } from "../../scripts/redis.mjs";
import { npy } from "../support/array-files.ts";
import { blocksRunBy } from "../support/blocks.ts";
import { binary, xentCommand, xentJson, xentProcess } from "../support/cli.ts";
import { generate } from "../support/golden.ts";
import { freePort } from "../support/port.ts";
import { killAll, server, startXent, TestRedis } from "../support/redis.ts";

interface Evaluation {
  sum: number;
  mean: number;
  counted: number;
  correct: number;
  rows: number;
  shards: number;
  threads?: number;
  standardError: number;
  topK: object;
  calibration: object;
  files: object;
}

if (server === undefined) console.warn("there is no redis-server: the tests of the queue are skipped");

describe("without a Redis", () => {
  const args = ["evaluate", "--logits", "a.npy", "--labels", "b.npy", "--queue"];
  test("the error is one line", async () => {
    const url = `redis://:secret@127.0.0.1:${await freePort()}`;
    const { status, stderr } = xentProcess([...args, url]);
    expect({ status, stderr }).toEqual({
      status: 1,
      stderr: `xent: there is no Redis at redis://${url.slice(16)}: connect ECONNREFUSED ${url.slice(16)}\n`,
    });
    expect(xentProcess(["work", "--queue", url]).status).toBe(1);
  });

  test.each([
    "redis://u:secr/et@127.0.0.1:1",
    "redis://u:12/secret@127.0.0.1:1",
    "redis://u:12?secret@127.0.0.1:1",
    "redis://u:12#secret@127.0.0.1:1",
    "redis://me:pass@word:secret@:1?password=secret",
    "http://u:secret@localhost",
    "secret",
    "",
  ])("the error quotes no part of an invalid address: %s", (url) => {
    for (const command of [
      [...args, url],
      ["work", "--queue", url],
    ]) {
      const { status, stdout, stderr } = xentCommand(command);
      expect({ status, stdout }).toEqual({ status: 1, stdout: "" });
      expect(stderr).toBe(
        "xent: expected a URL like redis://127.0.0.1:6379, in which the characters / ? # of a password are written as %2F %3F %23\n",
      );
    }
  });

  test.each(["redis://u:a:b@", "redis://:p@ss@", "redis://u:a%2Fb@", "rediss://"])(
    "the error names only protocol and host of %s…",
    async (user) => {
      const host = `127.0.0.1:${await freePort()}`;
      const { stderr } = xentCommand([...args, `${user}${host}/2?password=secret`]);
      expect(stderr).toBe(`xent: there is no Redis at ${user.split("/")[0]}//${host}: connect ECONNREFUSED ${host}\n`);
    },
  );

  test("the error quotes no address in a wrong place", () => {
    const url = "redis://u:secret word@127.0.0.1:1";
    for (const command of [[url], ["evaluate", url, "--labels", "{path}.txt"], ["work", `--queu=${url}`]]) {
      const { status, stderr } = xentCommand(command);
      expect(status).toBe(2);
      expect(stderr).toMatch(/^xent: /);
      expect(stderr).not.toContain("secret");
    }
  });

  test("the address may be in the environment, which other users can not read", async () => {
    const host = `127.0.0.1:${await freePort()}`;
    const env = { XENT_QUEUE: `redis://:secret@${host}` };
    const expected = {
      status: 1,
      stderr: `xent: there is no Redis at redis://${host}: connect ECONNREFUSED ${host}\n`,
    };
    expect(xentCommand(args, { env })).toMatchObject(expected);
    expect(xentCommand(["work"], { env })).toMatchObject(expected);
    const missing = "xent: --queue: expected redis://host:port, or the environment variable XENT_QUEUE\n";
    expect(xentCommand(args).stderr).toBe(missing);
    expect(xentCommand(["work"])).toMatchObject({ status: 2, stderr: missing });
  });
});

describe.skipIf(server === undefined)("a queue", () => {
  const folder = mkdtempSync(join(tmpdir(), "xent-queue-"));
  let redis: TestRedis;
  let url = "";

  async function kill(child: ChildProcess): Promise<void> {
    const gone = once(child, "exit");
    child.kill("SIGKILL");
    await gone;
  }

  /** A command that keeps running. */
  const start = (...args: string[]) => startXent(folder, ...args);

  const files = Array.from({ length: 100 }, (_, i) => join("logits", `${i}.npy`));
  // Slow enough to be killed in the middle.
  const asked = ["--top-k", "1,5", "--calibration", "--group", "sequence"];
  const flags = ["--labels", "labels/{name}.npy", "--softcap", "30", "--ignore-index", "3", ...asked];
  let local: Evaluation;

  beforeAll(async () => {
    for (const name of ["logits", "labels"]) mkdirSync(join(folder, name));
    for (const [i, file] of files.entries()) {
      const rows = 100 + i;
      const spec = { rows, classes: 1500, seed: i, bits: 16, shift: 12, boost: i % 7 };
      const { logits, labels } = generate(spec);
      writeFileSync(join(folder, file), npy("<f4", [rows, 1500], logits));
      writeFileSync(join(folder, "labels", `${i}.npy`), npy("<i4", [rows], labels));
    }
    redis = await TestRedis.start(...KEEP);
    url = redis.url;
    local = xentJson<Evaluation>(["evaluate", ...files, ...flags], { cwd: folder });
  }, 60_000);

  afterAll(async () => {
    killAll();
    await redis?.end();
    rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
  });

  /** The number of the last connection that is open. */
  async function newestConnection(client: Redis): Promise<number> {
    const list = String(await client.client("LIST"));
    return Math.max(...Array.from(list.matchAll(/^id=(\d+)/gm), ([, id]) => Number(id)));
  }

  /** The results, which do not depend on the machine. */
  const numbers = (evaluation: Evaluation) => {
    const { sum, mean, counted, correct, rows, shards, standardError, topK, calibration, files } = evaluation;
    return { sum, mean, counted, correct, rows, shards, standardError, topK, calibration, files };
  };

  test("gives the result of a local run after a worker, the coordinator and Redis were killed", async () => {
    const evaluating = ["evaluate", ...files, ...flags, "--queue", url, "--json"];
    const [one, two] = [start("work", "--queue", url), start("work", "--queue", url, "--threads", "1")];
    const first = start(...evaluating);
    // A worker that is slow to start must find tasks, so each one stops when it has had enough.
    const stopped = [[one, 12] as const, [two, 2] as const].map(async ([worker, tasks]) => {
      await worker.printed(tasks);
      worker.child.kill("SIGSTOP");
    });
    await Promise.all(stopped);
    await kill(one.child);
    await kill(first.child);
    const before = two.lines.length;
    const client = new Redis(url);
    const connected = await newestConnection(client);
    const second = start(...evaluating);
    // A command that finds no Redis when it starts ends. It tries with a connection of its own first.
    while ((await newestConnection(client)) < connected + 2) await pause(20);
    client.disconnect();
    two.child.kill("SIGCONT");
    await two.printed(before + 5);
    await redis.kill();
    await redis.start();
    // One more worker, so that one is idle when the task of the killed worker is free.
    const three = start("work", "--queue", url);
    const { status, stdout, stderr } = await second.ended;
    expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
    const result = JSON.parse(stdout) as Evaluation;
    expect(numbers(result)).toEqual(numbers(local));
    expect(result.threads).toBeUndefined();
    const computed = [one, two, three].flatMap(({ lines }) => lines.filter((line) => line.includes(" rows, ")));
    // Tasks that were in progress at a kill are computed twice and counted once. The others are computed once.
    expect(computed.length).toBeGreaterThanOrEqual(files.length);
    expect(computed.length).toBeLessThan(files.length + 12);
    for (const { child, ended } of [two, three]) {
      child.kill("SIGINT");
      expect((await ended).status).toBe(130);
    }
  }, 120_000);

  test("tells that it waits for a worker, and continues when there is one", async () => {
    const args = ["evaluate", ...files.slice(3, 5), ...flags, "--queue", url, "--queue-name", "lonely"];
    const asking = start(...args);
    await asking.printed(1);
    expect(asking.lines).toEqual(["xent: no worker has begun yet: waiting for xent work at lonely"]);
    const worker = start("work", "--queue", url, "--queue-name", "lonely");
    const { status, stderr } = await asking.ended;
    expect(stderr).toBe(asking.lines[0]);
    expect(status).toBe(0);
    worker.child.kill("SIGTERM");
    await worker.ended;
  }, 60_000);

  test("reports an invalid file at once, and computes it again after it was corrected", async () => {
    const worker = start("work", "--queue", url);
    const bad = join(folder, "labels", "0.npy");
    const args = ["evaluate", files[0] as string, files[1] as string, "--labels", "labels/{name}.npy", "--queue", url];
    const good = npy("<i4", [100], new Int32Array(100));
    writeFileSync(bad, npy("<i4", [100], new Int32Array(100).fill(1500)));
    const { status, stderr } = xentCommand(args, { cwd: folder });
    expect({ status, stderr }).toEqual({
      status: 1,
      stderr: "xent: labels/0.npy: row 0 has label 1500, which is outside of the range [0, 1500)\n",
    });
    writeFileSync(bad, good);
    const again = xentJson<Evaluation>(args, { cwd: folder });
    expect(numbers(again)).toEqual(numbers(xentJson<Evaluation>(args.slice(0, -2), { cwd: folder })));
    worker.child.kill("SIGTERM");
    expect((await worker.ended).status).toBe(143);
  }, 60_000);

  test("continues after it was interrupted", async () => {
    const args = ["evaluate", ...files.slice(0, 10), ...flags, "--queue", url, "--queue-name", "other"];
    const first = start(...args);
    const client = new Redis(url);
    while ((await client.llen("bull:other:wait")) < 10) await pause(20);
    client.disconnect();
    first.child.kill("SIGINT");
    expect(await first.ended).toEqual({ status: 130, stdout: "", stderr: "xent: interrupted" });
    const worker = start("work", "--queue", url, "--queue-name", "other");
    await worker.printed(11);
    const again = xentJson<Evaluation>(args, { cwd: folder });
    expect(again.shards).toBe(10);
    // Nothing was computed for the second run.
    expect(worker.lines.length).toBe(11);
    worker.child.kill("SIGINT");
    await worker.ended;
  }, 60_000);

  test.each(blocksRunBy("queue"))("runs the program at $file:$line", async ({ code }) => {
    const program = code.replace("redis://127.0.0.1:6379", url);
    expect(program).not.toBe(code);
    const child = spawn(process.execPath, ["--input-type=module", "--eval", program], { cwd: dirname(binary) });
    let stdout = "";
    child.stdout.on("data", (chunk) => {
      stdout += chunk;
    });
    expect((await once(child, "exit"))[0]).toBe(0);
    expect(stdout).toBe(`${/console\.log\(.*\); \/\/ (.*)$/m.exec(code)?.[1]}\n`);
  });

  describe("of other tasks", () => {
    const tasks = Array.from({ length: 20 }, (_, i) => ({ id: `task-${i}`, data: { i } }));

    test("gives one result for each, and keeps them until they are forgotten", async () => {
      const name = "squares";
      const ending = new AbortController();
      let computed = 0;
      const serving = serve<{ i: number }, number>({
        ...{ url, name, signal: ending.signal },
        compute: async ({ i }, { progress }) => {
          computed++;
          progress({ done: 0.5 });
          if (i === 3 && computed < 10) throw new Error("not yet");
          return i * i;
        },
      });
      const seen: string[] = [];
      const queue = { url, name, tasks };
      const results = await collect<{ i: number }, number>({ ...queue, onResult: (id) => seen.push(id) });
      expect([...results.values()].sort((a, b) => a - b)).toEqual(tasks.map(({ data }) => data.i ** 2));
      expect(results.get("task-7")).toBe(49);
      expect(seen.sort()).toEqual(tasks.map(({ id }) => id).sort());
      const before = computed;
      expect(await collect(queue)).toEqual(results);
      expect(computed).toBe(before);
      await forget(queue);
      await collect(queue);
      expect(computed).toBeGreaterThanOrEqual(before + tasks.length - 1);
      await forget(queue);
      ending.abort();
      await serving;
    }, 30_000);

    test("rejects with the error of a task that fails each time", async () => {
      const name = "failing";
      const ending = new AbortController();
      let tried = 0;
      const compute = async (): Promise<never> => {
        tried++;
        throw new Error("out of luck");
      };
      const serving = serve({ url, name, signal: ending.signal, compute });
      const queue = { url, name, tasks: tasks.slice(0, 1), attempts: 2 };
      await expect(collect(queue)).rejects.toThrow("out of luck");
      expect(tried).toBe(2);
      ending.abort();
      await serving;
    }, 30_000);
  });
});
