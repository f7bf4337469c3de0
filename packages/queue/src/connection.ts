import { Redis } from "ioredis";

/** By this name a task is known from what is left of one when Redis throws away what it likes. */
export const TASK = "task";
/** What a worker answers to such a rest, which is nobody's fault. */
export const LOST = "Redis has lost this task";

/** Redis cannot be reached or refuses to work, a name is none, or a task has failed for good. */
export class QueueError extends Error {
  override readonly name = "QueueError";
}

/** How often it is asked whether it is there, where the connection is cut. */
const ATTEMPTS = 3;
/** So long may a Redis take to answer that is asked whether it is there. */
const ANSWER_MS = 20_000;
/** A connection on which nothing has come for so long, though something should, is given up for a new one. */
const SILENCE_MS = 60_000;
/** So long one attempt to connect may take. */
const CONNECT_MS = 5000;
/** So long an end is waited for. */
const END_MS = 3000;

/**
 * Connections to a Redis that is waited for, as long as that takes, when it goes away. All of them end with {@link end}: in
 * whatever state they are, nothing of them keeps the process alive.
 */
export class Connections {
  readonly #url: string;
  readonly #open = new Set<Redis>();
  readonly #users: { close(): Promise<unknown> }[] = [];
  #ended = false;

  constructor(url: string) {
    this.#url = url;
  }

  /** One for each thing of BullMQ's, which makes more of them by `duplicate`. */
  open(more: object = {}): Redis {
    const redis = new Redis(this.#url, {
      maxRetriesPerRequest: null,
      connectTimeout: CONNECT_MS,
      socketTimeout: SILENCE_MS,
      ...more,
    });
    Object.defineProperty(redis, "duplicate", { configurable: true, value: (other: object) => this.open(other) });
    // Without a listener each failing attempt would be printed.
    redis.on("error", () => {});
    redis.on("end", () => this.#open.delete(redis));
    this.#open.add(redis);
    if (this.#ended) redis.disconnect();
    return redis;
  }

  /** Something that uses a connection, and is closed in peace at the end if that is soon. */
  use<T extends { close(): Promise<unknown> }>(make: (connection: Redis) => T): T {
    const made = make(this.open());
    this.#users.push(made);
    return made;
  }

  async end(): Promise<void> {
    await within(END_MS, Promise.allSettled(this.#users.map((one) => one.close())));
    this.#ended = true;
    for (const redis of this.#open) redis.disconnect();
  }
}

/** Whether it was done in time. */
export async function within(milliseconds: number, work: Promise<unknown>): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<boolean>((resolve) => {
    timer = setTimeout(resolve, milliseconds, false);
  });
  try {
    return await Promise.race([work.then(() => true), late]);
  } finally {
    clearTimeout(timer);
  }
}

/** Rejects with {@link QueueError} where there is no Redis now: later it is waited for. */
export async function assertReachable(url: string): Promise<void> {
  assertUrl(url);
  let reason: unknown;
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    reason = await reasonNotToAnswer(url);
    if (reason === undefined) return;
    // Somebody was there.
    if (!(reason instanceof Error && /closed|ECONNRESET|EPIPE/.test(reason.message))) break;
  }
  const why = reasonOf(reason, "the connection was refused");
  throw new QueueError(`there is no Redis at ${addressOf(url)}: ${why}`);
}

/** What is no such URL may be a password in part, or all of it: none of it is shown. */
function assertUrl(url: string): void {
  const { protocol = "", host = "", pathname = "", search = "", hash = "" } = URL.canParse(url) ? new URL(url) : {};
  // A password with / or ? or # in it ends the host too early, and becomes another part.
  const isOne = /^rediss?:$/.test(protocol) && host !== "" && /^(\/\d*)?$/.test(pathname);
  if (isOne && !search.includes("@") && hash === "") return;
  throw new QueueError(
    "expected a URL like redis://127.0.0.1:6379, in which the characters / ? # of a password are written as %2F %3F %23",
  );
}

async function reasonNotToAnswer(url: string): Promise<unknown> {
  const redis = new Redis(url, { lazyConnect: true, connectTimeout: CONNECT_MS, retryStrategy: () => null });
  let reason: unknown;
  redis.on("error", (error) => {
    reason = error;
  });
  const asked = async (): Promise<void> => {
    await redis.connect();
    await redis.ping();
  };
  try {
    return (await within(ANSWER_MS, asked())) ? undefined : new Error(`no answer within ${ANSWER_MS / 1000} s`);
  } catch (error) {
    return reason ?? error;
  } finally {
    redis.disconnect();
  }
}

/** What Redis, or what asks it, has failed with, as an error of this package. */
export function queueError(url: string, error: unknown): QueueError {
  if (error instanceof QueueError) return error;
  const reason = reasonOf(error, "the connection has ended");
  return new QueueError(`the Redis at ${addressOf(url)} fails: ${reason}`, { cause: error });
}

function reasonOf(error: unknown, otherwise: string): string {
  return (error instanceof Error ? error.message : String(error ?? "")) || otherwise;
}

/** Throws {@link QueueError} for a name that a queue can not have. */
export function assertName(name: string): void {
  if (typeof name !== "string" || name === "" || name.includes(":")) {
    throw new QueueError(`the name of a queue is some text without ":", got ${JSON.stringify(name)}`);
  }
}

/** Protocol and host. */
function addressOf(url: string): string {
  const { protocol, host } = new URL(url);
  return `${protocol}//${host}`;
}
