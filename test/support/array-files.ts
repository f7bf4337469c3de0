// Makes files in the formats of NumPy and safetensors.

/** The name of a type in .npy and in safetensors. */
const NAMES: Record<string, [descr: string, safetensors: string]> = {
  float16: ["<f2", "F16"],
  bfloat16: ["<V2", "BF16"],
  float32: ["<f4", "F32"],
  float64: ["<f8", "F64"],
  int8: ["|i1", "I8"],
  uint8: ["|u1", "U8"],
  int16: ["<i2", "I16"],
  uint16: ["<u2", "U16"],
  int32: ["<i4", "I32"],
  uint32: ["<u4", "U32"],
  int64: ["<i8", "I64"],
  uint64: ["<u8", "U64"],
};

export function bytesOf(data: ArrayBufferView): Buffer {
  return Buffer.from(data.buffer as ArrayBuffer, data.byteOffset, data.byteLength);
}

/** `type` is a name of NAMES, or the text of the header. */
export function npy(type: string, shape: readonly number[], data: ArrayBufferView, fortran = false): Buffer {
  return Buffer.concat([npyHeader(type, shape, fortran), bytesOf(data)]);
}

export function npyHeader(type: string, shape: readonly number[], fortran = false): Buffer {
  const sizes = shape.length === 1 ? `${shape[0]},` : shape.join(", ");
  const order = fortran ? "True" : "False";
  const dict = `{'descr': '${NAMES[type]?.[0] ?? type}', 'fortran_order': ${order}, 'shape': (${sizes}), }`;
  const header = Buffer.from(`${dict.padEnd(117)}\n`, "latin1");
  return Buffer.concat([Buffer.from([0x93, ...Buffer.from("NUMPY"), 1, 0, header.length, 0]), header]);
}

export interface Tensor {
  readonly type: string;
  readonly shape: readonly number[];
  readonly data: ArrayBufferView;
}

export function safetensors(tensors: Record<string, Tensor>): Buffer {
  let end = 0;
  const entries = Object.entries(tensors).map(([name, { type, shape, data }]) => {
    const begin = end;
    end += data.byteLength;
    return [name, { dtype: NAMES[type]?.[1] ?? type, shape, data_offsets: [begin, end] }] as const;
  });
  const header = JSON.stringify({ __metadata__: { format: "pt" }, ...Object.fromEntries(entries) });
  return withHeader(header, ...Object.values(tensors).map(({ data }) => bytesOf(data)));
}

/** A .safetensors file with any header. */
export function withHeader(header: string, ...data: readonly Uint8Array[]): Buffer {
  const bytes = Buffer.from(header);
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(bytes.length));
  return Buffer.concat([length, bytes, ...data]);
}
