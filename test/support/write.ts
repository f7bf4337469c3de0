import { rmSync, writeFileSync } from "node:fs";

/** Writes a file in the place of any other. To truncate the other one would take milliseconds on ext4, which writes it out at once. */
export function writeNew(path: string, content: string | Uint8Array): void {
  rmSync(path, { force: true });
  writeFileSync(path, content);
}
