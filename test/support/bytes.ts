/** A copy of the bytes of a view, or of a whole memory. */
export function copyBytes(source: ArrayBufferView | WebAssembly.Memory): Uint8Array {
  return bytesOf(source).slice();
}

/** The first byte in which two arrays of bytes differ, or undefined. */
export function firstDifference(a: Uint8Array, b: Uint8Array): number | undefined {
  // For megabytes, Buffer.compare is much faster than a loop.
  if (Buffer.compare(a, b) === 0) return undefined;
  const at = a.findIndex((byte, index) => byte !== b[index]);
  return at < 0 ? a.length : at;
}

/** The first byte of a memory that differs from an earlier copy, outside of the given views of it. */
export function firstChange(
  memory: WebAssembly.Memory,
  before: Uint8Array,
  except: readonly ArrayBufferView[] = [],
): number | undefined {
  const now = copyBytes(memory);
  for (const view of except)
    now.set(before.subarray(view.byteOffset, view.byteOffset + view.byteLength), view.byteOffset);
  return firstDifference(before, now);
}

/** The bytes of a view, or of a whole memory. */
export function bytesOf(source: ArrayBufferView | WebAssembly.Memory): Uint8Array {
  if (source instanceof WebAssembly.Memory) return new Uint8Array(source.buffer);
  return new Uint8Array(source.buffer, source.byteOffset, source.byteLength);
}
