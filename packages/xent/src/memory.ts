import { HEAP_START, PAGE } from "./abi.ts";

const ALIGNMENT = 64;

/** The workspace of an engine and a small call fit, without growing. */
const INITIAL_PAGES = 2;

function sizeOf(bytes: number): number {
  return Math.max(ALIGNMENT, Math.ceil(bytes / ALIGNMENT) * ALIGNMENT);
}

/** Maximum sizes to try: all of wasm32 first. An engine may reserve the whole maximum, so smaller ones follow if that fails. */
const LIMITS = [2 ** 32, 2 ** 30, 2 ** 28] as const;

function reserve(limits: readonly number[], shared: boolean): { memory: WebAssembly.Memory; limit: number } {
  let cause: unknown;
  for (const limit of limits) {
    try {
      return {
        memory: new WebAssembly.Memory({ initial: INITIAL_PAGES, maximum: Math.floor(limit / PAGE), shared }),
        limit,
      };
    } catch (error) {
      cause = error;
    }
  }
  throw notReserved(limits.at(-1), shared, cause);
}

function notReserved(bytes: number | undefined, shared: boolean, cause: unknown): RangeError {
  const kind = shared ? "shared " : "";
  const why =
    (cause as Error).name === "RangeError"
      ? `the process has no address space left for a ${kind}memory (ulimit -v, a container's limit, or many instances): engines set aside some 8 GB for each; in Node.js --disable-wasm-trap-handler takes less`
      : `this engine has no ${kind}memory`;
  return new RangeError(`"maxBytes" of ${bytes}: ${why}`, { cause });
}

/**
 * A WebAssembly.Memory and the only allocator in it: first fit over a sorted list of free ranges, 64-byte aligned.
 * Addresses are numbers below 2^32. The free list lies outside of the memory, so neither the kernel nor a caller can corrupt it.
 */
export class Heap {
  readonly memory: WebAssembly.Memory;
  readonly #maxPages: number;
  /** Free ranges, sorted, never adjacent. */
  readonly #free: { start: number; end: number }[] = [{ start: HEAP_START, end: INITIAL_PAGES * PAGE }];
  readonly #sizes = new Map<number, number>();
  /** Memory from here on has never been allocated, so it is zero. */
  #touched: number = HEAP_START;

  /** Without `maxBytes`, the memory may grow as far as the address space allows. */
  constructor(maxBytes: number | undefined, shared: boolean) {
    const limits = maxBytes === undefined ? LIMITS : [maxBytes];
    const { memory, limit } = reserve(limits, shared);
    this.memory = memory;
    this.#maxPages = Math.floor(limit / PAGE);
  }

  /** The limit of the memory, in bytes. */
  get maxBytes(): number {
    return this.#maxPages * PAGE;
  }

  /** Allocates `bytes` bytes and returns their address. If the memory cannot grow so far, throws RangeError and changes nothing. */
  allocate(bytes: number): number {
    const size = sizeOf(bytes);
    let index = this.#find(size);
    if (index < 0) {
      this.#grow(size);
      index = this.#free.length - 1;
    }
    const range = this.#free[index];
    if (range === undefined) throw new Error("unreachable: the memory has grown by what was missing");
    const address = range.start;
    range.start += size;
    if (range.start === range.end) this.#free.splice(index, 1);
    this.#sizes.set(address, size);
    this.#touched = Math.max(this.#touched, address + size);
    return address;
  }

  /** Like {@link allocate}, zeroed from byte `begin` on. */
  allocateZeroed(bytes: number, begin = 0): number {
    const touched = this.#touched;
    const address = this.allocate(bytes);
    const start = address + begin;
    const end = Math.min(address + bytes, touched);
    if (start < end) new Uint8Array(this.memory.buffer, start, end - start).fill(0);
    return address;
  }

  /** Whether {@link allocate} would have to grow the memory for this many bytes. */
  mustGrow(bytes: number): boolean {
    return this.#find(sizeOf(bytes)) < 0;
  }

  #find(size: number): number {
    return this.#free.findIndex((range) => range.end - range.start >= size);
  }

  /** Frees what {@link allocate} returned. */
  free(address: number): void {
    const size = this.#sizes.get(address);
    if (size === undefined) return;
    this.#sizes.delete(address);
    this.#insert(address, address + size);
  }

  #grow(size: number): void {
    const pages = this.memory.buffer.byteLength / PAGE;
    const last = this.#free.at(-1);
    const atEnd = last !== undefined && last.end === pages * PAGE ? last.end - last.start : 0;
    const missing = Math.ceil((size - atEnd) / PAGE);
    if (pages + missing > this.#maxPages) {
      throw new RangeError(
        `${size} bytes do not fit: "maxBytes" allows ${this.#maxPages * PAGE} bytes, of which ${this.largest} are free in one piece`,
      );
    }
    try {
      this.memory.grow(missing);
    } catch (cause) {
      throw new RangeError(
        `${size} bytes do not fit: the engine refuses a memory of ${(pages + missing) * PAGE} bytes`,
        { cause },
      );
    }
    this.#insert(pages * PAGE, (pages + missing) * PAGE);
  }

  /** The most bytes that can be allocated in one piece. */
  get largest(): number {
    const pages = this.memory.buffer.byteLength / PAGE;
    const behind = (this.#maxPages - pages) * PAGE;
    const last = this.#free.at(-1);
    const atEnd = last !== undefined && last.end === pages * PAGE ? last.end - last.start : 0;
    return this.#free.reduce((most, range) => Math.max(most, range.end - range.start), behind + atEnd);
  }

  #insert(start: number, end: number): void {
    let low = 0;
    let high = this.#free.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.#free[middle]?.start ?? 0) < start) low = middle + 1;
      else high = middle;
    }
    const before = this.#free[low - 1];
    const after = this.#free[low];
    if (before?.end === start) {
      before.end = end;
      if (after?.start === end) {
        before.end = after.end;
        this.#free.splice(low, 1);
      }
    } else if (after?.start === end) {
      after.start = start;
    } else {
      this.#free.splice(low, 0, { start, end });
    }
  }
}
