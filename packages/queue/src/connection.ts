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
