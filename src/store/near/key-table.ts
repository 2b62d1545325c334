import type { CredentialKey, SecretDigest } from "../../kernel/index.ts";

/**
 * Credential keys to small numbers, in one flat array: an open-addressed table whose look-up touches one cache line,
 * where a `Map` of a million strings touches four and hashes what is a hash already. Beside each number stands until when
 * its key may be used, so that what the number leads to need not be touched to know.
 *
 * One cell is eight 32-bit words:
 *
 *   | characters 0–3 | 4–7 | 8–11 | 12–15 | 16–19 | 20–23 | value + 1, or 0: free | usable until |
 *
 * Twenty-four characters of a digest are 144 bits of a SHA-256: to meet another key's by search is out of reach. The shard
 * letter before them is left out, so that a key and its digest find the same cell. `usable until` is in whole seconds
 * since the table was made, rounded down: in the last second of a session its record has to be asked.
 */
export class KeyTable {
  readonly #cells: Int32Array;
  readonly #mask: number;
  readonly #madeAt: number;
  #size = 0;

  /** Room for `keys` keys at a load of at most three quarters. `madeAt` is now. */
  constructor(keys: number, madeAt: number) {
    const cells = 2 ** Math.ceil(Math.log2(Math.max(8, (keys * 4) / 3)));
    this.#cells = new Int32Array(cells * WORDS);
    this.#mask = cells - 1;
    this.#madeAt = madeAt;
  }

  get size(): number {
    return this.#size;
  }

  /** The number of `key`, or -1. */
  get(key: CredentialKey): number {
    const base = this.#find(key);
    return base === ABSENT ? ABSENT : (this.#cells[base + VALUE] ?? 0) - 1;
  }

  /** As `get`, where `now` is certainly before what `set` was told. */
  getUsable(digest: SecretDigest, now: number): number {
    const base = this.#find(digest);
    if (base === ABSENT) return ABSENT;
    const seconds = this.#cells[base + UNTIL] ?? 0;
    // Past the last instant that a cell can hold stands no limit at all.
    if (seconds !== FOREVER && now >= this.#madeAt + seconds * 1000) return ABSENT;
    return (this.#cells[base + VALUE] ?? 0) - 1;
  }

  /** What is no key is not put in: it will never be found, and the store answers for it. */
  set(key: CredentialKey, value: number, usableUntil: number = -Infinity): void {
    if (startOf(key) === ABSENT) return;
    const base = this.#cellOf(key) * WORDS;
    if (this.#cells[base + VALUE] === 0) {
      for (let i = 0; i < VALUE; i++) this.#cells[base + i] = word(key, startOf(key) + i * 4);
      this.#size++;
    }
    this.#cells[base + VALUE] = value + 1;
    const seconds = Math.floor((usableUntil - this.#madeAt) / 1000);
    this.#cells[base + UNTIL] = Math.max(0, Math.min(seconds, FOREVER));
  }

  delete(key: CredentialKey): void {
    if (startOf(key) === ABSENT) return;
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

  /** Where the cell of `text`, a key or a digest, begins; -1 when there is none. */
  #find(text: string): number {
    const start = startOf(text);
    if (start === ABSENT) return ABSENT;
    const cells = this.#cells;
    const a = word(text, start);
    const b = word(text, start + 4);
    const c = word(text, start + 8);
    const d = word(text, start + 12);
    const e = word(text, start + 16);
    const f = word(text, start + 20);
    for (let at = mix(a, b) & this.#mask; ; at = (at + 1) & this.#mask) {
      const base = at * WORDS;
      if (cells[base + VALUE] === 0) return ABSENT;
      if (
        cells[base] === a &&
        cells[base + 1] === b &&
        cells[base + 2] === c &&
        cells[base + 3] === d &&
        cells[base + 4] === e &&
        cells[base + 5] === f
      ) {
        return base;
      }
    }
  }

  /** The cell `key` is in, or the free one it would be put into. */
  #cellOf(key: CredentialKey): number {
    const start = startOf(key);
    let at = mix(word(key, start), word(key, start + 4)) & this.#mask;
    while (this.#cells[at * WORDS + VALUE] !== 0 && !this.#holds(at, key, start)) at = (at + 1) & this.#mask;
    return at;
  }

  #holds(at: number, key: CredentialKey, start: number): boolean {
    for (let i = 0; i < VALUE; i++)
      if (this.#cells[at * WORDS + i] !== word(key, start + i * 4)) return false;
    return true;
  }
}

const ABSENT = -1;
const DIGEST_LENGTH = 43;
const WORDS = 8;
const VALUE = 6;
const UNTIL = 7;
const FOREVER = 2 ** 31 - 1;

/** Where the digest begins in a key or a digest; -1 when it is neither. */
function startOf(text: string): number {
  const before = text.length - DIGEST_LENGTH;
  return before === 0 || before === 1 ? before : ABSENT;
}

function word(text: string, at: number): number {
  return (
    text.charCodeAt(at) |
    (text.charCodeAt(at + 1) << 8) |
    (text.charCodeAt(at + 2) << 16) |
    (text.charCodeAt(at + 3) << 24)
  );
}

/** Characters are six random bits in eight: two words of them fill one. */
function mix(a: number, b: number): number {
  const h = Math.imul(a ^ Math.imul(b, 0x9e3779b1), 0x85ebca6b);
  return h ^ (h >>> 15);
}
