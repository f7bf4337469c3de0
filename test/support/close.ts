import type { ExactRow } from "./oracle.ts";
import { ulp } from "./ulp.ts";

/** Throws beyond the bounds for any options: 3 ulp in the loss, 10 in the gradient, or 4 units (2^-24) of their parts. */
export function assertClose(
  loss: number,
  gradient: readonly number[],
  exact: ExactRow,
  scale: number,
  where: string,
): void {
  const differs = !(Math.abs(loss - exact.loss) <= 2 ** -23 * exact.lossParts || ulp(loss, exact.loss) <= 3);
  if (differs) throw new Error(`loss of ${where}: ${loss}, exact ${exact.loss}`);
  for (const [j, got] of gradient.entries()) {
    const wanted = scale * (exact.gradient[j] as number);
    const vanishing = 2 ** -22 * scale * (exact.parts[j] as number);
    if (Math.abs(got - wanted) <= vanishing || ulp(got, wanted) <= 10) continue;
    throw new Error(`gradient of ${where}, class ${j}: ${got}, exact ${wanted}`);
  }
}
