import { realpath, stat } from "node:fs/promises";
import { isAbsolute, relative, resolve, sep } from "node:path";
import { badData, badFile } from "./failure.ts";

/** The folder of the files. Nothing outside of it is read. */
export class Root {
  readonly #folder: string;

  private constructor(folder: string) {
    this.#folder = folder;
  }

  static async open(folder: string): Promise<Root> {
    const real = await realpath(folder).catch((cause: Error) => {
      throw badFile(`--root: ${folder}`, cause);
    });
    if (!(await stat(real)).isDirectory()) throw badData(`--root: ${folder}: is not a directory`);
    process.chdir(real);
    return new Root(real);
  }

  /** The path of a file with links resolved. Throws if it lies elsewhere, whether or not it exists. */
  async resolve(path: string): Promise<string> {
    // Refuse the path before looking at it, so that a task cannot find out which files exist.
    if (!this.#has(resolve(this.#folder, path))) throw this.#outside(path);
    const real = await realpath(resolve(this.#folder, path)).catch((cause: Error) => {
      throw badFile(path, cause);
    });
    if (!this.#has(real)) throw this.#outside(path);
    return real;
  }

  #has(path: string): boolean {
    const way = relative(this.#folder, path);
    return !(way === ".." || way.startsWith(`..${sep}`) || isAbsolute(way));
  }

  #outside(path: string): Error {
    return badData(`${path}: lies outside of --root`);
  }
}
