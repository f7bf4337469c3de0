// docs/reliability.md: every test that it names exists.
import { existsSync, readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";

const docs = new URL("../../docs/", import.meta.url);
const text = readFileSync(new URL("reliability.md", docs), "utf8");
const promises = [
  ...((text.split("## Promises")[1] ?? "").split("\n## ")[0]?.matchAll(/^\| (?!Promise|---)(.*?) +\| (.*?) +\|$/gm) ??
    []),
];

/** `[file](path): "a test", "another"; [file](path): "a third"`. */
const named = promises.flatMap(([, promise, shown = ""]) =>
  [...shown.matchAll(/\[[^\]]*\]\(([^)]*)\)((?:[:,] "[^"]*")+)/g)].flatMap(([, path, names = ""]) =>
    [...names.matchAll(/"([^"]*)"/g)].map(([, name]) => ({ promise, path: path as string, name: name as string })),
  ),
);

test("each promise names a test", () => {
  expect(promises.length).toBeGreaterThan(15);
  const without = promises
    .map(([, promise]) => promise)
    .filter((promise) => !named.some((each) => each.promise === promise));
  expect(without).toEqual([]);
});

describe("there is", () => {
  test.each(named)("$path: $name", ({ path, name }) => {
    const file = new URL(path, docs);
    expect(existsSync(file)).toBe(true);
    // As it stands in the source: of test.each, before the values are put in.
    const source = readFileSync(file, "utf8").replaceAll('\\"', '"');
    expect([`"${name}"`, `'${name}'`, `\`${name}\``].some((quoted) => source.includes(quoted))).toBe(true);
  });
});
