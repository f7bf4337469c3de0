// One place for what is thrown: TypeError for the wrong kind of thing, RangeError for the right kind with a wrong value.
// Functions, so that a message costs nothing until something is wrong.

/** How a value reads in a message. */
export function show(value: unknown): string {
  if (typeof value === "string") return JSON.stringify(value.length > 40 ? `${value.slice(0, 40)}…` : value);
  if (typeof value === "bigint") return `${value}n`;
  if (typeof value === "symbol" || typeof value === "function") return typeof value;
  if (typeof value === "object" && value !== null) return value.constructor?.name ?? "object";
  return String(value);
}

/** The wrong kind of thing. */
export function wrongType(title: string, expected: string, got: unknown): TypeError {
  return new TypeError(`"${title}" expected ${expected}, got ${show(got)}`);
}

/** The right kind of thing with a wrong value. */
export function wrongValue(title: string, expected: string, got: unknown): RangeError {
  return new RangeError(`"${title}" expected ${expected}, got ${show(got)}`);
}

/** An integer from `minimum` to `maximum`, or an error that names it. */
export function integer(title: string, value: unknown, minimum: number, maximum: number): number {
  if (typeof value !== "number") throw wrongType(title, "an integer", value);
  if (!Number.isInteger(value) || value < minimum || value > maximum) {
    throw wrongValue(title, `an integer from ${minimum} to ${maximum}`, value);
  }
  return value;
}

/** Throws TypeError for what is no object, or has another property than these. */
export function checkNames(
  title: string,
  value: unknown,
  names: readonly string[],
  others: readonly string[] = [],
): void {
  if (typeof value !== "object" || value === null) throw wrongType(title, "an object", value);
  for (const name of Object.keys(value)) {
    if (!names.includes(name) && !others.includes(name)) throw new TypeError(`"${title}" has no option ${show(name)}`);
  }
}

/** One of a few words. */
export function choice<const T extends string>(title: string, value: unknown, words: readonly T[]): T {
  const found = words.find((word) => word === value);
  if (found !== undefined) return found;
  const quoted = words.map((word) => `"${word}"`);
  const expected = `${quoted.slice(0, -1).join(", ")} or ${quoted.at(-1)}`;
  throw (typeof value === "string" ? wrongValue : wrongType)(title, expected, value);
}

/** A worker of the pool has failed in the middle of a job. The results of this job are undefined. */
export class WorkerError extends Error {
  override readonly name = "WorkerError";
  /** Whether the instance can be used again. */
  readonly canContinue: boolean;

  constructor(message: string, canContinue: boolean) {
    super(message);
    this.canContinue = canContinue;
  }
}
