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
