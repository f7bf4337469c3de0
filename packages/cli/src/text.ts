import { createReadStream } from "node:fs";

/** The words of a text file, whatever white space is between them, a few thousand at a time. */
export async function* wordsOf(path: string): AsyncGenerator<string[]> {
  let rest = "";
  for await (const chunk of createReadStream(path, "utf8")) {
    const words = (rest + chunk).split(/\s+/);
    rest = words.pop() ?? "";
    yield words.filter((word) => word !== "");
  }
  if (rest !== "") yield [rest];
}
