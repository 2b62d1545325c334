import type { CredentialKey } from "../../kernel/index.ts";

/**
 * Credential keys to small numbers, in one flat array: an open-addressed table whose look-up touches one cache line,
 * where a `Map` of a million strings touches four and hashes what is a hash already.
 *
 * One cell is eight 32-bit words:
 *
 *   | characters 0–3 | 4–7 | 8–11 | 12–15 | 16–19 | 20–23 | value + 1, or 0: free | – |
 *
 * Twenty-four characters are the shard letter and 138 bits of a SHA-256: to meet another key's by search is out of
 * reach, and the kernel compares the whole key with the record's when it tells in which slot of it the key stands.
 */
export class KeyTable {
  readonly #cells: Int32Array;
  readonly #mask: number;
  #size = 0;

  /** Room for `keys` keys at a load of at most three quarters. */
  constructor(keys: number) {
    const cells = 2 ** Math.ceil(Math.log2(Math.max(8, (keys * 4) / 3)));
    this.#cells = new Int32Array(cells * WORDS);
    this.#mask = cells - 1;
  }

  get size(): number {
    return this.#size;
  }

  /** The number of `key`, or -1. */
  get(key: CredentialKey): number {
    if (key.length !== KEY_LENGTH) return -1;
    const cells = this.#cells;
    const a = word(key, 0);
    const b = word(key, 4);
    const c = word(key, 8);
    const d = word(key, 12);
    const e = word(key, 16);
    const f = word(key, 20);
    for (let at = mix(a, b) & this.#mask; ; at = (at + 1) & this.#mask) {
      const base = at * WORDS;
      const value = cells[base + VALUE] ?? 0;
      if (value === 0) return -1;
      if (
        cells[base] === a &&
        cells[base + 1] === b &&
        cells[base + 2] === c &&
        cells[base + 3] === d &&
        cells[base + 4] === e &&
        cells[base + 5] === f
      ) {
        return value - 1;
      }
    }
  }

  /** What is no key is not put in: it will never be found, and the store answers for it. */
  set(key: CredentialKey, value: number): void {
    if (key.length !== KEY_LENGTH) return;
    const at = this.#cellOf(key);
    const base = at * WORDS;
    if (this.#cells[base + VALUE] === 0) {
      for (let i = 0; i < VALUE; i++) this.#cells[base + i] = word(key, i * 4);
      this.#size++;
    }
    this.#cells[base + VALUE] = value + 1;
  }

  delete(key: CredentialKey): void {
    if (key.length !== KEY_LENGTH) return;
    const cells = this.#cells;
    let hole = this.#cellOf(key);
    if (cells[hole * WORDS + VALUE] === 0) return;
    this.#size--;
    // Whoever stands behind the hole and would have stood in it or before it moves up, so that no search ends too soon.
    for (let at = (hole + 1) & this.#mask; cells[at * WORDS + VALUE] !== 0; at = (at + 1) & this.#mask) {
      const home = mix(cells[at * WORDS] ?? 0, cells[at * WORDS + 1] ?? 0) & this.#mask;
      if (((at - home) & this.#mask) < ((at - hole) & this.#mask)) continue;
      cells.copyWithin(hole * WORDS, at * WORDS, (at + 1) * WORDS);
      hole = at;
    }
    cells.fill(0, hole * WORDS, (hole + 1) * WORDS);
  }

  clear(): void {
    this.#cells.fill(0);
    this.#size = 0;
  }

  /** The cell `key` is in, or the free one it would be put into. */
  #cellOf(key: CredentialKey): number {
    let at = mix(word(key, 0), word(key, 4)) & this.#mask;
    while (this.#cells[at * WORDS + VALUE] !== 0 && !this.#holds(at, key)) at = (at + 1) & this.#mask;
    return at;
  }

  #holds(at: number, key: CredentialKey): boolean {
    for (let i = 0; i < VALUE; i++) if (this.#cells[at * WORDS + i] !== word(key, i * 4)) return false;
    return true;
  }
}

const KEY_LENGTH = 44;
const WORDS = 8;
const VALUE = 6;

function word(key: string, at: number): number {
  return (
    key.charCodeAt(at) |
    (key.charCodeAt(at + 1) << 8) |
    (key.charCodeAt(at + 2) << 16) |
    (key.charCodeAt(at + 3) << 24)
  );
}

/** Characters are six random bits in eight: two words of them fill one. */
function mix(a: number, b: number): number {
  const h = Math.imul(a ^ Math.imul(b, 0x9e3779b1), 0x85ebca6b);
  return h ^ (h >>> 15);
}
