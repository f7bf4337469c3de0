import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import type { Variant } from "xent";
import { findArm64 } from "../../scripts/arm64.mjs";

/** A runtime that the set-up has installed, with the command that starts it. */
export interface Engine {
  readonly name: string;
  readonly installed: boolean;
  /** Whether it runs in an emulator, which is slow. */
  readonly emulated: boolean;
  readonly command: string;
  readonly args: readonly string[];
  /** Flags that allow reading files. */
  readonly mayRead: readonly string[];
  readonly variant: Variant;
  /** The kinds of workers that callers may start. */
  readonly workers: readonly string[];
  readonly snippet: string;
}

const { platform, arch } = process;
const libc = platform === "linux" ? "-glibc" : "";

function engine(name: string, path: string, more: Partial<Engine>): Engine {
  const command = fileURLToPath(new URL(`node_modules/${path}`, import.meta.url));
  const installed = existsSync(command);
  return {
    ...{ name, installed, emulated: false, command, args: [], mayRead: [] },
    ...{ variant: "relaxed", workers: ["node", "web"], snippet: "" },
    ...more,
  };
}

const node = { workers: ["node"], snippet: "node.mjs" };

const arm64 = findArm64();

export const engines: readonly Engine[] = [
  // The one without relaxed SIMD.
  engine("Node.js 20", "node-20/bin/node", { ...node, variant: "simd128" }),
  engine("Node.js 22", "node-22/bin/node", node),
  engine("Node.js 24", "node-24/bin/node", node),
  engine("Node.js 26", "node-26/bin/node", node),
  engine("Deno", `@deno/${platform}-${arch}${libc}/deno`, {
    args: ["run", "--no-prompt"],
    mayRead: ["--allow-read=."],
    snippet: "deno.mjs",
  }),
  engine("Bun", `@oven/bun-${platform}-${arch === "arm64" ? "aarch64" : arch}/bin/bun`, {
    variant: "simd128",
    snippet: "bun.mjs",
  }),
  { ...engine("arm64", "", node), emulated: true, installed: arm64 !== undefined, ...arm64 },
];
