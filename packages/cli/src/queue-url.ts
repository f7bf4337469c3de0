import { badUsage } from "./failure.ts";

/** An alternative to --queue URL: all users of a machine can see a command line, and with it a password. */
export const QUEUE_VARIABLE = "XENT_QUEUE";

/** The address from --queue, or from the environment. */
export function queueUrl(given: string | true | undefined): string {
  if (typeof given === "string") return given;
  const url = process.env[QUEUE_VARIABLE];
  if (url === undefined || url === "") {
    throw badUsage(`--queue: expected redis://host:port, or that in the environment as ${QUEUE_VARIABLE}`);
  }
  return url;
}
