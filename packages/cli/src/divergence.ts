import type { Batch, LogitsArrays, LogitsType, Xent } from "xent";
import { IGNORED } from "./labels.ts";
import { LogitsView } from "./logits-view.ts";

/** KL divergences of rows: sum_j p_j (log p_j - log q_j), where p is the base and q the other model. */
export class Divergences {
  readonly #batch: Batch<LogitsType, "int32", false, "logits">;
  readonly #type: LogitsType;
  readonly #temperature: number;

  /** `rows`: the most rows of a batch. */
  constructor(xent: Xent, base: LogitsView, other: LogitsView, rows: number, temperature = 1) {
    const { classes, inner } = base;
    const size = inner === 1 ? { rows, classes } : { shape: [rows / inner, classes, inner], axis: 1 };
    this.#type = commonType(base.dtype, other.dtype);
    this.#batch = xent.createBatch({ ...size, logits: this.#type, targets: "logits", gradient: false });
    this.#temperature = temperature;
  }

  /** The divergences of the first `labels.length` rows; 0 where the label is ignored. */
  async of(base: LogitsView, other: LogitsView, labels: Int32Array): Promise<Float32Array | Float64Array> {
    const elements = labels.length * base.classes;
    copy(base, this.#type, this.#batch.targets, elements);
    copy(other, this.#type, this.#batch.logits, elements);
    const { loss } = await this.#batch.runAsync({ temperature: this.#temperature, rows: [0, labels.length] });
    const own = loss.slice();
    for (const [row, label] of labels.entries()) if (label === IGNORED) own[row] = 0;
    return own;
  }

  dispose(): void {
    this.#batch.dispose();
  }
}

/** The smallest type that represents all numbers of both types. */
function commonType(one: LogitsType, other: LogitsType): LogitsType {
  if (one === other) return one;
  return one === "float64" || other === "float64" ? "float64" : "float32";
}

function copy(from: LogitsView, type: LogitsType, into: LogitsArrays[LogitsType], elements: number): void {
  const data = from.data.subarray(0, elements);
  if (from.dtype === type || !(data instanceof Uint16Array)) {
    into.set(data);
    return;
  }
  const numbers = numbersOfBits(from.dtype);
  for (let i = 0; i < elements; i++) into[i] = numbers[data[i] as number] as number;
}

const tables = new Map<LogitsType, Float32Array>();

/** The number that each pattern of 16 bits stands for. */
function numbersOfBits(dtype: LogitsType): Float32Array {
  const known = tables.get(dtype);
  if (known) return known;
  const bits = Uint16Array.from({ length: 2 ** 16 }, (_, i) => i);
  const table = Float32Array.from(new LogitsView(bits, dtype, bits.length, 1).numbers(0));
  tables.set(dtype, table);
  return table;
}
