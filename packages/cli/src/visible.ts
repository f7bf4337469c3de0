/** Names out of files, with what a terminal would act on written out: control characters, and those that turn text around. */
export function visible(text: string): string {
  return text.replace(UNSEEN, escaped);
}

/** As {@link visible}, for text of several lines. */
export function visibleLines(text: string): string {
  return text.split("\n").map(visible).join("\n");
}

/** Text in which no address says who connects, and by what password. */
export function withoutPasswords(text: string): string {
  return text.replace(/(\w+:\/\/).*@/g, "$1***@");
}

const UNSEEN = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu;

/** As JSON has it. */
function escaped(character: string): string {
  const units = character.split("");
  return units.map((unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`).join("");
}
