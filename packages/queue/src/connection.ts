import { Redis } from "ioredis";

/** Redis cannot be reached, or a task has failed for good. */
export class QueueError extends Error {
  override readonly name = "QueueError";
}

/** How BullMQ is to connect: it waits for a Redis that is restarted, as long as that takes. */
export function connectionOf(url: string): { url: string; maxRetriesPerRequest: null } {
  return { url, maxRetriesPerRequest: null };
}

/** Rejects with {@link QueueError} where there is no Redis now: later it is waited for. */
export async function assertReachable(url: string): Promise<void> {
  if (!URL.canParse(url) || !/^rediss?:$/.test(new URL(url).protocol)) {
    throw new QueueError(`expected a URL like redis://127.0.0.1:6379, got ${JSON.stringify(withoutPassword(url))}`);
  }
  const redis = new Redis(url, { lazyConnect: true, connectTimeout: 5000, retryStrategy: () => null });
  let reason: unknown;
  redis.on("error", (error) => {
    reason = error;
  });
  try {
    await redis.connect();
    await redis.ping();
  } catch (error) {
    const { message } = (reason ?? error) as Error;
    throw new QueueError(`there is no Redis at ${withoutPassword(url)}: ${message || "the connection was refused"}`);
  } finally {
    redis.disconnect();
  }
}

function withoutPassword(url: string): string {
  return url.replace(/:[^:@/]*@/, ":***@");
}

/** What holds connections. */
interface Connected {
  close(): Promise<unknown>;
  disconnect(): Promise<unknown>;
}

/** A Redis that is away is not waited for, and keeps no process alive. */
export async function closeAll(connected: readonly Connected[]): Promise<void> {
  const closed = Promise.allSettled(connected.map((one) => one.close()));
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<"late">((resolve) => {
    timer = setTimeout(resolve, 3000, "late");
  });
  const how = await Promise.race([closed, late]);
  clearTimeout(timer);
  if (how === "late") for (const one of connected) void one.disconnect().catch(() => {});
}
