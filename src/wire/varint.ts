/** The largest number a varint carries here: 2^53 − 1, so that no implementation needs big integers. */
const MAX_VARINT: number = Number.MAX_SAFE_INTEGER;

/**
 * Reads bytes, unsigned LEB128 numbers and length-prefixed strings off a `Uint8Array`, in any JavaScript. It never
 * throws: what cannot be read gives 0 or nothing and sets `fault`, which stays, so that a decoder reads its fields in a
 * row and asks once.
 */
export class ByteReader {
  readonly bytes: Uint8Array;
  at: number;
  fault: string | undefined;
  /** True when the fault is a bound that was exceeded, not a broken format. */
  tooLarge = false;

  constructor(bytes: Uint8Array, at = 0) {
    this.bytes = bytes;
    this.at = at;
  }

  get done(): boolean {
    return this.at >= this.bytes.length;
  }

  byte(): number {
    const value = this.bytes[this.at];
    if (value === undefined) {
      this.fail("short");
      return 0;
    }
    this.at++;
    return value;
  }

  /** A number of at most `max`, in the shortest form. */
  varint(max: number = MAX_VARINT): number {
    let value = 0;
    let scale = 1;
    for (let length = 1; length <= 8; length++) {
      const byte = this.byte();
      if (this.fault !== undefined) return 0;
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) {
        if (byte === 0 && length > 1) return this.fail("padded");
        return value <= max && value <= MAX_VARINT ? value : this.fail(`above:${max}`, true);
      }
      scale *= 128;
    }
    return this.fail("long");
  }

  /** As many bytes as the varint in front of them says, at most `max`; a view, not a copy. */
  block(max: number): Uint8Array {
    const size = this.varint(MAX_VARINT);
    if (this.fault !== undefined) return EMPTY;
    if (size > max) {
      this.fail(`size:${max}`, true);
      return EMPTY;
    }
    const from = this.at;
    if (size > this.bytes.length - from) {
      this.fail("short");
      return EMPTY;
    }
    this.at = from + size;
    return this.bytes.subarray(from, from + size);
  }

  /** A block of well-formed UTF-8. */
  text(max: number): string {
    const block = this.block(max);
    try {
      return decoder.decode(block);
    } catch {
      this.fail("text");
      return "";
    }
  }

  fail(why: string, tooLarge = false): 0 {
    if (this.fault === undefined) {
      this.fault = why;
      this.tooLarge = tooLarge;
    }
    return 0;
  }
}

/** Appends the same to a buffer that grows. */
export class ByteWriter {
  #bytes: Uint8Array;
  #length = 0;

  constructor(sizeHint = 64) {
    this.#bytes = new Uint8Array(sizeHint);
  }

  get length(): number {
    return this.#length;
  }

  byte(value: number): this {
    this.#room(1);
    this.#bytes[this.#length++] = value;
    return this;
  }

  varint(value: number): this {
    this.#room(8);
    let rest = value;
    while (rest > 0x7fffffff) {
      this.#bytes[this.#length++] = (rest % 128) | 0x80;
      rest = Math.floor(rest / 128);
    }
    while (rest > 0x7f) {
      this.#bytes[this.#length++] = (rest & 0x7f) | 0x80;
      rest >>>= 7;
    }
    this.#bytes[this.#length++] = rest;
    return this;
  }

  raw(bytes: Uint8Array): this {
    this.#room(bytes.length);
    this.#bytes.set(bytes, this.#length);
    this.#length += bytes.length;
    return this;
  }

  block(bytes: Uint8Array): this {
    return this.varint(bytes.length).raw(bytes);
  }

  text(text: string): this {
    return this.block(encoder.encode(text));
  }

  /** What was written; the writer is empty again afterwards, and keeps its room unless that has become large. */
  take(): Uint8Array {
    const written = this.#bytes.subarray(0, this.#length);
    this.#length = 0;
    if (this.#bytes.length <= ROOM_KEPT) {
      const taken = room(written.length);
      taken.set(written);
      return taken;
    }
    this.#bytes = new Uint8Array(64);
    return written;
  }

  #room(size: number): void {
    const needed = this.#length + size;
    if (needed <= this.#bytes.length) return;
    const larger = new Uint8Array(Math.max(needed, this.#bytes.length * 2));
    larger.set(this.#bytes.subarray(0, this.#length));
    this.#bytes = larger;
  }
}

/** Zeroed bytes. Few of them share a piece of memory with others: allocating it for each costs more than filling it. */
export function room(size: number): Uint8Array {
  if (size > SLAB_BYTES / 8) return new Uint8Array(size);
  if (slabUsed + size > slab.length) {
    slab = new Uint8Array(SLAB_BYTES);
    slabUsed = 0;
  }
  return slab.subarray(slabUsed, (slabUsed += size));
}

const SLAB_BYTES = 8192;
let slab = new Uint8Array(0);
let slabUsed = 0;
const ROOM_KEPT = 1_048_576;
const EMPTY = new Uint8Array(0);
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const encoder = new TextEncoder();
