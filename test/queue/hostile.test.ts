// Forged tasks, files and results on a queue: workers keep running, write and quote nothing, and no sum is wrong.
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import { Redis } from "ioredis";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { collect, forget, serve } from "xent-queue";
import { contentOf } from "../../packages/cli/src/content.ts";
import { type TaskData, taskOf } from "../../packages/cli/src/task.ts";
import { npy } from "../support/array-files.ts";
import { xentCommand, xentJson } from "../support/cli.ts";
import { Detour, killAll, type Running, server, startXent, TestRedis } from "../support/redis.ts";

const { signal } = new AbortController();
const squared = (value: unknown): number => {
  if (typeof value !== "number") throw new Error("no number");
  return value;
};

describe.skipIf(server === undefined)("on a queue", () => {
  const folder = mkdtempSync(join(tmpdir(), "xent-queue-hostile-"));
  const here = join(folder, "here");
  const there = join(folder, "there");
  const at = (place: string, name: string): string => join(place, name);
  let redis: TestRedis;
  let worker: Running;

  const logitsOf = (rows: number, shift = 0): Buffer =>
    npy(
      "<f4",
      [rows, 5],
      Float32Array.from({ length: 5 * rows }, (_, i) => ((i + shift) * 7) % 11),
    );
  const labelsOf = (rows: number): string => Array.from({ length: rows }, (_, i) => i % 5).join(" ");

  beforeAll(async () => {
    for (const place of [here, there]) {
      mkdirSync(place);
      writeFileSync(at(place, "0.npy"), logitsOf(50));
      writeFileSync(at(place, "0.txt"), labelsOf(50));
    }
    writeFileSync(join(folder, "secret.txt"), "root:x:0:0:root 1 2");
    symlinkSync("../secret.txt", at(there, "link.txt"));
    redis = await TestRedis.start();
    worker = startXent(there, "work", "--queue", redis.url, "--threads", "1");
    await worker.printed(1);
  }, 60_000);
  afterAll(async () => {
    killAll();
    await redis.end();
    rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
  });

  const evaluate = (...more: string[]) =>
    xentCommand(["evaluate", "0.npy", "--labels", "{path}.txt", "--queue", redis.url, ...more], { cwd: here });

  /** The outcome of a task of these files, with their real identities if they exist here. */
  let asked = 0;
  async function ask(logits: string, labels: string, change: (data: TaskData) => object = (data) => data) {
    const contents = [];
    for (const path of [logits, labels]) {
      contents.push(
        await contentOf(join(there, path), false, signal).catch(() => ({ size: 1, sha256: "0".repeat(64) })),
      );
    }
    const { data } = taskOf({ logits, labels }, { shift: 0, variant: "simd128" }, contents, [], false);
    const tasks = [{ id: `asked-${asked++}`, data: change(data) }];
    return collect({ url: redis.url, name: "xent", tasks, read: (value) => value as { rows: number } });
  }

  test.each<[string, [string, string], (data: TaskData) => object, string]>([
    ["writes", ["0.npy", "0.txt"], (data) => ({ ...data, flags: { ...data.flags, perRow: "stolen.csv" } }), "perRow"],
    ["misspells", ["0.npy", "0.txt"], (data) => ({ ...data, flags: { ...data.flags, temprature: 3 } }), "temprature"],
    [
      "has a shift in quotes",
      ["0.npy", "0.txt"],
      (data) => ({ ...data, flags: { ...data.flags, shift: "0" } }),
      "shift",
    ],
    [
      "has batches of no rows",
      ["0.npy", "0.txt"],
      (data) => ({ ...data, flags: { ...data.flags, batchRows: 0 } }),
      "batchRows",
    ],
    [
      "is of another protocol",
      ["0.npy", "0.txt"],
      (data) => ({ ...data, protocol: 7 }),
      "protocol 7; this xent uses 2",
    ],
    ["reads an absolute path", ["0.npy", "/etc/passwd.txt"], (data) => data, "/etc/passwd.txt: lies outside of --root"],
    ["reads above the root", ["0.npy", "../secret.txt"], (data) => data, "../secret.txt: lies outside of --root"],
    ["reads through a link", ["0.npy", "link.txt"], (data) => data, "link.txt: lies outside of --root"],
    [
      "reads another file",
      ["0.npy", "0.npy"],
      (data) => ({ ...data, contents: [data.contents[0], { size: 9, sha256: "0".repeat(64) }] }),
      "0.npy: differs at",
    ],
    [
      "reads an unknown file",
      ["0.npy", "0.txt"],
      (data) => ({ ...data, contents: [data.contents[0], { ...data.contents[1], sha256: "0".repeat(64) }] }),
      "0.txt: differs at",
    ],
  ])("a task that %s fails at once, and the worker keeps running", async (_, [logits, labels], change, message) => {
    const failure = ask(logits, labels, change).then(
      () => "nothing",
      (error: Error) => error.message,
    );
    expect(await failure).toContain(message);
    expect(await failure).not.toContain("root:x");
    expect(existsSync(at(there, "stolen.csv"))).toBe(false);
    expect(await ask("0.npy", "0.txt")).toMatchObject(
      new Map([[`asked-${asked - 1}`, expect.objectContaining({ rows: 50 })]]),
    );
  });

  test("a worker that has another copy of a file is refused, and named: more rows, or others", () => {
    const local = xentJson<{ sum: number }>(["evaluate", "0.npy", "--labels", "{path}.txt"], { cwd: here });
    expect(JSON.parse(evaluate("--json").stdout).sum).toBe(local.sum);
    const message = (how: string) => ({
      status: 1,
      stdout: "",
      stderr: `xent: 0.npy: differs at ${hostname()}: ${how}\n`,
    });
    writeFileSync(at(here, "0.npy"), logitsOf(55));
    writeFileSync(at(here, "0.txt"), labelsOf(55));
    expect(evaluate()).toEqual(message("1128 bytes instead of 1228"));
    writeFileSync(at(here, "0.npy"), logitsOf(50, 1));
    writeFileSync(at(here, "0.txt"), labelsOf(50));
    expect(evaluate()).toEqual(message("same size, different content"));
    // The result for the first copy is not used for the second one.
    copyFileSync(at(here, "0.npy"), at(there, "0.npy"));
    const other = xentJson<{ sum: number }>(["evaluate", "0.npy", "--labels", "{path}.txt"], { cwd: here });
    expect(other.sum).not.toBe(local.sum);
    expect(JSON.parse(evaluate("--json").stdout).sum).toBe(other.sum);
  });

  test("with --verify, a copy that differs between the blocks of the sample is refused, too", () => {
    const wide = npy("<f4", [100, 5000], new Float32Array(500_000));
    for (const place of [here, there]) {
      writeFileSync(at(place, "wide.npy"), wide);
      writeFileSync(at(place, "wide.txt"), "0 ".repeat(100));
    }
    const at100k = Buffer.from(wide);
    at100k.writeFloatLE(9, 128 + 100_000);
    writeFileSync(at(there, "wide.npy"), at100k);
    const args = ["evaluate", "wide.npy", "--labels", "wide.txt", "--queue", redis.url];
    expect(xentCommand([...args, "--verify"], { cwd: here }).stderr).toBe(
      `xent: wide.npy: differs at ${hostname()}: same size, different content\n`,
    );
  });

  test("an entry in Redis that is no result is removed, and computed again", async () => {
    const queue = { url: redis.url, name: "numbers", tasks: [{ id: "three", data: { x: 3 } }] };
    const ending = new AbortController();
    const answers: unknown[] = [null, "9", { rows: 7 }, 9, null, null, null, null];
    const serving = serve({ ...queue, signal: ending.signal, compute: async () => answers.shift() });
    // Nobody looks at it.
    expect(await collect({ ...queue })).toEqual(new Map([["three", null]]));
    expect(await collect({ ...queue, read: squared })).toEqual(new Map([["three", 9]]));
    expect(answers.length).toBe(4);
    await forget(queue);
    // It never is one.
    await expect(collect({ ...queue, read: squared })).rejects.toThrow("task three had 4 invalid results: no number");
    ending.abort();
    await serving;
  }, 30_000);

  test("a damaged entry in Redis is computed again", async () => {
    const tasks = ["whole", "text", "list", "lost"].map((id) => ({ id, data: { id } }));
    const queue = { url: redis.url, name: "damaged", tasks };
    const client = new Redis(redis.url);
    await client.set("bull:damaged:text", "no hash");
    await client.lpush("bull:damaged:list", "no hash");
    // In no list.
    await client.hset("bull:damaged:lost", { name: "task", data: "{}", opts: "{", timestamp: "x" });
    client.disconnect();
    const ending = new AbortController();
    const serving = serve({ ...queue, signal: ending.signal, compute: async () => 1 });
    expect((await collect({ ...queue, read: squared })).size).toBe(4);
    ending.abort();
    await serving;
  }, 30_000);

  test("an invalid queue name is an error of one line", async () => {
    const stderr = `xent: option '--queue-name <name>' argument 'a:b' is invalid. Expected a name without ":".\n`;
    const bad = ["--queue-name", "a:b"];
    expect(evaluate(...bad)).toEqual({ status: 2, stdout: "", stderr });
    expect(xentCommand(["work", "--queue", redis.url, ...bad])).toEqual({ status: 2, stdout: "", stderr });
    await expect(collect({ url: redis.url, name: "a:b", tasks: [] })).rejects.toThrow(/the name of a queue/);
    const queue = { url: redis.url, name: "x" };
    await expect(collect({ ...queue, tasks: [{ id: "a:b", data: {} }] })).rejects.toThrow(/the id of a task/);
    await expect(collect({ ...queue, tasks: [{ id: "12", data: {} }] })).rejects.toThrow(/the id of a task/);
  });

  test("a finished run is printed even if Redis fails at its end", async () => {
    const detour = await Detour.start(redis.port);
    const client = new Redis(redis.url);
    const queue = { url: redis.url, name: "refusing" };
    const run = startXent(
      here,
      "evaluate",
      "0.npy",
      "--labels",
      "0.txt",
      "--queue",
      detour.url,
      "--queue-name",
      queue.name,
      "--json",
    );
    // It has its connections, and gets no others.
    while ((await client.llen("bull:refusing:wait")) === 0) await new Promise((resolve) => setTimeout(resolve, 20));
    detour.left = 0;
    const other = startXent(there, "work", "--queue", redis.url, "--queue-name", queue.name);
    const { status, stdout, stderr } = await run.ended;
    expect(status).toBe(0);
    expect(JSON.parse(stdout).rows).toBe(50);
    expect(stderr).toMatch(
      /^(?:xent: no worker has begun yet[^\n]*\n)?xent: results are left in Redis: there is no Redis at [^\n]*$/,
    );
    other.child.kill("SIGINT");
    expect((await other.ended).status).toBe(130);
    client.disconnect();
    detour.end();
  }, 60_000);

  test.runIf(process.platform === "linux")(
    "24 failing tasks leak no memory",
    async () => {
      const memory = (): number =>
        Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${worker.child.pid}/status`, "utf8"))?.[1]) / 1024;
      const before = memory();
      writeFileSync(at(there, "bad.txt"), `${labelsOf(49)} 5`);
      const all = Array.from({ length: 24 }, () =>
        expect(ask("0.npy", "bad.txt")).rejects.toThrow("row 49 has label 5"),
      );
      await Promise.all(all);
      expect(memory() - before).toBeLessThan(50);
    },
    60_000,
  );

  test("no worker has printed a stack trace", () => {
    expect(worker.lines.filter((line) => /^\s*at /.test(line))).toEqual([]);
    expect(worker.child.exitCode).toBe(null);
  });
});
