/** An error that the user can fix: only its message is printed, without a stack. */
export class Failure extends Error {
  readonly exitCode: number;

  constructor(message: string, exitCode: 1 | 2) {
    super(message);
    this.exitCode = exitCode;
  }
}

/** The error for a file with wrong content. */
export function badData(message: string): Failure {
  return new Failure(message, 1);
}

/** The error for a file that cannot be opened, read or written: the reason, without Node.js's code and call. */
export function badFile(path: string, cause: Error): Failure {
  return badData(`${path}: ${cause.message.replace(/^E[A-Z]+: (.+?), .*$/s, "$1")}`);
}

/** The error for a wrong command line. */
export function badUsage(message: string): Failure {
  return new Failure(message, 2);
}
