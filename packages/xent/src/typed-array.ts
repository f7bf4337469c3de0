// Properties of the caller's typed arrays, even if own properties hide them.

/** The kind of a typed array ("Float32Array"), also of a subclass or from another realm; undefined for anything else. */
export function typedArrayKind(value: unknown): string | undefined {
  // The getter of %TypedArray%.prototype, which an own property of the value cannot hide.
  return Reflect.get(Uint8Array.prototype, Symbol.toStringTag, value);
}

/** The length of a typed array, even if an own property hides it. */
export function lengthOf(array: ArrayBufferView): number {
  return Reflect.get(Uint8Array.prototype, "length", array);
}

/** The buffer of a typed array, even if an own property hides it. */
export function bufferOf(array: ArrayBufferView): ArrayBufferLike {
  return Reflect.get(Uint8Array.prototype, "buffer", array);
}

/** The byte offset of a typed array in its buffer, even if an own property hides it. */
export function byteOffsetOf(array: ArrayBufferView): number {
  return Reflect.get(Uint8Array.prototype, "byteOffset", array);
}

/** A plain view of the same numbers, without own properties. */
export function bareView<T extends ArrayBufferView>(array: T): T {
  const View = Reflect.get(globalThis, typedArrayKind(array) as string) as new (
    buffer: ArrayBufferLike,
    offset: number,
    length: number,
  ) => T;
  return new View(bufferOf(array), byteOffsetOf(array), lengthOf(array));
}

/** Whether an array is detached (transferred by postMessage, or a view of a WebAssembly.Memory that has grown). */
function isDetached(array: ArrayBufferView): boolean {
  if (lengthOf(array) > 0) return false;
  try {
    new Uint8Array(bufferOf(array));
    return false;
  } catch {
    return true;
  }
}

/** Throws TypeError for a detached array. */
export function assertAttached(title: string, array: unknown): void {
  if (ArrayBuffer.isView(array) && typedArrayKind(array) !== undefined && isDetached(array)) {
    throw new TypeError(
      `"${title}" is detached: its memory was transferred, or belonged to a WebAssembly.Memory that has grown`,
    );
  }
}
