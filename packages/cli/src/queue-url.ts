import { badUsage } from "./failure.ts";

/** Where the queue's address is taken from, if it is not said: a command line is seen by all users of a machine. */
export const QUEUE_VARIABLE = "XENT_QUEUE";

/** The address behind --queue, or of the environment. */
export function queueUrl(given: string | true | undefined): string {
  if (typeof given === "string") return given;
  const url = process.env[QUEUE_VARIABLE];
  if (url === undefined || url === "") {
    throw badUsage(`--queue: expected redis://host:port, or that in the environment as ${QUEUE_VARIABLE}`);
  }
  return url;
}
