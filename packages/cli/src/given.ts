import type { Command } from "commander";

/**
 * Refuses options that are given twice, but for those that collect: Commander takes the last one without a word. One without a value
 * says the same twice.
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
