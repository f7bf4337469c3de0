// Typed arrays of the caller's, whatever properties of their own they have.

/** The kind of a typed array ("Float32Array"), undefined for all else. Also of another realm's, and of a subclass. */
export function typedArrayKind(value: unknown): string | undefined {
  // The getter of all typed arrays, asked about this value: no property of its own stands in between.
  return Reflect.get(Uint8Array.prototype, Symbol.toStringTag, value);
}

/** The length of a typed array: as {@link typedArrayKind}, whatever properties of its own it has. */
export function lengthOf(array: ArrayBufferView): number {
  return Reflect.get(Uint8Array.prototype, "length", array);
}

/** The memory of a typed array, likewise. */
export function bufferOf(array: ArrayBufferView): ArrayBufferLike {
  return Reflect.get(Uint8Array.prototype, "buffer", array);
}

/** Where in it a typed array begins, likewise. */
export function byteOffsetOf(array: ArrayBufferView): number {
  return Reflect.get(Uint8Array.prototype, "byteOffset", array);
}

/** The same numbers of a typed array in one without properties of its own, of which none can be taken for them. */
export function bareView<T extends ArrayBufferView>(array: T): T {
  const View = Reflect.get(globalThis, typedArrayKind(array) as string) as new (
    buffer: ArrayBufferLike,
    offset: number,
    length: number,
  ) => T;
  return new View(bufferOf(array), byteOffsetOf(array), lengthOf(array));
}

/** Whether the memory of an array has been given away (postMessage with transfer, or a grown WebAssembly.Memory). */
function isDetached(array: ArrayBufferView): boolean {
  if (lengthOf(array) > 0) return false;
  try {
    new Uint8Array(bufferOf(array));
    return false;
  } catch {
    return true;
  }
}

/** Throws TypeError for an array whose memory has been given away. */
export function assertAttached(title: string, array: unknown): void {
  if (ArrayBuffer.isView(array) && typedArrayKind(array) !== undefined && isDetached(array)) {
    throw new TypeError(
      `"${title}" is detached: its memory was transferred, or belonged to a WebAssembly.Memory that has grown`,
    );
  }
}
