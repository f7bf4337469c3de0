/** What the user can mend: its message is printed as it is, without a stack. */
export class Failure extends Error {
  readonly exitCode: number;

  constructor(message: string, exitCode: 1 | 2) {
    super(message);
    this.exitCode = exitCode;
  }
}

/** A file is not what it should be. */
export function badData(message: string): Failure {
  return new Failure(message, 1);
}

/** A file cannot be opened, read or written: why, without what Node.js calls it. */
export function badFile(path: string, cause: Error): Failure {
  return badData(`${path}: ${cause.message.replace(/^E[A-Z]+: (.+?), .*$/s, "$1")}`);
}

/** The command line is not what it should be. */
export function badUsage(message: string): Failure {
  return new Failure(message, 2);
}
