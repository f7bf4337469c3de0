import { stat } from "node:fs/promises";
import { badData, badFile, badUsage } from "./failure.ts";
import { assertEach, type FilePair, fileBeside } from "./files.ts";
import { pathOf } from "./standard-input.ts";

/** The evaluated text: its bytes, and the files that have it, which are named like files of labels. */
export interface Text {
  readonly bytes: number;
  readonly files: readonly string[];
}

/** `spec`: a number of bytes, or the name of files. */
export async function textOf(spec: string, all: readonly FilePair[]): Promise<Text> {
  if (/^\d+$/.test(spec)) {
    const bytes = Number(spec);
    if (!(Number.isSafeInteger(bytes) && bytes >= 1)) throw badUsage(`--bytes: ${spec}: expected an integer >= 1`);
    return { bytes, files: [] };
  }
  assertEach("--bytes", spec, all.length);
  let bytes = 0;
  const files = all.map(({ logits }) => fileBeside(logits, spec));
  for (const file of files) {
    const found = await stat(pathOf(file)).catch((cause: Error) => {
      throw badFile(file, cause);
    });
    if (!found.isFile()) throw badData(`${file}: is not a regular file`);
    bytes += found.size;
  }
  if (bytes === 0) throw badData(`${spec}: is empty: there are no bytes of text`);
  return { bytes, files: files.map(pathOf) };
}
