// Which Markdown files are pages of the site, and where a link from one of them leads.
import { existsSync, readdirSync, statSync } from "node:fs";
import { join, posix, relative, sep } from "node:path";
import { fileURLToPath } from "node:url";

export const root = fileURLToPath(new URL("../..", import.meta.url));

const textsIn = (folder) => readdirSync(join(root, folder)).filter((name) => name.endsWith(".md"));

/** From the path of a file in the repository to that of its page. */
export const pages = {
  "README.md": "index.md",
  "CONTRIBUTING.md": "contributing.md",
  "CHANGELOG.md": "changelog.md",
  "SECURITY.md": "security.md",
  "packages/queue/README.md": "queue.md",
  "site/de.md": "de/index.md",
  ...Object.fromEntries(textsIn("docs").map((name) => [`docs/${name}`, name])),
  ...Object.fromEntries(
    textsIn("docs/measurements").map((name) => [`docs/measurements/${name}`, `measurements/${name}`]),
  ),
  "docs/was-es-berechnet.md": "de/what-it-computes.md",
};

/** Address of the repository, where the build knows one. */
export const repository =
  process.env.GITHUB_REPOSITORY && `${process.env.GITHUB_SERVER_URL}/${process.env.GITHUB_REPOSITORY}`;

/**
 * Where a relative link leads on the site: to a page, to the repository, or nowhere (undefined) where that has no address.
 *
 * @param {string} file Absolute path of the text with the link.
 * @param {string} href The link in that text.
 */
export function destinationOf(file, href) {
  const [path = "", anchor] = href.split("#");
  const target = posix.join(posix.dirname(relative(root, file).split(sep).join("/")), path);
  if (!existsSync(join(root, target))) throw new Error(`${relative(root, file)}: there is no ${target} to link to`);
  const hash = anchor === undefined ? "" : `#${anchor}`;
  if (target in pages) return `/${pages[target]}${hash}`;
  if (!repository) return undefined;
  const kind = statSync(join(root, target)).isDirectory() ? "tree" : "blob";
  return `${repository}/${kind}/${process.env.GITHUB_SHA}/${target}${hash}`;
}

/** A plugin of markdown-it: relative links, which are right on GitHub, lead to the same place from the site. */
export function relinked(md) {
  md.core.ruler.push("relinked", ({ tokens, env }) => {
    for (const { children } of tokens) {
      let unlinked = false;
      for (const token of children ?? []) {
        if (token.type === "link_open") {
          const href = token.attrGet("href");
          if (/^(\w+:|#|\/)/.test(href)) continue;
          const destination = destinationOf(env.realPath ?? env.path, decodeURI(href));
          if (destination) token.attrSet("href", destination);
          else unlinked = true;
        }
        if (!unlinked) continue;
        if (token.type === "link_close") unlinked = false;
        if (token.type.startsWith("link_")) Object.assign(token, { type: "text", tag: "", nesting: 0, content: "" });
      }
    }
  });
}

/** The anchor of a heading as GitHub has it, so that links within a text are right in both places. */
export function slugify(heading) {
  return heading
    .toLowerCase()
    .replace(/[^\p{L}\p{N} _-]/gu, "")
    .replaceAll(" ", "-");
}
