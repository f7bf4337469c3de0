import { randomUUID } from "node:crypto";
import { constants, rmSync, type Stats } from "node:fs";
import { access, type FileHandle, lstat, open, realpath, rename, rm, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { badData, badFile, badUsage, Failure } from "./failure.ts";
import { identityAt, identityOf, streamAt, willReplace } from "./file-identity.ts";

/** A kind of file, recognised by its first bytes. */
export interface Kind {
  /** What messages call it, with an article: "a file of totals". */
  readonly name: string;
  /** `start`: the first {@link START_BYTES} of the file at most, as latin1. */
  readonly isOne: (start: string) => boolean;
}

/** A file that a run is to write. */
export interface Output {
  /** The option that names it. */
  readonly option: string;
  readonly path: string;
  /** The kinds that it may be written as. A file of another kind is not replaced. */
  readonly kinds: readonly Kind[];
}

const START_BYTES = 256;

/** All outputs of this process, also finished ones. */
const targets = new Set<string>();
/** Files to remove if the process ends before they are finished. */
const unfinished = new Set<string>();
process.on("exit", () => {
  for (const path of unfinished) rmSync(path, { force: true });
});

/**
 * Throws unless a run may write all of these, before it does anything: no output is an input, no two outputs are the same file, and
 * a file that exists has the kind that replaces it.
 */
export async function assertWritable(outputs: readonly Output[], inputs: readonly string[]): Promise<void> {
  const seen = new Set(targets);
  for (const output of outputs) {
    const { name } = await placeOf(output, inputs, seen);
    seen.add(name);
  }
}

interface Place {
  /** The path with all links resolved. */
  readonly name: string;
  readonly there: Stats | undefined;
}

async function placeOf(output: Output, inputs: readonly string[], written: ReadonlySet<string>): Promise<Place> {
  const { option, path } = output;
  const name = await targetOf(path);
  if (written.has(name)) throw badUsage(`${option}: ${path}: is written by another option, too`);
  const there = await stat(name, { bigint: true }).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return undefined;
    throw badFile(path, error);
  });
  if (there === undefined) return { name, there };
  if (!there.isFile()) throw badData(`${path}: is ${there.isDirectory() ? "a directory" : "not a regular file"}`);
  const identity = identityOf(there);
  for (const input of inputs) {
    if ((await identityAt(input)) === identity) throw badUsage(`${option}: ${path}: would overwrite an input file`);
  }
  const stream = streamAt(identity);
  if (stream !== undefined) throw badUsage(`${option}: ${path}: is ${stream}, too`);
  await assertKind(output, name);
  await access(name, constants.W_OK).catch((cause: Error) => {
    throw badFile(path, cause);
  });
  return { name, there: await stat(name) };
}

/** Throws if a file of another kind exists. An empty file may be replaced. */
async function assertKind({ option, path, kinds }: Output, target: string): Promise<void> {
  const start = await startOf(target).catch((cause: Error) => {
    throw badFile(path, cause);
  });
  if (start === "" || kinds.some(({ isOne }) => isOne(start))) return;
  const names = kinds.map(({ name }) => name).join(" or ");
  throw badUsage(`${option}: ${path}: exists and is not ${names}: not replaced`);
}

async function startOf(path: string): Promise<string> {
  const file = await open(path, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0));
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(START_BYTES), 0, START_BYTES, 0);
    return buffer.toString("latin1", 0, bytesRead);
  } finally {
    await file.close();
  }
}

/** A file that appears under its name only when it is complete. It replaces only a regular file of its own kind. */
export class OutputFile {
  readonly path: string;
  readonly #output: Output;
  readonly #target: string;
  readonly #partial: string;
  readonly #file: FileHandle;

  private constructor(output: Output, target: string, partial: string, file: FileHandle) {
    this.path = output.path;
    this.#output = output;
    this.#target = target;
    this.#partial = partial;
    this.#file = file;
  }

  /** `inputs`: files that are read, and must not be replaced. */
  static async open(output: Output, inputs: readonly string[]): Promise<OutputFile> {
    const { option, path } = output;
    const { name, there } = await placeOf(output, inputs, targets);
    const partial = `${name}.${randomUUID().slice(0, 8)}.partial`;
    const file = await open(partial, "wx").catch((cause: Error) => {
      throw badFile(path, cause);
    });
    unfinished.add(partial);
    targets.add(name);
    const identity = await identityAt(name);
    if (identity !== undefined) willReplace(identity, `${option}: ${path}`);
    const opened = new OutputFile(output, name, partial, file);
    await opened.#keepMode(there);
    return opened;
  }

  /** Takes over the permissions of the file that it replaces. */
  async #keepMode(there: Stats | undefined): Promise<void> {
    // Some file systems have no permissions.
    if (there) await this.#file.chmod(there.mode & 0o777).catch(() => {});
  }

  async write(content: string | Uint8Array): Promise<void> {
    await this.#orDiscard(this.#file.writeFile(content));
  }

  async finish(): Promise<void> {
    await this.#orDiscard(this.#toDisk());
    await this.#orDiscard(this.#replace());
    unfinished.delete(this.#partial);
  }

  async #toDisk(): Promise<void> {
    // A full disk may be reported only here. Some file systems do not support sync.
    await this.#file.sync().catch((error: NodeJS.ErrnoException) => {
      if (!/^(EINVAL|ENOSYS|ENOTSUP|EOPNOTSUPP)$/.test(error.code ?? "")) throw error;
    });
    await this.#file.close();
  }

  /** Checks again before it replaces: another file may have appeared under the name since. */
  async #replace(): Promise<void> {
    const start = await startOf(this.#partial);
    const there = await stat(this.#target).catch(() => undefined);
    const kinds = this.#output.kinds.filter(({ isOne }) => isOne(start));
    if (there) await assertKind({ ...this.#output, kinds }, this.#target);
    await rename(this.#partial, this.#target);
  }

  /** Removes the unfinished file. Does nothing after {@link finish}. */
  async discard(): Promise<void> {
    if (!unfinished.delete(this.#partial)) return;
    await this.#file.close().catch(() => {});
    await rm(this.#partial, { force: true });
  }

  async #orDiscard(done: Promise<void>): Promise<void> {
    try {
      await done;
    } catch (cause) {
      await this.discard();
      throw cause instanceof Failure ? cause : badFile(this.path, cause as Error);
    }
  }
}

/** The file to replace: of a link, the file that it leads to. */
async function targetOf(path: string): Promise<string> {
  if (/[\\/]$/.test(path)) throw badData(`${path}: is a directory`);
  const link = await lstat(path).catch(() => undefined);
  if (link?.isSymbolicLink()) {
    return realpath(path).catch(() => {
      throw badData(`${path}: is a broken link`);
    });
  }
  const folder = await realpath(dirname(path)).catch((cause: Error) => {
    throw badFile(path, cause);
  });
  return join(folder, basename(path));
}
