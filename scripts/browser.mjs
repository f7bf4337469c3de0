// Finds the browsers of the tests, and installs missing ones.
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { output, root, tools } from "./toolchain.mjs";

const playwright = join(root, "test/runtimes/node_modules/playwright-core");
// playwright-core reads this when it is loaded, and downloads browsers into this folder.
process.env.PLAYWRIGHT_BROWSERS_PATH ??= join(tools, "browsers");

const names = ["chromium", "chromium-browser", "google-chrome"];

/** Path of a Chromium: $CHROMIUM, or one on PATH, or the one that playwright-core downloaded. */
export function findChromium() {
  const { CHROMIUM } = process.env;
  if (CHROMIUM) return CHROMIUM;
  // On some systems, a script of this name only explains how to install it.
  const onPath = names.find((name) => output(name, ["--version"]) !== undefined);
  if (onPath) return output("sh", ["-c", `command -v ${onPath}`]);
  if (!existsSync(playwright)) return undefined;
  const downloaded = createRequire(import.meta.url)(playwright).chromium.executablePath();
  return existsSync(downloaded) ? downloaded : undefined;
}

/** Installs a Chromium: playwright's if it can be downloaded, else Debian's. Returns whether that worked. */
export function installChromium() {
  const download = [join(playwright, "cli.js"), "install", "--no-shell", "chromium"];
  // Each attempt gives up after this many milliseconds of silence.
  const env = { ...process.env, PLAYWRIGHT_DOWNLOAD_CONNECTION_TIMEOUT: "5000" };
  if (works(process.execPath, download, { env, timeout: 600_000 })) return true;
  console.log("    playwright cannot download it here; installing Debian's");
  return installPackages("chromium");
}

/** Path of a Firefox: $FIREFOX, or one on PATH. */
export function findFirefox() {
  const name = process.env.FIREFOX ?? ["firefox-esr", "firefox"].find((name) => onPath(name) !== undefined);
  return name && onPath(name);
}

/** Paths of WebKit's driver, of a browser for it, and of a virtual display. */
export function findWebKit() {
  const driver = onPath("WebKitWebDriver");
  const xvfb = onPath("xvfb-run");
  const miniBrowser = driver && output("sh", ["-c", "ls /usr/lib/*/webkit2gtk-4.1/MiniBrowser"]);
  return miniBrowser && xvfb ? { driver, miniBrowser, xvfb } : undefined;
}

function onPath(name) {
  return output("sh", ["-c", `command -v ${name}`]);
}

/** Installs Debian's Firefox. Returns whether that worked. */
export function installFirefox() {
  return installPackages("firefox-esr");
}

/** Installs Debian's WebKit. Returns whether that worked. */
export function installWebKit() {
  return installPackages("webkit2gtk-driver", "xvfb", "xauth");
}

function installPackages(...names) {
  if (process.getuid?.() !== 0 || output("apt-get", ["--version"]) === undefined) return false;
  const apt = (...args) => works("apt-get", ["-y", "-qq", ...args], {});
  return apt("update") && apt("install", "--no-install-recommends", ...names);
}

function works(command, args, options) {
  return spawnSync(command, args, { stdio: "ignore", ...options }).status === 0;
}
