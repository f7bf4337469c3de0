import { Redis } from "ioredis";

/** The name of every task. A task without it is the remainder of one that Redis has evicted in part. */
export const TASK = "task";
/** The answer of a worker to such a remainder. */
export const LOST = "Redis has lost this task";

/** Redis cannot be reached or refuses commands, a name is invalid, or a task has failed for good. */
export class QueueError extends Error {
  override readonly name = "QueueError";
}

/** The most attempts to reach Redis at the start, if the connection is cut. */
const ATTEMPTS = 3;
/** The longest time for Redis to answer at the start. */
const ANSWER_MS = 20_000;
/** A connection that is silent for this long while an answer is due is replaced. */
const SILENCE_MS = 60_000;
/** The longest time for one attempt to connect. */
const CONNECT_MS = 5000;
/** The longest time to wait for connections to close. */
const END_MS = 3000;

/**
 * Connections to a Redis. When it goes away, they wait until it is back. {@link end} closes all of them; in any state, they do not keep
 * the process alive.
 */
export class Connections {
  readonly #url: string;
  readonly #open = new Set<Redis>();
  readonly #users: { close(): Promise<unknown> }[] = [];
  #ended = false;

  constructor(url: string) {
    this.#url = url;
  }

  /** A connection for an object of BullMQ, which makes more of them with `duplicate`. */
  open(more: object = {}): Redis {
    const redis = new Redis(this.#url, {
      maxRetriesPerRequest: null,
      connectTimeout: CONNECT_MS,
      socketTimeout: SILENCE_MS,
      ...more,
    });
    Object.defineProperty(redis, "duplicate", { configurable: true, value: (other: object) => this.open(other) });
    // Without a listener, each failed attempt would be printed.
    redis.on("error", () => {});
    redis.on("end", () => this.#open.delete(redis));
    this.#open.add(redis);
    if (this.#ended) redis.disconnect();
    return redis;
  }

  /** Adds an object that uses a connection. {@link end} closes it, within the time that it allows. */
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

/** Whether the promise settled in time. */
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

/** Rejects with {@link QueueError} if Redis does not run now. Later, its clients wait for it. */
export async function assertReachable(url: string): Promise<void> {
  assertUrl(url);
  let reason: unknown;
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    reason = await reasonNotToAnswer(url);
    if (reason === undefined) return;
    // A server answered.
    if (!(reason instanceof Error && /closed|ECONNRESET|EPIPE/.test(reason.message))) break;
  }
  const why = reasonOf(reason, "the connection was refused");
  throw new QueueError(`there is no Redis at ${addressOf(url)}: ${why}`);
}

/** Throws if it is not a URL of a Redis. The error does not show it, because any part of it may be a password. */
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

/** An error of Redis or of its client, as a {@link QueueError}. */
export function queueError(url: string, error: unknown): QueueError {
  if (error instanceof QueueError) return error;
  // Redis appends the position in a script of BullMQ, which does not help the user.
  const reason = reasonOf(error, "the connection has ended").replace(/\.? script: .*$/s, "");
  return new QueueError(`the Redis at ${addressOf(url)} fails: ${reason}`, { cause: error });
}

function reasonOf(error: unknown, otherwise: string): string {
  return (error instanceof Error ? error.message : String(error ?? "")) || otherwise;
}

/** Throws {@link QueueError} for a name that a queue cannot have. */
export function assertName(name: string): void {
  if (typeof name !== "string" || name === "" || name.includes(":")) {
    throw new QueueError(`the name of a queue must be a string without ":", got ${JSON.stringify(name)}`);
  }
}

/** Protocol and host. */
function addressOf(url: string): string {
  const { protocol, host } = new URL(url);
  return `${protocol}//${host}`;
}
