import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { findRedis, startRedis } from "../../scripts/redis.mjs";
import { binary, type Ended } from "./cli.ts";
import { freePort } from "./port.ts";

export const server: string | undefined = findRedis();

/** A Redis that can be killed, and started again with the data that it has kept. */
export class TestRedis {
  readonly port: number;
  readonly #flags: readonly string[];
  readonly #folder = mkdtempSync(join(tmpdir(), "xent-redis-"));
  #child: ChildProcess | undefined;

  private constructor(port: number, flags: readonly string[]) {
    this.port = port;
    this.#flags = flags;
  }

  /** `flags` of redis-server. Without them it keeps no data. */
  static async start(...flags: string[]): Promise<TestRedis> {
    const redis = new TestRedis(await freePort(), flags);
    await redis.start();
    return redis;
  }

  get url(): string {
    return `redis://127.0.0.1:${this.port}`;
  }

  async start(): Promise<void> {
    const child = startRedis(server as string, this.#folder, this.port, this.#flags, ["ignore", "pipe", "ignore"]);
    this.#child = child;
    for await (const chunk of child.stdout ?? []) if (String(chunk).includes("Ready to accept connections")) break;
    child.stdout?.resume();
  }

  async kill(): Promise<void> {
    if (this.#child === undefined || this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const gone = once(this.#child, "exit");
    this.#child.kill("SIGKILL");
    await gone;
  }

  async end(): Promise<void> {
    await this.kill();
    rmSync(this.#folder, { recursive: true, force: true, maxRetries: 5 });
  }
}

/** A proxy of a Redis that delays, cuts and refuses connections. */
export class Detour {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  /** Delay in milliseconds, in each direction. */
  delay = 0;
  /** The number of connections that are still accepted. */
  left = Number.POSITIVE_INFINITY;

  private constructor(target: number) {
    this.#server = createServer((socket) => {
      if (this.left-- <= 0) {
        socket.destroy();
        return;
      }
      const other = connect(target, "127.0.0.1");
      for (const [from, to] of [
        [socket, other],
        [other, socket],
      ] as const) {
        this.#sockets.add(from);
        from.on("data", (data) => {
          setTimeout(() => void (to.destroyed || to.write(data)), this.delay);
        });
        from.on("close", () => {
          this.#sockets.delete(from);
          to.destroy();
        });
        from.on("error", () => {});
      }
    });
  }

  static async start(target: number): Promise<Detour> {
    const proxy = new Detour(target);
    proxy.#server.listen(0, "127.0.0.1");
    await once(proxy.#server, "listening");
    return proxy;
  }

  get url(): string {
    return `redis://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** Cuts each connection with the probability `part`. */
  cut(part = 1): void {
    for (const socket of [...this.#sockets]) if (Math.random() < part) socket.destroy();
  }

  end(): void {
    this.#server.close();
    this.cut();
  }
}

/** A command that keeps running. */
export interface Running {
  readonly child: ChildProcess;
  readonly ended: Promise<Ended>;
  readonly lines: readonly string[];
  /** Resolves when so many lines were printed to standard error. */
  printed(count: number): Promise<void>;
}

const running = new Set<ChildProcess>();

export function startXent(cwd: string, ...args: string[]): Running {
  const child = spawn(process.execPath, [binary, ...args], { cwd });
  running.add(child);
  const lines: string[] = [];
  const waiting: (() => void)[] = [];
  child.stderr.on("data", (chunk) => {
    lines.push(...String(chunk).trim().split("\n"));
    for (const check of waiting) check();
  });
  let stdout = "";
  child.stdout.on("data", (chunk) => {
    stdout += chunk;
  });
  const ended = once(child, "close").then(([status]): Ended => {
    running.delete(child);
    return { status, stdout, stderr: lines.join("\n") };
  });
  const printed = (count: number): Promise<void> =>
    new Promise((resolve) => {
      const check = (): void => {
        if (lines.length >= count) resolve();
      };
      waiting.push(check);
      check();
    });
  return { child, ended, printed, lines };
}

/** Kills all commands that still run at the end of a suite. */
export function killAll(): void {
  for (const child of running) child.kill("SIGKILL");
}
