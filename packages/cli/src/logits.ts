import type { LogitsType } from "xent";
import type { ArrayFile } from "./array-file.ts";
import { isRaw, openArray } from "./arrays.ts";
import { type DType, FLOATS, isFloat } from "./dtypes.ts";
import { badData, badUsage } from "./failure.ts";

/** Rows of logits in a file. */
export interface LogitsFile {
  readonly array: ArrayFile;
  readonly dtype: LogitsType;
  readonly rows: number;
  readonly classes: number;
  /** Rows of one sequence: the last axis but one. */
  readonly sequence: number;
}

export interface LogitsSpec {
  readonly logits: string;
  readonly classes?: number | undefined;
  readonly dtype?: LogitsType | undefined;
}

export async function openLogits({ logits, classes, dtype }: LogitsSpec): Promise<LogitsFile> {
  if (isRaw(logits) && classes === undefined) throw badUsage(`${logits}: has no shape of its own: say --classes`);
  const raw = { dtype: dtype ?? "float32", columns: classes };
  const array = await openArray(logits, { usual: "logits", raw });
  try {
    const { name, shape } = array;
    const found = shape.at(-1);
    if (found === undefined || found === 0) {
      throw badData(`${name}: expected logits of shape [rows, classes], found [${shape.join(", ")}]`);
    }
    if (classes !== undefined && classes !== found) {
      throw badData(`${name}: expected ${classes} classes, found ${found}: its shape is [${shape.join(", ")}]`);
    }
    const rows = shape.slice(0, -1).reduce((product, length) => product * length, 1);
    if (rows === 0) throw badData(`${name}: has no rows: its shape is [${shape.join(", ")}]`);
    return { array, dtype: logitsType(name, array.dtype, dtype), rows, classes: found, sequence: shape.at(-2) ?? 1 };
  } catch (error) {
    await array.bytes.close();
    throw error;
  }
}

/** 16-bit numbers may be saved as their bits, since NumPy has no bfloat16. */
function logitsType(name: string, found: DType, asked: LogitsType | undefined): LogitsType {
  if (found === "uint16" && (asked === "float16" || asked === "bfloat16")) return asked;
  if (!isFloat(found)) throw badData(`${name}: expected logits of type ${FLOATS.join(", ")}, found ${found}`);
  if (asked !== undefined && asked !== found) throw badData(`${name}: expected ${asked}, found ${found}`);
  return found;
}
