import type { Command } from "commander";

/**
 * Refuses options that are given twice: Commander silently takes the last one. Options that collect values may repeat, as may
 * options without a value.
 */
export function refuseRepeats(command: Command, collecting: readonly string[]): void {
  const given = new Set<string>();
  for (const option of command.options) {
    const name = option.name();
    if (option.isBoolean() || collecting.includes(name)) continue;
    command.on(`option:${name}`, () => {
      if (given.has(name)) command.error(`error: option '${option.flags}' is given twice`);
      given.add(name);
    });
  }
}
