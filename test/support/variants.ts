import { createXentSync, type Variant } from "xent";

/** The variants that this runtime supports. */
export const taken: Variant[] = (["simd128", "relaxed"] as const).filter(isTaken);

/** The variants that suites run on: all that are supported, or the one in XENT_VARIANT. */
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
