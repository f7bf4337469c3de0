// The page of packages/playground in Chromium: its numbers are right, and it is accessible.
import { dirname } from "node:path";
import { gzipSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { buildPlayground, page as file } from "../../packages/playground/build.mjs";
import { type Browser, hasChromium, launchChromium } from "../runtimes/chromium.ts";
import { naiveLoss, stableLoss } from "../support/f32.ts";
import { exactRow } from "../support/oracle.ts";
import {
  follow,
  numbersOf,
  type Opened,
  type Page,
  type Visitor,
  violations,
  visitorIn,
} from "../support/playground.ts";
import { type Server, serve } from "../support/serve.ts";
import { ulp } from "../support/ulp.ts";

const twenty = Array.from({ length: 20 }, (_, j) => ((j * 7) % 20) - 9.5);

/** States of the page, by their addresses. */
const states = {
  initial: { x: [2, -5, 0.5, -0.1], y: 0, options: { labelSmoothing: 0.1 }, hash: "" },
  large: { x: [1, 21, 0.5, -2], y: 1, offset: 90, scale: 2, options: { zLoss: 0.25 } },
  low: { x: [1, 2, 3], y: 1, offset: -110, options: { temperature: 0.5 } },
  unlikely: { x: [1, 21, 0.5, -2], y: 0, scale: 8, options: { softcap: 3 } },
  confident: { x: [2, -5, 0.5, -0.1], y: 0, scale: 14, options: { labelSmoothing: 0 } },
  equal: { x: [1, 1], y: 1, options: { labelSmoothing: 0.5 } },
  many: { x: twenty, y: 7, scale: 3.25, offset: -7, options: { temperature: 2 } },
  weighted: { x: twenty, y: 19, options: { classWeights: 2.5 } },
  ignored: { x: [0.125, 3], y: 1, options: { ignoreIndex: 1 } },
  notIgnored: { x: [0.125, 3], y: 1, options: { ignoreIndex: -1 } },
  huge: { x: [123456.789, -98765.4321, 123456, 0.001], y: 2, options: { zLoss: 1 } },
};

interface StateOfPage {
  x: number[];
  y: number;
  offset?: number;
  scale?: number;
  options: Record<string, number>;
  hash?: string;
}

function hashOf({ x, y, offset = 0, scale = 1, options, hash }: StateOfPage): string {
  const [option] = Object.entries(options);
  return hash ?? `x=${x.join()}&y=${y}&offset=${offset}&scale=${scale}&${option?.join("=")}`;
}

/** The value of a number, and its bound: relative, or in units in the last place of f32. */
interface Expected {
  value: number;
  relative?: number;
  ulps?: number;
}

function expectedNumbers({ x: decimals, y, offset = 0, scale = 1, options }: StateOfPage): Map<string, Expected> {
  const x = decimals.map(Math.fround);
  const expected = new Map<string, Expected>();
  const add = (name: string, values: number | number[], bound: Omit<Expected, "value"> = { relative: 1e-12 }): void => {
    if (typeof values === "number") expected.set(name, { value: values, ...bound });
    else for (const [j, value] of values.entries()) expected.set(`${name}.${j}`, { value, ...bound });
  };
  const row = exactRow({ x, target: y, sampleWeight: 1 }, {});
  const max = Math.max(...x);
  add("loss", row.loss, { ulps: 2 });
  add("step-loss", row.loss, { ulps: 2 });
  add("plain-loss", row.loss, { ulps: 2 });
  add("gradient", row.gradient, { ulps: 3 });
  add("probability", Math.exp((x[y] as number) - row.logSumExp), { relative: 1e-9 });
  add("logits", x);
  add("max", max);
  add(
    "shifted",
    x.map((v) => v - max),
  );
  add("label-shifted", (x[y] as number) - max);
  add(
    "exp",
    x.map((v) => Math.exp(v - max)),
  );
  add(
    "sum",
    x.reduce((sum, v) => sum + Math.exp(v - max), 0),
  );
  add("log-sum", Math.log(x.reduce((sum, v) => sum + Math.exp(v - max), 0)));
  add(
    "softmax",
    x.map((v) => Math.exp(v - row.logSumExp)),
    { relative: 1e-9 },
  );

  const moved = x.map((v) => Math.fround(Math.fround(v * scale) + offset));
  const { loss: exact } = exactRow({ x: moved, target: y, sampleWeight: 1 }, {});
  add("compare.exact", exact);
  add("compare.naive", naiveLoss(moved, y), { relative: 0 });
  add("compare.stable", stableLoss(moved, y), { relative: 0 });
  add("compare.xent", exact, { ulps: 2 });

  const { classWeights, ignoreIndex, ...others } = options;
  const given = classWeights ? { classWeights: x.map((_, j) => (j === y ? classWeights : 1)) } : others;
  const changed = exactRow({ x, target: y, sampleWeight: ignoreIndex === y ? 0 : 1 }, given);
  add("option-loss", changed.loss, { ulps: 8 });
  add("option-gradient", changed.gradient, { ulps: 32 });
  return expected;
}

function expectClose(name: string, got: number, { value, relative = 0, ulps }: Expected): void {
  const off = ulps === undefined ? Math.abs(got - value) / Math.abs(value) : ulp(got, value);
  if (got === value || (Number.isNaN(got) && Number.isNaN(value))) return;
  expect(off, `${name}: ${got} instead of ${value}`).toBeLessThanOrEqual(ulps ?? relative);
}

describe.skipIf(!hasChromium)("the playground", () => {
  let browser: Browser;
  let server: Server;
  let visit: Visitor;
  /** For tests that only go to other states. */
  let shared: Opened;
  beforeAll(async () => {
    await buildPlayground();
    browser = await launchChromium();
    server = await serve(dirname(file), {});
    visit = visitorIn(browser);
    shared = await visit();
  }, 60_000);
  afterAll(async () => {
    await browser.close();
    await server.close();
  }, 60_000);

  const hash = (page: Page): Promise<string> => page.evaluate(() => location.hash);

  const ownRequest = (page: Page) => [expect.stringContaining(page.url().replace(/#.*/, ""))];

  test("works from disk without an error or a request", async () => {
    const { page, complaints, requests } = await visit();
    for (const button of await page.locator("button:not(.skip):enabled").all()) await button.click();
    for (const radio of await page.locator("input[type=radio]").all()) await radio.check({ force: true });
    await follow(page, "y=1");
    expect(complaints).toEqual([]);
    expect(requests).toEqual(ownRequest(page));
  });

  test("works from a server without an error or a request", async () => {
    const { page, complaints, requests } = await visit({ url: server.url });
    // Events alone: the test above has used the mouse.
    await page.$$eval("button:not(.skip):enabled, input[type=radio]", (all) => {
      for (const e of all) (e as HTMLElement).click();
    });
    await follow(page, "y=1");
    expect(complaints).toEqual([]);
    expect(requests).toEqual(ownRequest(page));
  });

  test.each(Object.entries<StateOfPage>(states))("every number is right: %s", async (_, state) => {
    await follow(shared.page, hashOf(state));
    const numbers = await numbersOf(shared.page);
    const expected = expectedNumbers(state);
    const errors = [...numbers.keys()].filter((name) => /\.(difference|relative)$/.test(name));
    expect([...numbers.keys()].sort()).toEqual([...expected.keys(), ...errors].sort());
    for (const [name, bound] of expected) expectClose(name, numbers.get(name) as number, bound);
    const exact = numbers.get("compare.exact") as number;
    expect(errors).toHaveLength(6);
    for (const of of ["naive", "stable", "xent"]) {
      const difference = Math.abs((numbers.get(`compare.${of}`) as number) - exact);
      expect(numbers.get(`compare.${of}.difference`)).toBe(difference);
      expect(numbers.get(`compare.${of}.relative`)).toBe(difference === 0 ? 0 : difference / exact);
    }
  });

  describe("a button changes the comparison to", () => {
    const own = "x=0.5,3,-1.25&y=0";
    const verdicts = {
      ordinary: { naive: /exact|fine/, stable: /exact|fine/ },
      large: { naive: /^overflow/, stable: /exact|fine/ },
      low: { naive: /vanished/, stable: /exact|fine/ },
      confident: { naive: /^zero/, stable: /stableZero/ },
      unlikely: { naive: /infinite/, stable: /exact|fine/ },
    };
    test.each(Object.entries(verdicts))(
      "%s logits, for the example and for other logits",
      async (name, { naive, stable }) => {
        const { page } = shared;
        for (const start of ["y=1", own, "x=5,5,5", "x=1000,-900"]) {
          await follow(page, start);
          await page.click(`[data-example=${name}]`);
          const found = await page.$$eval("[data-verdict]", (all) => all.map((e) => e.getAttribute("data-verdict")));
          expect(found).toEqual([expect.stringMatching(naive), expect.stringMatching(stable), "exact"]);
          if (start === own) expect(await hash(page)).toContain("x=0.5,3,-1.25");
        }
      },
    );
  });

  test("the address holds all changes, and restores them", async () => {
    const { page } = await visit();
    await page.fill("textarea", "[[1.5, -2,\n 0.25 4e-1]]");
    await page.check("input[name=label] >> nth=2");
    await page.locator("input[name=scale]").fill("2.5");
    await page.locator("input[name=offset]").fill("-30");
    await page.check("input[value=temperature]", { force: true });
    await page.locator("input[name=value]").fill("0.7");
    await page.check("input[value=de]", { force: true });
    expect(await hash(page)).toBe("#x=1.5,-2,0.25,0.4&y=2&offset=-30&scale=2.5&temperature=0.7&lang=de");
    const [numbers, text, address] = [await numbersOf(page), await page.textContent("main"), await hash(page)];
    await visit({ hash: address.slice(1) });
    expect(await numbersOf(page)).toEqual(numbers);
    expect(await page.textContent("main")).toBe(text);
  });

  test("the page follows an address that is changed by hand", async () => {
    await follow(shared.page, "x=3,3&y=1");
    expect((await numbersOf(shared.page)).get("loss")).toBeCloseTo(Math.log(2), 6);
  });

  test.each(["x=1", "x=1,zwei", "x=1e9,0", "y=7", "y=0.5", "scale=-1", "offset=x", "softcap=0", "lang=fr", "%&=&"])(
    "an invalid part of the address is ignored: %s",
    async (hash) => {
      const { page, complaints } = shared;
      await follow(page, "x=3,3&y=1");
      await follow(page, hash);
      expect((await numbersOf(page)).get("loss")).toBeCloseTo(0.297507, 6);
      expect(complaints).toEqual([]);
    },
  );

  test.each([
    ["1 2 3", "1,2,3"],
    ["([[ 1.0000, -2.5000],\n [0.1, 1e2]])", "1,-2.5,0.1,100"],
    ["−1,5; 2,25; 3", "-1.5,2.25,3"],
  ])("logits can be pasted in many notations: %j", async (text, logits) => {
    await shared.page.fill("textarea", text);
    expect(await hash(shared.page)).toContain(`x=${logits}`);
  });

  test("the page marks a text that is no row of logits, and still shows the last row", async () => {
    const { page } = shared;
    const before = await numbersOf(page);
    await page.fill("textarea", "1, two");
    expect(await page.getAttribute("textarea", "aria-invalid")).toBe("true");
    expect(await numbersOf(page)).toEqual(before);
    await page.fill("textarea", "1, 2");
    expect(await page.getAttribute("textarea", "aria-invalid")).toBe("false");
  });

  test("the keyboard reaches every control, once", async () => {
    const { page } = await visit();
    const controls = await page.$$eval("button:enabled, input, textarea, a", (all) => {
      const groups = new Set<string>();
      return all.filter((e) => {
        // Tab reaches one radio button of a group, arrow keys the others.
        if (!(e instanceof HTMLInputElement) || e.type !== "radio") return true;
        return !groups.has(e.name) && groups.add(e.name);
      }).length;
    });
    const visited = new Set<string>();
    for (let i = 0; i < controls; i++) {
      await page.keyboard.press("Tab");
      visited.add(
        await page.evaluate(() =>
          String([...document.querySelectorAll("*")].indexOf(document.activeElement as Element)),
        ),
      );
    }
    expect(visited.size).toBe(controls);
    expect(visited).not.toContain("-1");
  });

  test("arrow keys choose the label, move the logits and switch the language", async () => {
    const { page } = await visit();
    await page.focus("input[name=label]:checked");
    await page.keyboard.press("ArrowDown");
    expect(await hash(page)).toContain("y=1");
    await page.focus("input[name=logit-0]");
    await page.keyboard.press("ArrowRight");
    expect((await numbersOf(page)).get("logits.0")).toBeGreaterThan(2);
    await page.focus("input[name=language]:checked");
    await page.keyboard.press("ArrowRight");
    expect(await page.getAttribute("html", "lang")).toBe("de");
  });

  test("the first Tab offers a link past the switches to the numbers", async () => {
    const { page } = await visit();
    await page.keyboard.press("Tab");
    await page.keyboard.press("Enter");
    expect(await page.evaluate(() => document.activeElement?.id)).toBe("logits");
  });

  test.each([
    ["de-AT", "", "de"],
    ["fr", "", "en"],
    ["de-AT", "lang=en", "en"],
  ])("a browser that prefers %s, with the address %j, gets %s", async (locale, hash, language) => {
    const { page } = await visit({ locale, hash });
    expect(await page.getAttribute("html", "lang")).toBe(language);
  });

  test("colours follow the system until the reader chooses, and the choice is kept", async () => {
    const background = (page: Page): Promise<string> =>
      page.evaluate(() => getComputedStyle(document.body).backgroundColor);
    const { page } = await visit({ url: server.url });
    const paper = await background(page);
    await visit({ url: server.url, dark: true });
    expect(await background(page)).not.toBe(paper);
    await page.check("input[value=light]", { force: true });
    // The style changes a moment later.
    await expect.poll(() => background(page)).toBe(paper);
    await page.reload();
    await expect.poll(() => background(page)).toBe(paper);
  });

  // No style depends on the language, so each language and each colour scheme is checked once.
  const looks = [
    { lang: "en", dark: false },
    { lang: "de", dark: true },
  ];

  test.each(looks)("axe-core finds no violation: $lang, dark: $dark", async ({ lang, dark }) => {
    const { page } = await visit({ dark, hash: `lang=${lang}` });
    for (const state of [states.large, states.many, states.confident]) {
      await follow(page, `${hashOf(state)}&lang=${lang}`);
      expect(await violations(page)).toEqual([]);
    }
  });

  test.each(["en", "de"])("nothing is wider than a phone: %s", async (lang) => {
    const { page } = await visit({ width: 390 });
    for (const state of Object.values<StateOfPage>(states)) {
      await follow(page, `${hashOf(state)}&lang=${lang}`);
      const wide = await page.$$eval("body *", (all) =>
        all
          .filter((e) => e.getBoundingClientRect().right > innerWidth + 0.5 && !e.closest(".unseen"))
          .map((e) => e.outerHTML.slice(0, 80)),
      );
      expect(wide).toEqual([]);
      expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(390);
      // The name of a computation stays on one line with its colour.
      const names = await page.$$eval(".losses tbody th", (all) =>
        all.map((th) => {
          const range = document.createRange();
          range.setStart(th, 0);
          range.setEndBefore(th.querySelector("small") as Element);
          const { height } = range.getBoundingClientRect();
          return height < 2 * Number.parseFloat(getComputedStyle(th).fontSize);
        }),
      );
      expect(names).toEqual([true, true, true, true]);
    }
  });

  // 77 kB of it are the two variants of the kernel.
  test("the page is below 155 kB compressed", async () => {
    expect(gzipSync(await buildPlayground(), { level: 9 }).length).toBeLessThan(155_000);
  });
});
