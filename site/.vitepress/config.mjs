// The site: README.md, docs/ and the other texts of the repository as they are, each told in one place. npm run site.
import { defineConfig } from "vitepress";
import { pages, relinked, repository, root, slugify } from "./pages.mjs";

const playground = (text, hash = "") => ({ text, link: `/playground/index.html${hash}`, target: "_self" });

const english = {
  nav: [{ text: "Guide", link: "/guide" }, { text: "API", link: "/api" }, playground("Playground")],
  sidebar: [
    {
      text: "Start",
      items: [
        { text: "Overview", link: "/" },
        { text: "Guide", link: "/guide" },
        { text: "API reference", link: "/api" },
      ],
    },
    {
      text: "Understand",
      items: [{ text: "What exactly does it compute?", link: "/what-it-computes" }, playground("Playground")],
    },
    {
      text: "Use",
      items: [
        { text: "Recipes", link: "/recipes" },
        { text: "Environments", link: "/environments" },
        { text: "Command line", link: "/command-line" },
        { text: "Beyond one machine", link: "/scale" },
        { text: "Tasks on a queue", link: "/queue" },
      ],
    },
    {
      text: "Compare",
      items: [
        { text: "Linear layer and loss", link: "/linear" },
        { text: "Exactness", link: "/exactness" },
        { text: "Exactness: all tables", link: "/measurements/accuracy" },
        { text: "Speed", link: "/speed" },
        { text: "Speed: all tables", link: "/measurements/bench" },
        { text: "Reliability", link: "/reliability" },
      ],
    },
    {
      text: "Project",
      items: [
        { text: "Contributing", link: "/contributing" },
        { text: "Changelog", link: "/changelog" },
        { text: "Security", link: "/security" },
      ],
    },
  ],
};

const german = {
  nav: [{ text: "Was genau berechnet es?", link: "/de/what-it-computes" }, playground("Playground", "#lang=de")],
  sidebar: [
    {
      text: "Auf Deutsch",
      items: [
        { text: "Übersicht", link: "/de/" },
        { text: "Was genau berechnet es?", link: "/de/what-it-computes" },
        playground("Playground", "#lang=de"),
      ],
    },
  ],
  outline: { label: "Auf dieser Seite", level: [2, 3] },
  docFooter: { prev: "Vorherige Seite", next: "Nächste Seite" },
  darkModeSwitchLabel: "Farbschema",
  lightModeSwitchTitle: "Helles Farbschema",
  darkModeSwitchTitle: "Dunkles Farbschema",
  langMenuLabel: "Sprache wechseln",
  returnToTopLabel: "Nach oben",
  sidebarMenuLabel: "Menü",
};

/** The home pages: a head above what the text says. */
const heroes = {
  "index.md": {
    name: "xent",
    text: "Sparse softmax cross-entropy for JavaScript",
    tagline: "Loss and gradient, exact to the last places of float32, in WebAssembly SIMD. No dependencies.",
    actions: [
      { text: "Guide", link: "/guide", theme: "brand" },
      { text: "What does it compute?", link: "/what-it-computes", theme: "alt" },
      { ...playground("Playground"), theme: "alt" },
    ],
  },
  "de/index.md": {
    name: "xent",
    text: "Sparse-Softmax-Kreuzentropie für JavaScript",
    tagline:
      "Loss und Gradient, exakt bis in die letzten Stellen von float32, in WebAssembly mit SIMD. Ohne Abhängigkeiten.",
    actions: [
      { text: "Was genau berechnet es?", link: "/de/what-it-computes", theme: "brand" },
      { ...playground("Playground", "#lang=de"), theme: "alt" },
      { text: "Anleitung (Englisch)", link: "/guide", theme: "alt" },
    ],
  },
};

const icon = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><rect width="32" height="32" rx="7" fill="#4453c4"/><path d="M6 25V7M6 25h20M8 9c2 9 7 13 17 14" fill="none" stroke="#fff" stroke-width="2.5" stroke-linecap="round"/></svg>`;

export default defineConfig({
  title: "xent",
  description: "Sparse softmax cross-entropy with logits for JavaScript: exact, fast, without dependencies",
  head: [["link", { rel: "icon", href: `data:image/svg+xml,${encodeURIComponent(icon)}` }]],
  base: `${process.env.SITE_BASE ?? ""}/`,
  srcDir: root,
  outDir: "dist",
  cacheDir: "node_modules/.vitepress",
  cleanUrls: true,
  // Only the files of pages.mjs are pages.
  srcExclude: ["{target,test,fuzz,scripts,crates}/**", "packages/!(queue)/**", "site/node_modules/**", "site/dist/**"],
  rewrites: pages,
  markdown: { anchor: { slugify }, config: relinked },
  transformPageData({ relativePath, frontmatter }) {
    const hero = heroes[relativePath];
    if (hero) Object.assign(frontmatter, { layout: "home", hero, pageClass: "landing" });
  },
  locales: {
    root: { label: "English", lang: "en", themeConfig: english },
    de: { label: "Deutsch", lang: "de", themeConfig: german },
  },
  themeConfig: {
    search: { provider: "local", options: { locales: { de: { translations: { button: { buttonText: "Suchen" } } } } } },
    outline: { level: [2, 3] },
    socialLinks: repository ? [{ icon: "github", link: repository }] : [],
  },
});
