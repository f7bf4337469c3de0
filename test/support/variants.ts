import { createXentSync, type Variant } from "xent";

/** The variants that this runtime takes. */
export const variants: Variant[] = ["simd128"];
try {
  createXentSync({ variant: "relaxed" }).dispose();
  variants.push("relaxed");
} catch (error) {
  if (!(error instanceof RangeError)) throw error;
}
