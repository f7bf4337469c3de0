import { openFile } from "./bytes.ts";
import { badData, badFile, Failure } from "./failure.ts";

/** More characters than a number has. */
const LONGEST = 1000;

/** The words of a text file, whatever white space is between them, a few thousand at a time. */
export async function* wordsOf(path: string): AsyncGenerator<string[]> {
  const { file, size } = await openFile(path);
  try {
    if (size === 0) return;
    let rest = "";
    // What /proc has says that it is empty, and may have no end.
    const stream = file.createReadStream({ encoding: "utf8", start: 0, end: size - 1, autoClose: false });
    for await (const chunk of stream) {
      const words = (rest + chunk).split(/\s+/);
      const long = words.findIndex((word) => word.length > LONGEST);
      // What is no text may have no white space at all. The reader may know more to say of it.
      if (long >= 0) {
        yield words.slice(0, long + 1).filter((word) => word !== "");
        throw badData(`${path}: no text of numbers: it has a word of more than ${LONGEST} characters`);
      }
      rest = words.pop() ?? "";
      yield words.filter((word) => word !== "");
    }
    if (stream.bytesRead < size) throw badData(`${path}: truncated: it was cut while it was read`);
    if (rest !== "") yield [rest];
  } catch (error) {
    throw error instanceof Failure ? error : badFile(path, error as Error);
  } finally {
    await file.close();
  }
}
