import { openFile } from "./bytes.ts";

/** More characters than a number has. */
const LONGEST = 1000;

/** The words of a text file, whatever white space is between them, a few thousand at a time. */
export async function* wordsOf(path: string): AsyncGenerator<string[]> {
  let rest = "";
  const { file } = await openFile(path);
  for await (const chunk of file.createReadStream({ encoding: "utf8" })) {
    const words = (rest + chunk).split(/\s+/);
    rest = words.pop() ?? "";
    yield words.filter((word) => word !== "");
    // What is no text may have no white space at all.
    if (rest.length > LONGEST) break;
  }
  if (rest !== "") yield [rest];
}
