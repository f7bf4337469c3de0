import type { LogitsArrays, LogitsType } from "xent";

/** The logits of a batch as numbers, whatever their type and layout. */
export class LogitsView {
  readonly data: LogitsArrays[LogitsType];
  readonly dtype: LogitsType;
  readonly classes: number;
  /** The number of rows whose logits are interleaved; 1 if the class axis is the last. */
  readonly inner: number;
  readonly #numberOf: (stored: number) => number;
  readonly #orderOf: ((stored: number) => number) | undefined;

  constructor(data: LogitsArrays[LogitsType], dtype: LogitsType, classes: number, inner: number) {
    this.data = data;
    this.dtype = dtype;
    this.classes = classes;
    this.inner = inner;
    this.#numberOf = dtype === "float16" ? float16 : dtype === "bfloat16" ? bfloat16 : (stored) => stored;
    this.#orderOf = data instanceof Uint16Array ? orderOfBits : undefined;
  }

  at(row: number, label: number): number {
    return this.#numberOf(this.data[this.#begin(row) + label * this.inner] as number);
  }

  /** The logits of a row as they are stored. */
  row(row: number): LogitsArrays[LogitsType] {
    const { data, classes, inner } = this;
    const begin = this.#begin(row);
    if (inner === 1) return data.subarray(begin, begin + classes);
    return data.slice(0, classes).map((_, j) => data[begin + j * inner] as number);
  }

  /** The logits of a row. */
  numbers(row: number): Float64Array {
    return Float64Array.from(this.row(row), this.#numberOf);
  }

  /** The rank of the label by descending logit, from 0; of equal logits the first class is first. At most `most`. */
  rankOf(row: number, label: number, most: number): number {
    const { data, classes, inner } = this;
    const begin = this.#begin(row);
    const order = this.#orderOf;
    let rank = 0;
    if (order === undefined) {
      const own = data[begin + label * inner] as number;
      for (let j = 0; j < label && rank < most; j++) if ((data[begin + j * inner] as number) >= own) rank++;
      for (let j = label + 1; j < classes && rank < most; j++) if ((data[begin + j * inner] as number) > own) rank++;
      return rank;
    }
    const own = order(data[begin + label * inner] as number);
    for (let j = 0; j < label && rank < most; j++) if (order(data[begin + j * inner] as number) >= own) rank++;
    for (let j = label + 1; j < classes && rank < most; j++) if (order(data[begin + j * inner] as number) > own) rank++;
    return rank;
  }

  #begin(row: number): number {
    const { classes, inner } = this;
    return inner === 1 ? row * classes : Math.floor(row / inner) * classes * inner + (row % inner);
  }
}

/** Maps the bits of a 16-bit float to an integer in the same order; both zeros are equal. */
function orderOfBits(bits: number): number {
  return bits < 0x8000 ? bits : 0x8000 - bits;
}

const word = new Uint32Array(1);
const float = new Float32Array(word.buffer);

function bfloat16(bits: number): number {
  word[0] = bits << 16;
  return float[0] as number;
}

function float16(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const [exponent, fraction] = [(bits >> 10) & 31, bits & 1023];
  if (exponent === 31) return fraction === 0 ? sign * Infinity : NaN;
  return exponent === 0 ? sign * fraction * 2 ** -24 : sign * (1024 + fraction) * 2 ** (exponent - 25);
}
