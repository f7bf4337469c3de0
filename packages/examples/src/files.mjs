import { readFile } from "node:fs/promises";

/**
 * Reads and parses a file. Errors name the file.
 *
 * @template T
 * @param {string} file
 * @param {(bytes: Buffer) => T} parse
 * @param {AbortSignal} [signal]
 * @returns {Promise<T>}
 */
export async function readParsed(file, parse, signal) {
  const bytes = await readFile(file, { signal });
  try {
    return parse(bytes);
  } catch (cause) {
    throw new Error(`${file}: ${cause instanceof Error ? cause.message : cause}`, { cause });
  }
}
