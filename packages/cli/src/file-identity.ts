import { fstatSync } from "node:fs";
import { stat } from "node:fs/promises";

/** A file, whatever its name: hard links have the same one. */
export type Identity = string;

export function identityOf({ dev, ino }: { readonly dev: bigint; readonly ino: bigint }): Identity {
  return `${dev}:${ino}`;
}

/** Of what a path leads to, if there is something. */
export async function identityAt(path: string): Promise<Identity | undefined> {
  const stats = await stat(path, { bigint: true }).catch(() => undefined);
  return stats && identityOf(stats);
}

const STREAMS = ["standard input", "standard output", "standard error"];

/** Standard input, output or error, where that is this file. */
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

/** Files that this process replaces, with what names them. */
const replaced = new Map<Identity, string>();

export function willReplace(identity: Identity, what: string): void {
  replaced.set(identity, what);
}

/** What makes it a mistake to read this file: it is written by the same run. */
export function writerOf(identity: Identity): string | undefined {
  const stream = streamAt(identity);
  return replaced.get(identity) ?? (stream === "standard input" ? undefined : stream);
}
