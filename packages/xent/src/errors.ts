// Every error that is thrown: TypeError for a wrong type, RangeError for a wrong value of the right type.
// These are functions, so a message is built only when something is wrong.

/** A value as text for a message. */
export function show(value: unknown): string {
  if (typeof value === "string") return JSON.stringify(value.length > 40 ? `${value.slice(0, 40)}…` : value);
  if (typeof value === "bigint") return `${value}n`;
  if (typeof value === "symbol" || typeof value === "function") return typeof value;
  if (typeof value === "object" && value !== null) return value.constructor?.name ?? "object";
  return String(value);
}

/** The error for a wrong type. */
export function wrongType(title: string, expected: string, got: unknown): TypeError {
  return new TypeError(`"${title}" expected ${expected}, got ${show(got)}`);
}

/** The error for a wrong value of the right type. */
export function wrongValue(title: string, expected: string, got: unknown): RangeError {
  return new RangeError(`"${title}" expected ${expected}, got ${show(got)}`);
}

/** Returns an integer from `minimum` to `maximum`, or throws an error that names it. */
export function integer(title: string, value: unknown, minimum: number, maximum: number): number {
  if (typeof value !== "number") throw wrongType(title, "an integer", value);
  if (!Number.isInteger(value) || value < minimum || value > maximum) {
    throw wrongValue(title, `an integer from ${minimum} to ${maximum}`, value);
  }
  return value;
}

/** Throws TypeError unless `value` is an object with no other properties than these. */
export function checkNames(
  title: string,
  value: unknown,
  names: readonly string[],
  others: readonly string[] = [],
): void {
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw wrongType(title, "an object", value);
  // Inherited properties are read, too.
  for (const name in value) {
    if (!names.includes(name) && !others.includes(name)) throw new TypeError(`"${title}" has no option ${show(name)}`);
  }
}

/** The properties of these names, each read once, and inherited ones, too. Throws TypeError for properties of other names. */
export function readProperties<T extends object>(title: string, value: T, names: readonly string[]): Partial<T> {
  checkNames(title, value, names);
  const given = value as Record<string, unknown>;
  const own: Record<string, unknown> = {};
  for (const name of names) {
    const property = given[name];
    if (property !== undefined) own[name] = property;
  }
  return own as Partial<T>;
}

/** Returns one of a few words, or throws an error that names it. */
export function choice<const T extends string>(title: string, value: unknown, words: readonly T[]): T {
  const found = words.find((word) => word === value);
  if (found !== undefined) return found;
  const quoted = words.map((word) => `"${word}"`);
  const expected = `${quoted.slice(0, -1).join(", ")} or ${quoted.at(-1)}`;
  throw (typeof value === "string" ? wrongValue : wrongType)(title, expected, value);
}

/** A worker of the pool failed in the middle of a job. The results of that job are undefined. */
export class WorkerError extends Error {
  override readonly name = "WorkerError";
  /** Whether the instance can still be used, with the remaining workers. */
  readonly canContinue: boolean;

  constructor(message: string, canContinue: boolean) {
    super(message);
    this.canContinue = canContinue;
  }
}
