import { createXentSync, type Variant } from "xent";

/** The variants that this runtime takes. */
export const taken: Variant[] = (["simd128", "relaxed"] as const).filter(isTaken);

/** Those to run suites on: all that are taken, or the one of them that XENT_VARIANT names. */
export const variants: Variant[] = taken.filter((variant) => variant === (process.env["XENT_VARIANT"] ?? variant));

function isTaken(variant: Variant): boolean {
  try {
    createXentSync({ variant }).dispose();
    return true;
  } catch (error) {
    if (error instanceof RangeError && variant === "relaxed") return false;
    throw error;
  }
}
