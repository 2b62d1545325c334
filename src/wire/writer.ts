/**
 * Appends big-endian fields to a buffer that grows. Values are truncated to their width: a codec checks ranges where a
 * value enters, not here.
 */
export class Writer {
  #bytes: Buffer;
  #length = 0;

  constructor(sizeHint = 64) {
    this.#bytes = Buffer.allocUnsafe(Math.max(sizeHint, 8));
  }

  get length(): number {
    return this.#length;
  }

  u8(value: number): this {
    const at = this.#grow(1);
    this.#bytes[at] = value;
    return this;
  }

  u16(value: number): this {
    const at = this.#grow(2);
    this.#bytes[at] = value >>> 8;
    this.#bytes[at + 1] = value;
    return this;
  }

  u24(value: number): this {
    const at = this.#grow(3);
    this.#bytes[at] = value >>> 16;
    this.#bytes[at + 1] = value >>> 8;
    this.#bytes[at + 2] = value;
    return this;
  }

  u32(value: number): this {
    const at = this.#grow(4);
    this.#bytes.writeUInt32BE(value >>> 0, at);
    return this;
  }

  u64(value: bigint): this {
    const at = this.#grow(8);
    this.#bytes.writeBigUInt64BE(BigInt.asUintN(64, value), at);
    return this;
  }

  bytes(value: Uint8Array): this {
    const at = this.#grow(value.length);
    this.#bytes.set(value, at);
    return this;
  }

  text(value: string, encoding: "ascii" | "latin1" | "utf8" | "utf16le" = "utf8"): this {
    return this.bytes(Buffer.from(value, encoding));
  }

  /** `size` bytes of `value`. */
  fill(size: number, value = 0): this {
    const at = this.#grow(size);
    this.#bytes.fill(value, at, at + size);
    return this;
  }

  /** Overwrites a length written earlier as a placeholder, once it is known. */
  patchU16(at: number, value: number): this {
    this.#bytes.writeUInt16BE(value & 0xffff, at);
    return this;
  }

  patchU32(at: number, value: number): this {
    this.#bytes.writeUInt32BE(value >>> 0, at);
    return this;
  }

  /** What was written, as a view: the writer must not be used any more. */
  finish(): Buffer {
    return this.#bytes.subarray(0, this.#length);
  }

  /** Makes room; returns where it begins. */
  #grow(size: number): number {
    const at = this.#length;
    const needed = at + size;
    if (needed > this.#bytes.length) {
      const larger = Buffer.allocUnsafe(Math.max(needed, this.#bytes.length * 2));
      this.#bytes.copy(larger, 0, 0, at);
      this.#bytes = larger;
    }
    this.#length = needed;
    return at;
  }
}
