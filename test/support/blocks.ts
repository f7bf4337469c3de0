// Code blocks of the project's texts. Each is some suite's to run: what none of them runs is found by readme.test.ts.
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
  /** The heading with two # that it stands below. */
  readonly section: string;
}

/** Suites of that name, console: cli-package.test.ts, python: totals.test.ts, and all others readme.test.ts. */
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

export function runnerOf({ file, section, language, code }: Block): Runner | undefined {
  const isScript = language === "js" || language === "ts";
  if (file === "test/golden/README.md" && isScript) return "generator";
  if (file === "README.md" && section === "Runtimes" && (language === "js" || language === "html")) return "runtimes";
  if (file === "README.md" && section === "Recipes" && language === "js") return "recipes";
  if (isScript && code.includes('from "xent-queue"')) return "queue";
  if (isScript && code.includes('from "xent"')) return "programs";
  if (language === "python") return "python";
  if (language === "ts" && file === "README.md") return "signatures";
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
      const before = text.slice(0, index);
      const section =
        before
          .match(/^## .*$/gm)
          ?.at(-1)
          ?.slice(3) ?? "";
      return { file, line: before.split("\n").length, language, code, section };
    },
  );
}

export const blocks: readonly Block[] = textsIn("").flatMap(blocksOf);

export function blocksRunBy(runner: Runner): Block[] {
  return blocks.filter((block) => runnerOf(block) === runner);
}
