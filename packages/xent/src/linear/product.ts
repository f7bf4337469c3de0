// The record of a product. The original is in crates/linear/src/product.rs; a test compares the two.

/** The fields of the record, in order. */
export const PRODUCT_FIELDS = {
  source: "u32",
  index: "u32",
  packed: "u32",
  weight: "u32",
  bias: "u32",
  logits: "u32",
  features_gradient: "u32",
  weight_gradient: "u32",
  bias_gradient: "u32",
  kind: "u32",
  weight_type: "u32",
  rows: "u32",
  features: "u32",
  classes: "u32",
  stride: "u32",
  columns: "u32",
  accumulate: "u32",
  reserved: "u32",
  scale: "f64",
} as const;

/** Bytes of the record. */
export const PRODUCT_BYTES = 80;

/** Values of `kind`. */
export const KIND = { PACK_ROWS: 0, LOGITS: 1, FEATURES: 2, PACK_COLUMNS: 3, WEIGHT: 4 } as const;

/** Values of `weight_type`. */
export const WEIGHT_TYPES = { float32: 0, float16: 1, bfloat16: 2 } as const;

/** Rows of a tile; an item of PACK_ROWS has as many. */
export const ROWS = 5;
/** Classes of an item of the logits. */
export const LOGITS_ITEM = 64;
/** Classes of an item of the weight's gradient. */
export const WEIGHT_ITEM = 40;
/** The most products that are added in f32. */
export const BLOCK = 512;

type Field = keyof typeof PRODUCT_FIELDS;

const FIELDS = Object.keys(PRODUCT_FIELDS) as Field[];

/** A product, as the kernel reads it. */
export type Product = Record<Exclude<Field, "reserved">, number>;

/** Writes a product at this address. */
export function writeProduct(memory: WebAssembly.Memory, address: number, product: Product): void {
  const words = new Int32Array(memory.buffer, address, PRODUCT_BYTES / 4);
  for (const [i, field] of FIELDS.entries()) if (field !== "reserved" && field !== "scale") words[i] = product[field];
  new Float64Array(memory.buffer, address, PRODUCT_BYTES / 8)[PRODUCT_BYTES / 8 - 1] = product.scale;
}

/** Bytes of one thread's scratch memory: `scratch_bytes` in crates/linear/src/product.rs. */
export function scratchBytes(rows: number, columns: number): number {
  return 4 * (BLOCK * rows + 16 * BLOCK) + 8 * rows * Math.max(LOGITS_ITEM, columns);
}
