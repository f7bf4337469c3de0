import type { Browser } from "playwright-core";
import { findChromium } from "../../scripts/browser.mjs";

export type { Browser };

const executablePath = findChromium();

/** Whether there is one: where not, the set-up has said so. */
export const hasChromium: boolean = executablePath !== undefined;

const flags = [
  "--no-sandbox", // root has none
  "--disable-gpu",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  "--no-first-run",
];

/** A browser with a profile of its own, which vanishes with it. */
export async function launchChromium(): Promise<Browser> {
  if (executablePath === undefined) throw new Error("there is no Chromium: set CHROMIUM to the path of one");
  // Not before browser.mjs, which tells it where its browsers are.
  const { chromium } = await import("playwright-core");
  return chromium.launch({ executablePath, args: flags });
}
