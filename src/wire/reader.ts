/**
 * Reads big-endian fields off a buffer, front to back. It never throws: reading past the end gives 0 or an empty buffer
 * and sets `short`, so a decoder reads its fields in a row and asks once whether they were all there.
 */
export class Reader {
  readonly bytes: Buffer;
  /** Offset of the next byte to be read. */
  at: number;
  /** One past the last byte that may be read. */
  readonly end: number;
  /** True once something was read that was not there; stays true. */
  short = false;

  constructor(bytes: Buffer, start = 0, end: number = bytes.length) {
    this.bytes = bytes;
    this.at = start;
    this.end = Math.min(end, bytes.length);
  }

  get remaining(): number {
    return this.end - this.at;
  }

  u8(): number {
    const from = this.#advance(1);
    return from < 0 ? 0 : (this.bytes[from] ?? 0);
  }

  u16(): number {
    const from = this.#advance(2);
    return from < 0 ? 0 : this.bytes.readUInt16BE(from);
  }

  u24(): number {
    const from = this.#advance(3);
    return from < 0 ? 0 : this.bytes.readUIntBE(from, 3);
  }

  u32(): number {
    const from = this.#advance(4);
    return from < 0 ? 0 : this.bytes.readUInt32BE(from);
  }

  u64(): bigint {
    const from = this.#advance(8);
    return from < 0 ? 0n : this.bytes.readBigUInt64BE(from);
  }

  /** The next `size` bytes, as a view on the buffer and not a copy. */
  take(size: number): Buffer {
    const from = this.#advance(size);
    return from < 0 ? EMPTY : this.bytes.subarray(from, from + size);
  }

  /** All that is left, as a view. */
  rest(): Buffer {
    return this.take(this.remaining);
  }

  skip(size: number): void {
    this.#advance(size);
  }

  /** The bytes up to the next NUL, which is consumed; short when there is none. */
  untilNul(): Buffer {
    const nul = this.bytes.indexOf(0, this.at);
    if (nul < 0 || nul >= this.end) {
      this.short = true;
      return EMPTY;
    }
    const taken = this.bytes.subarray(this.at, nul);
    this.at = nul + 1;
    return taken;
  }

  /** Where the read began, or -1 when there is not enough. */
  #advance(size: number): number {
    const from = this.at;
    if (this.short || size < 0 || size > this.end - from) {
      this.short = true;
      return -1;
    }
    this.at = from + size;
    return from;
  }
}

const EMPTY = Buffer.alloc(0);
