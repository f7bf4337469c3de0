// Typed arrays of the caller's, whatever properties of their own they have.

/** The kind of a typed array ("Float32Array"), also of a subclass or from another realm; undefined for anything else. */
export function typedArrayKind(value: unknown): string | undefined {
  // The getter of %TypedArray%.prototype: a property of the value's own cannot hide it.
  return Reflect.get(Uint8Array.prototype, Symbol.toStringTag, value);
}

/** The length of a typed array. As for {@link typedArrayKind}, properties of its own do not matter. */
export function lengthOf(array: ArrayBufferView): number {
  return Reflect.get(Uint8Array.prototype, "length", array);
}

/** The buffer of a typed array, likewise. */
export function bufferOf(array: ArrayBufferView): ArrayBufferLike {
  return Reflect.get(Uint8Array.prototype, "buffer", array);
}

/** The byte offset of a typed array in its buffer, likewise. */
export function byteOffsetOf(array: ArrayBufferView): number {
  return Reflect.get(Uint8Array.prototype, "byteOffset", array);
}

/** A plain view of the same numbers, without the properties that the array may have of its own. */
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
