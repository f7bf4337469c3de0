/** Escapes what a terminal would act on, for names from files: control characters, and those that change the text direction. */
export function visible(text: string): string {
  return text.replace(UNSEEN, escaped);
}

/** {@link visible} for text of several lines. */
export function visibleLines(text: string): string {
  return text.split("\n").map(visible).join("\n");
}

/** Hides user names and passwords in URLs. */
export function withoutPasswords(text: string): string {
  return text.replace(/(\w+:\/\/).*@/g, "$1***@");
}

const UNSEEN = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu;

/** The escape sequence of JSON. */
function escaped(character: string): string {
  const units = character.split("");
  return units.map((unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`).join("");
}
