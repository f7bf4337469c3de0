import { mkdtempSync, rmSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { badData, badUsage } from "./failure.ts";
import type { Closers } from "./files.ts";

/** The name of a file that stands for standard input. */
const STANDARD_INPUT = "-";
const MOST_BYTES = 2 ** 28;

/**
 * Replaces "-" by the name of a temporary file with the content of standard input, at most 256 MiB. Its first bytes decide whether
 * it is .npy, .npz or .safetensors; else it is .txt if it is a text of numbers, or raw numbers. Undefined stays undefined.
 */
export async function namesWithInput<T extends readonly (string | undefined)[]>(
  names: T,
  closers: Closers,
): Promise<T> {
  const count = names.filter((name) => name === STANDARD_INPUT).length;
  if (count === 0) return names;
  if (count > 1) throw badUsage("-: standard input is one file, and can not be several");
  if (process.stdin.isTTY) throw badUsage("-: standard input is a terminal: expected a file or a pipe");
  const content = await readAll();
  const folder = mkdtempSync(join(tmpdir(), "xent-"));
  const remove = (): void => rmSync(folder, { recursive: true, force: true });
  process.on("exit", remove);
  closers.push(remove);
  const path = join(folder, `standard-input${endingOf(content)}`);
  await writeFile(path, content, { mode: 0o600 });
  return names.map((name) => (name === STANDARD_INPUT ? path : name)) as unknown as T;
}

async function readAll(): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of process.stdin as AsyncIterable<Buffer>) {
    chunks.push(chunk);
    size += chunk.length;
    if (size > MOST_BYTES) throw badData("-: standard input has more than 256 MiB: give a file");
  }
  return Buffer.concat(chunks);
}

function endingOf(content: Buffer): string {
  if (content.toString("latin1", 0, 6) === "\x93NUMPY") return ".npy";
  if (content.toString("latin1", 0, 2) === "PK") return ".npz";
  if (content.length > 8 && content[8] === 0x7b && content.readBigUInt64LE() < BigInt(content.length))
    return ".safetensors";
  return content.every((byte) => TEXT.has(byte)) ? ".txt" : ".bin";
}

const TEXT = new Set(Buffer.from("0123456789+-.eE, \t\r\n\ufeff"));
