// The number of cases for the properties: 4,000 in all suites together, or that of `npm run search -- properties`.
import fc from "fast-check";
import { expect } from "vitest";

/** The total that the share of each property is out of. */
const ALL = 10_000;
const USUAL = 4_000;
const { XENT_CASES, XENT_SEED, XENT_PATH } = process.env;

/** The timeout of a property. A search has none. */
export const TIMEOUT: number = XENT_CASES ? 0 : 300_000;

/** Checks a property with its share of ten thousand cases. A failure prints the command that repeats it. */
export async function holds<T>(
  property: fc.IPropertyWithHooks<T> | fc.IAsyncPropertyWithHooks<T>,
  cases: number,
): Promise<void> {
  const name = expect.getState().currentTestName ?? "";
  const numRuns = Math.ceil((cases * Number(XENT_CASES ?? USUAL)) / ALL);
  if (XENT_CASES) showProgress(property, name, numRuns);
  const parameters: fc.Parameters<T> = { numRuns };
  if (XENT_SEED) parameters.seed = Number(XENT_SEED);
  if (XENT_PATH) parameters.path = XENT_PATH;
  const details = await fc.check(property as fc.IAsyncProperty<T>, parameters);
  if (!details.failed) return;
  // The number of the case is enough, for fast-check shrinks it in the same way again.
  const [run] = (details.counterexamplePath ?? "0").split(":");
  const pattern = name.replace(/[^\w ,]/g, ".").replaceAll("'", ".");
  const again = `npm run search -- properties --cases ${XENT_CASES ?? USUAL} --seed ${details.seed} --path ${run} --test '${pattern}'`;
  const message = `${fc.defaultReportMessage(details)}\n\nAgain: ${again}`;
  // The other properties may take hours, so this is printed at once.
  if (XENT_CASES) process.stderr.write(`properties: ${name}: ${message}\n${details.errorInstance}\n`);
  throw new Error(message, { cause: details.errorInstance });
}

function showProgress<T>(
  property: fc.IPropertyWithHooks<T> | fc.IAsyncPropertyWithHooks<T>,
  name: string,
  numRuns: number,
): void {
  const step = Math.ceil(numRuns / 20);
  let done = 0;
  (property as fc.IPropertyWithHooks<T>).beforeEach(() => {
    if (++done % step === 0) process.stderr.write(`properties: ${done} of ${numRuns}: ${name}\n`);
  });
}
