import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { reference } from "../../scripts/reference.mjs";

test("docs/api.md is up to date with the comments in the sources: npm run reference", async () => {
  expect(await reference()).toBe(readFileSync(new URL("../../docs/api.md", import.meta.url), "utf8"));
});
