import { randomUUID } from "node:crypto";
import { constants, rmSync, type Stats } from "node:fs";
import { access, type FileHandle, lstat, open, realpath, rename, rm, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { badData, badFile, badUsage, Failure } from "./failure.ts";
import { identityAt, identityOf, streamAt, willReplace } from "./file-identity.ts";

/** What a file is, by its first bytes. */
export interface Kind {
  /** As in "is no file of totals". */
  readonly name: string;
  /** `start`: up to {@link START_BYTES} of it, as latin1. */
  readonly isOne: (start: string) => boolean;
}

/** What a run is asked to write. */
export interface Output {
  /** What names it. */
  readonly option: string;
  readonly path: string;
  /** What it will be: one of these. Nothing else is replaced. */
  readonly kinds: readonly Kind[];
}

const START_BYTES = 256;

/** Of this process, also when they are finished. */
const targets = new Set<string>();
/** What is to be removed when the process ends in the middle. */
const unfinished = new Set<string>();
process.on("exit", () => {
  for (const path of unfinished) rmSync(path, { force: true });
});

/**
 * Throws unless all of these may be written by a run that reads the inputs, before it does anything: none is read, two of them are
 * not one, and what is there is of the kind that takes its place.
 */
export async function assertWritable(outputs: readonly Output[], inputs: readonly string[]): Promise<void> {
  const seen = new Set(targets);
  for (const output of outputs) {
    const { name } = await placeOf(output, inputs, seen);
    seen.add(name);
  }
}

interface Place {
  /** The path without links, also in its folders. */
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
  if (!there.isFile()) throw badData(`${path}: is ${there.isDirectory() ? "a directory" : "no regular file"}`);
  const identity = identityOf(there);
  for (const input of inputs) {
    if ((await identityAt(input)) === identity)
      throw badUsage(`${option}: ${path}: would take the place of a file that is read`);
  }
  const stream = streamAt(identity);
  if (stream !== undefined) throw badUsage(`${option}: ${path}: is ${stream}, too`);
  await assertKind(output, name);
  await access(name, constants.W_OK).catch((cause: Error) => {
    throw badFile(path, cause);
  });
  return { name, there: await stat(name) };
}

/** Throws where something else is there. Of nothing, nothing is lost. */
async function assertKind({ option, path, kinds }: Output, target: string): Promise<void> {
  const start = await startOf(target).catch((cause: Error) => {
    throw badFile(path, cause);
  });
  if (start === "" || kinds.some(({ isOne }) => isOne(start))) return;
  const names = kinds.map(({ name }) => name).join(" or ");
  throw badUsage(`${option}: ${path}: is there, and is no file of ${names}: it is not replaced`);
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

/** A file that appears under its name when it is whole, or not at all. Only a regular file of its kind is replaced. */
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

  /** `inputs`: files that are read, and must stay. */
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

  /** The permissions of the file that is replaced. */
  async #keepMode(there: Stats | undefined): Promise<void> {
    // A file system without modes has none to keep.
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
    // A disk that is full may say so only now. Some file systems cannot be asked.
    await this.#file.sync().catch((error: NodeJS.ErrnoException) => {
      if (!/^(EINVAL|ENOSYS|ENOTSUP|EOPNOTSUPP)$/.test(error.code ?? "")) throw error;
    });
    await this.#file.close();
  }

  /** Something may have come to its place since: only what this run has made is replaced by it. */
  async #replace(): Promise<void> {
    const start = await startOf(this.#partial);
    const there = await stat(this.#target).catch(() => undefined);
    const kinds = this.#output.kinds.filter(({ isOne }) => isOne(start));
    if (there) await assertKind({ ...this.#output, kinds }, this.#target);
    await rename(this.#partial, this.#target);
  }

  /** Leaves nothing behind. Does nothing after {@link finish}. */
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

/** A link stays, and what it leads to is replaced. */
async function targetOf(path: string): Promise<string> {
  if (/[\\/]$/.test(path)) throw badData(`${path}: is a directory`);
  const link = await lstat(path).catch(() => undefined);
  if (link?.isSymbolicLink()) {
    return realpath(path).catch(() => {
      throw badData(`${path}: is a link to nothing`);
    });
  }
  const folder = await realpath(dirname(path)).catch((cause: Error) => {
    throw badFile(path, cause);
  });
  return join(folder, basename(path));
}
