import { mkdtempSync, rmSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { badData, badFile, badUsage } from "./failure.ts";
import { encodingOf } from "./text.ts";

/** How a command line names standard input. */
const GIVEN = "-";
/** How messages and results name it. No other file has this name, because it has no extension. */
const NAME = "standard input";
const MOST_BYTES = 2 ** 28;

/** A copy, whose extension says its format. */
let copy: string | undefined;

/** Whether a file that an option names is standard input, or an array of it. */
export function isInput(given: string | undefined): boolean {
  return given !== undefined && (given === GIVEN || given.startsWith(`${GIVEN}:`) || given.startsWith(`${NAME}:`));
}

/** The same argument, in a form that no option has: an array of standard input, -:name, looks like an option. */
export function asArgument(given: string): string {
  return given.startsWith(`${GIVEN}:`) ? NAME + given.slice(GIVEN.length) : given;
}

/**
 * Replaces "-" by "standard input", which {@link pathOf} then knows as a temporary file with its content, at most 256 MiB. Its first
 * bytes decide whether it is .npy, .npz or .safetensors; else it is .txt if it is a text of numbers, or raw numbers. Undefined stays
 * undefined.
 */
export async function namesWithInput<T extends readonly (string | undefined)[]>(
  names: T,
  closers: (() => unknown)[],
): Promise<T> {
  const count = names.filter(isInput).length;
  if (count === 0) return names;
  if (count > 1) throw badUsage("-: only one file can be standard input");
  if (process.stdin.isTTY) throw badUsage("-: standard input is a terminal: expected a file or a pipe");
  const content = await readAll();
  try {
    const folder = mkdtempSync(join(tmpdir(), "xent-"));
    const remove = (): void => rmSync(folder, { recursive: true, force: true });
    process.on("exit", remove);
    closers.push(remove);
    copy = join(folder, `standard-input${endingOf(content)}`);
    await writeFile(copy, content, { mode: 0o600 });
  } catch (cause) {
    throw badFile(`${NAME}: cannot be copied to ${tmpdir()}`, cause as Error);
  }
  return names.map((name) => (name === GIVEN ? NAME : name && asArgument(name))) as unknown as T;
}

/** The path of a file, or of an array in it, that messages call by this name. */
export function pathOf(name: string): string {
  const isCopied = copy !== undefined && (name === NAME || name.startsWith(`${NAME}:`));
  return isCopied ? copy + name.slice(NAME.length) : name;
}

/** How a command line names this file. */
export function givenAs(name: string): string {
  return name === NAME ? GIVEN : name;
}

async function readAll(): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let size = 0;
  try {
    for await (const chunk of process.stdin as AsyncIterable<Buffer>) {
      size += chunk.length;
      if (size > MOST_BYTES) break;
      chunks.push(chunk);
    }
  } catch (cause) {
    throw badFile(NAME, cause as Error);
  }
  if (size > MOST_BYTES) throw badData("-: standard input has more than 256 MiB: give a file");
  return Buffer.concat(chunks);
}

function endingOf(content: Buffer): string {
  if (content.toString("latin1", 0, 6) === "\x93NUMPY") return ".npy";
  if (content.toString("latin1", 0, 2) === "PK") return ".npz";
  if (content.length > 8 && content[8] === 0x7b && content.readBigUInt64LE() < BigInt(content.length))
    return ".safetensors";
  return isTextOfNumbers(content) ? ".txt" : ".bin";
}

const TEXT = new Set(Buffer.from("0123456789+-.eE, \t\r\n\ufeff"));

function isTextOfNumbers(content: Buffer): boolean {
  const encoding = encodingOf(content);
  if (encoding === "utf-8") return content.every((byte) => TEXT.has(byte));
  if (content.length % 2 === 1) return false;
  // After the byte order mark, each of these characters has a byte that is 0.
  const zero = encoding === "utf-16le" ? 1 : 0;
  return content.every((byte, i) => i < 2 || (i % 2 === zero ? byte === 0 : TEXT.has(byte)));
}
