import { realpath, stat } from "node:fs/promises";
import { isAbsolute, relative, resolve, sep } from "node:path";
import { badData, badFile } from "./failure.ts";

/** The folder out of which nothing is read. */
export class Root {
  readonly #folder: string;

  private constructor(folder: string) {
    this.#folder = folder;
  }

  static async open(folder: string): Promise<Root> {
    const real = await realpath(folder).catch((cause: Error) => {
      throw badFile(`--root: ${folder}`, cause);
    });
    if (!(await stat(real)).isDirectory()) throw badData(`--root: ${folder}: is no directory`);
    process.chdir(real);
    return new Root(real);
  }

  /** The path of a file, without links. Throws for what lies elsewhere, whether there is something or not. */
  async resolve(path: string): Promise<string> {
    // Without a look at it, or it could be found out what there is.
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
