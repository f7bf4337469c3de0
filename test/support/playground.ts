import { readFileSync } from "node:fs";
import { fileURLToPath, pathToFileURL } from "node:url";
import { expect } from "vitest";
import { page as file } from "../../packages/playground/build.mjs";
import type { Browser } from "../runtimes/chromium.ts";

export type Page = Awaited<ReturnType<Browser["newPage"]>>;

export interface Visit {
  /** The address from the # on. */
  hash?: string;
  url?: string;
  dark?: boolean;
  width?: number;
  locale?: string;
}

export interface Opened {
  page: Page;
  /** Errors, warnings and failed requests on the console. */
  complaints: string[];
  /** Addresses that the page has asked for. */
  requests: string[];
}

/** Visits the page, as if for the first time, and waits for its first numbers. */
export type Visitor = (visit?: Visit) => Promise<Opened>;

/** Visits in one tab for each locale: a new tab takes four times as long as another visit, because it has processes of its own. */
export function visitorIn(browser: Browser): Visitor {
  const tabs = new Map<string, Opened>();
  return async ({ hash = "", url = pathToFileURL(file).href, dark = false, width = 1280, locale = "en" } = {}) => {
    const tab = tabs.get(locale) ?? (await openTab(browser, locale));
    tabs.set(locale, tab);
    const { page, complaints, requests } = tab;
    await forget(page);
    for (const list of [complaints, requests]) list.length = 0;
    await page.setViewportSize({ width, height: 900 });
    await page.emulateMedia({ colorScheme: dark ? "dark" : "light" });
    await page.goto(`${url}#${hash}`);
    await page.waitForSelector("[data-name=loss]");
    return tab;
  };
}

async function openTab(browser: Browser, locale: string): Promise<Opened> {
  // Without animations, so that no state in between is seen.
  const page = await browser.newPage({ locale, reducedMotion: "reduce" });
  const complaints: string[] = [];
  const requests: string[] = [];
  page.on("console", (message) => complaints.push(message.text()));
  page.on("pageerror", (error) => complaints.push(String(error)));
  page.on("request", (request) => {
    if (!request.url().startsWith("data:")) requests.push(request.url());
  });
  return { page, complaints, requests };
}

/** Leaves the page, and removes what it has stored. */
async function forget(page: Page): Promise<void> {
  if (page.url() !== "about:blank") await page.evaluate(() => localStorage.clear());
  await page.goto("about:blank");
}

/** Goes to another state by its address, like a link within the page. */
export function follow(page: Page, hash: string): Promise<void> {
  return page.evaluate(
    (hash) =>
      new Promise<void>((resolve) => {
        // Twice: the first frame may come before the new numbers.
        const whenDrawn = (): unknown => requestAnimationFrame(() => requestAnimationFrame(() => resolve()));
        const before = location.href;
        location.hash = hash;
        if (location.href === before) whenDrawn();
        else addEventListener("hashchange", whenDrawn, { once: true });
      }),
    hash,
  );
}

/** All numbers of the page by name. Checks that the visible digits of each are those of its value. */
export async function numbersOf(page: Page): Promise<Map<string, number>> {
  const shown = await page.$$eval("data", (all) =>
    all.map((data) => ({
      name: (data as HTMLElement).dataset["name"] ?? "",
      value: (data as HTMLDataElement).value,
      digits: data.firstChild?.textContent ?? "",
      power: data.querySelector("sup")?.textContent,
    })),
  );
  for (const { name, value, digits, power } of shown) expectSeen(name, Number(value), digits, power ?? "0");
  expect(new Set(shown.map(({ name }) => name)).size).toBe(shown.length);
  return new Map(shown.map(({ name, value }) => [name, Number(value)]));
}

function expectSeen(name: string, value: number, digits: string, power: string): void {
  const plain = (text: string): string => text.replace("−", "-").replace("∞", "Infinity");
  const seen = Number(plain(digits)) * 10 ** Number(plain(power));
  if (!Number.isFinite(value)) {
    expect(seen, name).toBe(value);
    return;
  }
  const decimals = digits.split(".")[1]?.length ?? 0;
  // Omitted digits at the end are zeros.
  const unit = 10 ** (Number(plain(power)) - (power === "0" && decimals > 0 ? 6 : decimals));
  expect(Math.abs(seen - value), `${name}: ${digits} for ${value}`).toBeLessThanOrEqual(
    Math.max(unit, 1e-6 * Math.abs(value)) / 1.99,
  );
}

const axe = readFileSync(
  fileURLToPath(new URL("../runtimes/node_modules/axe-core/axe.min.js", import.meta.url)),
  "utf8",
);

/** The accessibility violations that axe-core finds. */
export async function violations(page: Page): Promise<string[]> {
  if (!(await page.evaluate(() => "axe" in globalThis))) await page.evaluate(axe);
  return page.evaluate(async () => {
    const { axe } = globalThis as unknown as {
      axe: {
        run: (
          options: object,
        ) => Promise<{ violations: { id: string; nodes: { html: string; failureSummary: string }[] }[] }>;
      };
    };
    // Of the other results, it describes only the first of each rule.
    const { violations } = await axe.run({ resultTypes: ["violations"] });
    return violations.flatMap(({ id, nodes }) => nodes.map((node) => `${id}: ${node.html}: ${node.failureSummary}`));
  });
}
