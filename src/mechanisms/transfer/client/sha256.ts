/** A hash that is fed piece by piece. Browsers offer none; Node's own takes this one's place there. */
export interface StreamHash {
  update(bytes: Uint8Array): void;
  digest(): Uint8Array;
}

/** SHA-256 of FIPS 180-4, for where `crypto.subtle` would need the whole file in memory. */
export class Sha256 implements StreamHash {
  readonly #state: Uint32Array = Uint32Array.from(FRACTIONS_OF_SQUARE_ROOTS);
  readonly #schedule: Uint32Array = new Uint32Array(64);
  readonly #block: Uint8Array = new Uint8Array(64);
  #filled = 0;
  #bytes = 0;

  update(bytes: Uint8Array): void {
    this.#bytes += bytes.length;
    let at = 0;
    if (this.#filled > 0) {
      at = Math.min(64 - this.#filled, bytes.length);
      this.#block.set(bytes.subarray(0, at), this.#filled);
      this.#filled += at;
      if (this.#filled < 64) return;
      this.#compress(this.#block, 0);
      this.#filled = 0;
    }
    for (; at + 64 <= bytes.length; at += 64) this.#compress(bytes, at);
    this.#block.set(bytes.subarray(at), 0);
    this.#filled = bytes.length - at;
  }

  digest(): Uint8Array {
    const bits = this.#bytes * 8;
    const padding = new Uint8Array(((this.#filled < 56 ? 64 : 128) - this.#filled) | 0);
    padding[0] = 0x80;
    const view = new DataView(padding.buffer);
    view.setUint32(padding.length - 8, Math.floor(bits / 2 ** 32));
    view.setUint32(padding.length - 4, bits >>> 0);
    this.update(padding);
    const out = new DataView(new ArrayBuffer(32));
    for (const [index, word] of this.#state.entries()) out.setUint32(index * 4, word);
    return new Uint8Array(out.buffer);
  }

  #compress(bytes: Uint8Array, at: number): void {
    const w = this.#schedule;
    for (let i = 0; i < 16; i += 1) {
      const p = at + i * 4;
      w[i] =
        (byte(bytes, p) << 24) | (byte(bytes, p + 1) << 16) | (byte(bytes, p + 2) << 8) | byte(bytes, p + 3);
    }
    for (let i = 16; i < 64; i += 1) {
      const [x, y] = [word(w, i - 15), word(w, i - 2)];
      const s0 = rotate(x, 7) ^ rotate(x, 18) ^ (x >>> 3);
      const s1 = rotate(y, 17) ^ rotate(y, 19) ^ (y >>> 10);
      w[i] = word(w, i - 16) + s0 + word(w, i - 7) + s1;
    }
    const h = this.#state;
    let [a, b, c, d] = [word(h, 0), word(h, 1), word(h, 2), word(h, 3)];
    let [e, f, g, k] = [word(h, 4), word(h, 5), word(h, 6), word(h, 7)];
    for (let i = 0; i < 64; i += 1) {
      const t1 =
        (k +
          (rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25)) +
          ((e & f) ^ (~e & g)) +
          word(FRACTIONS_OF_CUBE_ROOTS, i) +
          word(w, i)) |
        0;
      const t2 = ((rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22)) + ((a & b) ^ (a & c) ^ (b & c))) | 0;
      k = g;
      g = f;
      f = e;
      e = (d + t1) | 0;
      d = c;
      c = b;
      b = a;
      a = (t1 + t2) | 0;
    }
    for (const [index, value] of [a, b, c, d, e, f, g, k].entries()) h[index] = word(h, index) + value;
  }
}

function rotate(value: number, by: number): number {
  return (value >>> by) | (value << (32 - by));
}

function word(words: Uint32Array, index: number): number {
  return words[index] ?? 0;
}

function byte(bytes: Uint8Array, index: number): number {
  return bytes[index] ?? 0;
}

/** The first 32 bits of the fractional parts of the roots of the first primes; computed, not copied. */
function fractions(count: number, root: number): Uint32Array {
  const out = new Uint32Array(count);
  for (let candidate = 2, found = 0; found < count; candidate += 1) {
    let prime = true;
    for (let divisor = 2; divisor * divisor <= candidate; divisor += 1)
      if (candidate % divisor === 0) prime = false;
    if (!prime) continue;
    // In integers, for a double holds too few digits: the root of candidate · 2^(32·root), modulo 2^32.
    const target = BigInt(candidate) << BigInt(32 * root);
    let [low, high] = [0n, 1n << 40n];
    while (low < high) {
      const middle = (low + high + 1n) >> 1n;
      if (middle ** BigInt(root) <= target) low = middle;
      else high = middle - 1n;
    }
    out[found] = Number(low & 0xffff_ffffn);
    found += 1;
  }
  return out;
}

const FRACTIONS_OF_SQUARE_ROOTS = fractions(8, 2);
const FRACTIONS_OF_CUBE_ROOTS = fractions(64, 3);
