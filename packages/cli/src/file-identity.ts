import { fstatSync } from "node:fs";
import { stat } from "node:fs/promises";

/** Identifies a file whatever its name: hard links have the same identity. */
export type Identity = string;

export function identityOf({ dev, ino }: { readonly dev: bigint; readonly ino: bigint }): Identity {
  return `${dev}:${ino}`;
}

/** The identity of the file that a path leads to, if it exists. */
export async function identityAt(path: string): Promise<Identity | undefined> {
  const stats = await stat(path, { bigint: true }).catch(() => undefined);
  return stats && identityOf(stats);
}

const STREAMS = ["standard input", "standard output", "standard error"];

/** "standard input", "output" or "error", if that stream is this file. */
export function streamAt(identity: Identity): string | undefined {
  return STREAMS.find((_, descriptor) => {
    try {
      const stats = fstatSync(descriptor, { bigint: true });
      return stats.isFile() && identityOf(stats) === identity;
    } catch {
      return false; // It is closed.
    }
  });
}

/** Files that this process replaces, with the option that names each. */
const replaced = new Map<Identity, string>();

export function willReplace(identity: Identity, what: string): void {
  replaced.set(identity, what);
}

/** What writes this file in the same run, which makes reading it a mistake. */
export function writerOf(identity: Identity): string | undefined {
  const stream = streamAt(identity);
  return replaced.get(identity) ?? (stream === "standard input" ? undefined : stream);
}
