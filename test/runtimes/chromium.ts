import type { Browser } from "playwright-core";
import { findChromium } from "../../scripts/browser.mjs";

export type { Browser };

const executablePath = findChromium();

/** Whether Chromium is installed. If not, the set-up has said so. */
export const hasChromium: boolean = executablePath !== undefined;

const flags = [
  "--no-sandbox", // root has none
  "--disable-gpu",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  "--no-first-run",
];

/** Starts a browser with a temporary profile. */
export async function launchChromium(): Promise<Browser> {
  if (executablePath === undefined) throw new Error("there is no Chromium: set CHROMIUM to the path of one");
  // Imported after browser.mjs, which tells it where its browsers are.
  const { chromium } = await import("playwright-core");
  return chromium.launch({ executablePath, args: flags });
}

/** A tab that opens pages, one after the other. */
export interface Tab {
  /** The first text that a page prints, and its errors and warnings until then. */
  read(url: string): Promise<{ printed: string; errors: string[] }>;
  close(): Promise<void>;
}

/** Starts a browser with one tab: another tab takes twice as long as another page, because it has processes of its own. */
export async function launchTab(): Promise<Tab> {
  const browser = await launchChromium();
  const page = await browser.newPage();
  return {
    async read(url) {
      const errors: string[] = [];
      const printed = new Promise<string>((resolve, reject) => {
        page.on("pageerror", reject);
        page.on("console", (message) => {
          if (message.type() === "log") resolve(message.text());
          else errors.push(message.text());
        });
      });
      try {
        const [text] = await Promise.all([printed, page.goto(url)]);
        // Ends the workers of the page.
        await page.goto("about:blank");
        return { printed: text, errors };
      } finally {
        for (const event of ["pageerror", "console"] as const) page.removeAllListeners(event);
      }
    },
    close: () => browser.close(),
  };
}
