import type { Kind } from "./output-file.ts";

/** The beginning by which a report is recognised. */
const GENERATOR =
  '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><meta name="generator" content="xent-cli">';

export const REPORT: Kind = { name: "a report of xent (.html)", isOne: (start) => start.startsWith(GENERATOR) };

/** Text as HTML, without characters that change the direction of text. */
export function escapeHtml(text: string): string {
  const named: Record<string, string> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;" };
  return text.replace(/[&<>"']/g, (character) => named[character] as string);
}

/** A picture or a table, with a title and a sentence about it. */
export interface Section {
  readonly title: string;
  readonly about: string;
  /** HTML. */
  readonly content: string;
}

export interface Page {
  readonly title: string;
  /** Names and values, as text. */
  readonly facts: readonly (readonly [name: string, value: string])[];
  readonly sections: readonly Section[];
  /** CSS for the pictures in dark mode. */
  readonly darkColors: string;
}

const STYLE = `
:root{color-scheme:light dark;--back:#fff;--text:#1d232a;--soft:#5b6570;--line:#e4e7eb}
@media (prefers-color-scheme:dark){:root{--back:#12161b;--text:#dde3ea;--soft:#a3adb8;--line:#2a3139}}
body{margin:0 auto;max-width:56rem;padding:2rem 1.25rem 4rem;background:var(--back);color:var(--text);font:16px/1.5 system-ui,sans-serif}
h1{font-size:1.6rem;margin:0 0 1rem;overflow-wrap:anywhere}
h2{font-size:1.15rem;margin:2.5rem 0 .25rem}
p{margin:0 0 .75rem;color:var(--soft)}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.15rem 1.5rem;margin:0}
dt{color:var(--soft)}dd{margin:0;overflow-wrap:anywhere;font-variant-numeric:tabular-nums}
svg{max-width:100%;height:auto;display:block}
div.scroll{overflow-x:auto}
table{border-collapse:collapse;font-variant-numeric:tabular-nums}
th,td{padding:.25rem .75rem;border-bottom:1px solid var(--line);text-align:right;white-space:nowrap}
th{color:var(--soft);font-weight:500}
th:first-child,td:first-child{text-align:left;padding-left:0}
`;

/** A page in one file. Its Content-Security-Policy makes the browser load nothing else. */
export function page({ title, facts, sections, darkColors }: Page): string {
  const name = escapeHtml(title);
  const list = facts.map(([key, value]) => `<dt>${escapeHtml(key)}</dt><dd>${escapeHtml(value)}</dd>`);
  const parts = sections.map(
    ({ title: heading, about, content }) =>
      `<section><h2>${escapeHtml(heading)}</h2>\n<p>${escapeHtml(about)}</p>\n<div class="scroll">${content}</div></section>`,
  );
  return `${GENERATOR}<title>${name}</title>
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>${STYLE}@media (prefers-color-scheme:dark){${darkColors}}</style></head>
<body><h1>${name}</h1>
<dl>${list.join("\n")}</dl>
${parts.join("\n")}
</body></html>
`;
}

/** A table of text cells. */
export function htmlTable(titles: readonly string[], rows: readonly (readonly string[])[]): string {
  const cells = (tag: string, row: readonly string[]): string =>
    `<tr>${row.map((cell) => `<${tag}>${escapeHtml(cell)}</${tag}>`).join("")}</tr>`;
  return `<table><thead>${cells("th", titles)}</thead><tbody>${rows.map((row) => cells("td", row)).join("\n")}</tbody></table>`;
}
