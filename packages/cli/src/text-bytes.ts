import { stat } from "node:fs/promises";
import { badData, badFile, badUsage } from "./failure.ts";
import { assertEach, type FilePair, fileBeside } from "./files.ts";
import { pathOf } from "./standard-input.ts";

/** Bytes of the evaluated text: a number, or the size of its files, which are named like files of labels. */
export async function textBytes(spec: string, all: readonly FilePair[]): Promise<number> {
  if (/^\d+$/.test(spec)) {
    const bytes = Number(spec);
    if (!(Number.isSafeInteger(bytes) && bytes >= 1)) throw badUsage(`--bytes: ${spec}: expected an integer >= 1`);
    return bytes;
  }
  assertEach("--bytes", spec, all.length);
  let bytes = 0;
  for (const { logits } of all) {
    const path = fileBeside(logits, spec);
    const found = await stat(pathOf(path)).catch((cause: Error) => {
      throw badFile(path, cause);
    });
    if (!found.isFile()) throw badData(`${path}: is not a regular file`);
    bytes += found.size;
  }
  if (bytes === 0) throw badData(`${spec}: is empty: there are no bytes of text`);
  return bytes;
}
