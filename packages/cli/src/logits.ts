import type { LogitsType } from "xent";
import type { ArrayFile } from "./array-file.ts";
import { isRaw, openArray } from "./arrays.ts";
import { type DType, FLOATS, isFloat } from "./dtypes.ts";
import { badData, badUsage } from "./failure.ts";

/** A file of logits. */
export interface LogitsFile {
  readonly array: ArrayFile;
  readonly dtype: LogitsType;
  readonly rows: number;
  readonly classes: number;
  /** The number of rows whose logits are interleaved: the product of the axes after the class axis. */
  readonly inner: number;
  /** The shape without the class axis. */
  readonly rowsShape: readonly number[];
  /** Rows of one sequence: the size of the last axis but one, or {@link inner}. */
  readonly sequence: number;
}

export interface LogitsSpec {
  readonly logits: string;
  readonly classes?: number | undefined;
  readonly dtype?: LogitsType | undefined;
  /** Whether a file that states another type than `dtype` is accepted. */
  readonly anyType?: boolean;
  /** The class axis, counted from the end if negative. Default: the last. */
  readonly axis?: number | undefined;
}

export async function openLogits(spec: LogitsSpec): Promise<LogitsFile> {
  const { logits, classes, dtype, anyType = false, axis = -1 } = spec;
  if (isRaw(logits) && classes === undefined) throw badUsage(`${logits}: has no shape: give --classes`);
  const raw = { dtype: dtype ?? "float32", columns: classes };
  const array = await openArray(logits, { usual: "logits", raw });
  try {
    const { name, shape } = array;
    const place = axis < 0 ? axis + shape.length : axis;
    if (shape.length > 0 && !(place >= 0 && place < shape.length)) {
      throw badData(`${name}: has no axis ${axis}: its shape is [${shape.join(", ")}]`);
    }
    const found = shape[place];
    if (found === undefined || found === 0) {
      throw badData(`${name}: expected logits of shape [rows, classes], found [${shape.join(", ")}]`);
    }
    if (classes !== undefined && classes !== found) {
      throw badData(`${name}: expected ${classes} classes, found ${found}: its shape is [${shape.join(", ")}]`);
    }
    const sizeOf = (axes: readonly number[]): number => axes.reduce((product, length) => product * length, 1);
    const rowsShape = shape.toSpliced(place, 1);
    const inner = sizeOf(shape.slice(place + 1));
    const rows = sizeOf(shape.slice(0, place)) * inner;
    if (rows === 0) throw badData(`${name}: has no rows: its shape is [${shape.join(", ")}]`);
    const sequence = place === shape.length - 1 ? (shape.at(-2) ?? 1) : inner;
    const type = logitsType(name, array.dtype, dtype, anyType);
    return { array, dtype: type, rows, classes: found, inner, rowsShape, sequence };
  } catch (error) {
    await array.bytes.close();
    throw error;
  }
}

/** Accepts uint16 as the bits of a 16-bit float, since NumPy has no bfloat16. */
function logitsType(name: string, found: DType, asked: LogitsType | undefined, anyType: boolean): LogitsType {
  if (found === "uint16" && (asked === "float16" || asked === "bfloat16")) return asked;
  if (!isFloat(found)) throw badData(`${name}: expected logits of type ${FLOATS.join(", ")}, found ${found}`);
  if (asked !== undefined && asked !== found && !anyType) throw badData(`${name}: expected ${asked}, found ${found}`);
  return found;
}
