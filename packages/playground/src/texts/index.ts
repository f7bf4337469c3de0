import { de } from "./de.ts";
import { en } from "./en.ts";

export type { Texts } from "./en.ts";

export const texts = { en, de };

export type Language = keyof typeof texts;

export function isLanguage(name: string | null): name is Language {
  return name !== null && Object.hasOwn(texts, name);
}

/** The first of the browser's languages that the page supports. */
export function preferredLanguage(): Language {
  return navigator.languages.map((tag) => tag.slice(0, 2)).find(isLanguage) ?? "en";
}
