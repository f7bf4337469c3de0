import { randomUUID } from "node:crypto";
import { rmSync, type Stats } from "node:fs";
import { type FileHandle, lstat, open, realpath, rename, rm, stat } from "node:fs/promises";
import { resolve } from "node:path";
import { badData, badFile, badUsage } from "./failure.ts";

/** Of this process, also when they are finished. */
const targets = new Set<string>();
/** What is to be removed when the process ends in the middle. */
const unfinished = new Set<string>();
process.on("exit", () => {
  for (const path of unfinished) rmSync(path, { force: true });
});

/** A file that appears under its name when it is whole, or not at all. Only a regular file is replaced. */
export class OutputFile {
  readonly path: string;
  readonly #target: string;
  readonly #partial: string;
  readonly #file: FileHandle;

  private constructor(path: string, target: string, partial: string, file: FileHandle) {
    this.path = path;
    this.#target = target;
    this.#partial = partial;
    this.#file = file;
  }

  /** `option`: what names it. `inputs`: files that are read, and must stay. */
  static async open(option: string, path: string, inputs: readonly string[]): Promise<OutputFile> {
    const target = await targetOf(path);
    const there = await stat(target).catch(() => undefined);
    if (there && !there.isFile())
      throw badData(`${path}: is ${there.isDirectory() ? "a directory" : "no regular file"}`);
    const read = await Promise.all(inputs.map((input) => stat(input).catch(() => undefined)));
    if (there && read.some((input) => input?.ino === there.ino && input.dev === there.dev)) {
      throw badUsage(`${option}: ${path}: would take the place of a file that is read`);
    }
    if (targets.has(resolve(target))) throw badUsage(`${option}: ${path}: is written by another option, too`);
    const partial = `${target}.${randomUUID().slice(0, 8)}.partial`;
    const file = await open(partial, "wx").catch((cause: Error) => {
      throw badFile(path, cause);
    });
    unfinished.add(partial);
    targets.add(resolve(target));
    const output = new OutputFile(path, target, partial, file);
    await output.#keepMode(there);
    return output;
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
    // A disk that is full may say so only now. Some file systems cannot be asked.
    await this.#orDiscard(
      this.#file.sync().catch((error: NodeJS.ErrnoException) => {
        if (!/^(EINVAL|ENOSYS|ENOTSUP|EOPNOTSUPP)$/.test(error.code ?? "")) throw error;
      }),
    );
    await this.#file.close();
    await this.#orDiscard(rename(this.#partial, this.#target));
    unfinished.delete(this.#partial);
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
      throw badFile(this.path, cause as Error);
    }
  }
}

/** A link stays, and what it leads to is replaced. */
async function targetOf(path: string): Promise<string> {
  const link = await lstat(path).catch(() => undefined);
  if (!link?.isSymbolicLink()) return path;
  return realpath(path).catch(() => {
    throw badData(`${path}: is a link to nothing`);
  });
}
