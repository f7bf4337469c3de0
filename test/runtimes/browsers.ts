// Browsers other than Chromium, if the machine has them. They leave their output in `printed`.
import { type ChildProcess, spawn } from "node:child_process";
import type { Variant } from "xent";
import { findFirefox, findWebKit } from "../../scripts/browser.mjs";
import { freePort } from "../support/port.ts";

/** A browser that opens a page and returns its `printed`. */
export interface PageReader {
  read(url: string): Promise<string>;
  close(): Promise<void>;
}

export interface OtherBrowser {
  readonly name: string;
  readonly installed: boolean;
  readonly variant: Variant;
  /** The threads that an isolated page gets for threads: 2. */
  readonly threads: number;
  /** Whether workers of an isolated page can share the memory. */
  readonly shares: boolean;
  launch(): Promise<PageReader>;
}

const firefox = findFirefox();
const webkit = findWebKit();

export const browsers: readonly OtherBrowser[] = [
  {
    name: "Firefox",
    installed: firefox !== undefined,
    variant: "relaxed",
    threads: 2,
    shares: true,
    launch: launchFirefox,
  },
  {
    name: "WebKit",
    installed: webkit !== undefined,
    variant: "simd128",
    threads: 1,
    shares: false,
    launch: launchWebKit,
  },
];

async function launchFirefox(): Promise<PageReader> {
  const { default: puppeteer } = await import("puppeteer-core");
  const browser = await puppeteer.launch({ browser: "firefox", executablePath: firefox as string, headless: true });
  return {
    async read(url) {
      const page = await browser.newPage();
      try {
        await page.goto(url);
        const handle = await page.waitForFunction("globalThis.printed", { timeout: 50_000 });
        return (await handle.jsonValue()) as string;
      } finally {
        await page.close();
      }
    },
    close: () => browser.close(),
  };
}

/** Uses the WebDriver protocol, which needs no package. */
async function launchWebKit(): Promise<PageReader> {
  const { driver, miniBrowser, xvfb } = webkit as NonNullable<typeof webkit>;
  const port = await freePort();
  const command = [driver, `--port=${port}`];
  const [name = "", ...args] = process.env["DISPLAY"] ? command : [xvfb, "-a", ...command];
  // A process group of its own, with the display server and the browser as children.
  const started = spawn(name, args, { stdio: "ignore", detached: true });
  const call = async (method: string, path: string, body?: object): Promise<unknown> => {
    const init = { method, ...(body && { body: JSON.stringify(body) }) };
    const response = await fetch(`http://127.0.0.1:${port}${path}`, init);
    const { value } = (await response.json()) as { value: unknown };
    if (!response.ok) throw new Error(JSON.stringify(value));
    return value;
  };
  await untilItAnswers(() => call("GET", "/status"));
  const options = { binary: miniBrowser, args: ["--automation"] };
  const { sessionId } = (await call("POST", "/session", {
    capabilities: { alwaysMatch: { "webkitgtk:browserOptions": options } },
  })) as { sessionId: string };
  const session = `/session/${sessionId}`;
  return {
    async read(url) {
      await call("POST", `${session}/timeouts`, { script: 50_000 });
      await call("POST", `${session}/url`, { url });
      const script = `const done = arguments[0];
        const look = () => (globalThis.printed ? done(globalThis.printed) : setTimeout(look, 50));
        look();`;
      return (await call("POST", `${session}/execute/async`, { script, args: [] })) as string;
    },
    async close() {
      await call("DELETE", session).catch(() => {});
      end(started);
    },
  };
}

async function untilItAnswers(ask: () => Promise<unknown>): Promise<void> {
  for (let time = 0; ; time++) {
    try {
      await ask();
      return;
    } catch (error) {
      if (time === 100) throw error;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }
}

function end({ pid }: ChildProcess): void {
  if (pid !== undefined) process.kill(-pid, "SIGTERM");
}
