// The code blocks of all Markdown files, and the suite that runs each: docs/readme.test.ts finds those without one.
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../..", import.meta.url));

export interface Block {
  /** Its path in the repository, with slashes. */
  readonly file: string;
  readonly line: number;
  readonly language: string;
  readonly code: string;
}

/** The suite of that name; cli/installed.test.ts for console, shards/totals.test.ts for python, docs/readme.test.ts for all others. */
export type Runner =
  | "queue"
  | "python"
  | "programs"
  | "signatures"
  | "commands"
  | "generator"
  | "map"
  | "runtimes"
  | "recipes"
  | "console";

export function runnerOf({ file, language, code }: Block): Runner | undefined {
  const isScript = language === "js" || language === "ts";
  if (file === "test/golden/README.md" && isScript) return "generator";
  if (file === "docs/environments.md" && (language === "js" || language === "html")) return "runtimes";
  if (file === "docs/recipes.md" && language === "js") return "recipes";
  if (isScript && code.includes('from "xent-queue"')) return "queue";
  if (isScript && code.includes('from "xent"')) return "programs";
  if (language === "python") return "python";
  if (language === "ts" && /^(README|docs\/guide)\.md$/.test(file)) return "signatures";
  if (language === "text" && file === "CONTRIBUTING.md") return "map";
  if (language === "sh") return "commands";
  return language === "console" && code.startsWith("$ xent ") ? "console" : undefined;
}

function textsIn(folder: string): string[] {
  return readdirSync(join(root, folder), { withFileTypes: true }).flatMap((entry) => {
    const path = folder === "" ? entry.name : `${folder}/${entry.name}`;
    if (entry.isDirectory()) return /^(\..*|node_modules|target|dist)$/.test(entry.name) ? [] : textsIn(path);
    return path.endsWith(".md") ? [path] : [];
  });
}

function blocksOf(file: string): Block[] {
  const text = readFileSync(join(root, file), "utf8");
  return Array.from(
    text.matchAll(/^ *(```+|~~~+)(\S*).*\n([\s\S]*?)^ *\1 *$/gm),
    ({ 2: language = "", 3: code = "", index }) => {
      return { file, line: text.slice(0, index).split("\n").length, language, code };
    },
  );
}

/** Every Markdown file of the repository. */
export const texts: readonly string[] = textsIn("");

export const blocks: readonly Block[] = texts.flatMap(blocksOf);

export function blocksRunBy(runner: Runner): Block[] {
  return blocks.filter((block) => runnerOf(block) === runner);
}
