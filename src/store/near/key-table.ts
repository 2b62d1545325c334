import type { CredentialKey, SecretDigest, SessionRecord } from "../../kernel/index.ts";
import { digestOfKey } from "../../kernel/index.ts";

/**
 * Credential keys to numbered entries: an open-addressed table whose look-up touches one cache line, where a `Map` of a
 * million strings touches four and hashes what is a hash already. Beside each number stands until when its key may be
 * used, so that what the number leads to need not be touched to know.
 *
 * One cell is 32 bytes:
 *
 *   | bytes 0–3 | 4–7 | 8–11 | 12–15 of the digest | number + 1, or 0: free | – | usable until, a double |
 *
 * 128 bits of a SHA-256: to meet another key's by search is out of reach. The shard letter before it is left out, so that
 * a key and its digest find the same cell.
 */
export class KeyTable {
  readonly #words: Int32Array;
  readonly #untils: Float64Array;
  /** The records themselves stand at the same places, so that the processor can fetch both at once. */
  readonly #records: (SessionRecord | undefined)[];
  readonly #mask: number;
  #size = 0;

  /** Room for `keys` keys at a load of at most three quarters. */
  constructor(keys: number) {
    const cells = 2 ** Math.ceil(Math.log2(Math.max(8, (keys * 4) / 3)));
    const memory = new ArrayBuffer(cells * WORDS * 4);
    this.#words = new Int32Array(memory);
    this.#untils = new Float64Array(memory);
    this.#records = Array.from({ length: cells }, () => undefined);
    this.#mask = cells - 1;
  }

  get size(): number {
    return this.#size;
  }

  /** The place of `digest`, if the record there may be used with it at `now`; else -1. */
  usable(digest: SecretDigest, now: number): number {
    const place = this.#find(word(digest, 0), word(digest, 4), word(digest, 8), word(digest, 12));
    return place !== ABSENT && now < (this.#untils[place * DOUBLES + UNTIL] ?? 0) ? place : ABSENT;
  }

  numberAt(place: number): number {
    return (this.#words[place * WORDS + NUMBER] ?? 0) - 1;
  }

  recordAt(place: number): SessionRecord | undefined {
    return this.#records[place];
  }

  /** The number of `key`, or -1. */
  get(key: CredentialKey): number {
    const digest = digestOfKey(key);
    if (digest === undefined) return ABSENT;
    const place = this.#find(...wordsOf(digest));
    return place === ABSENT ? ABSENT : this.numberAt(place);
  }

  /** What is no key is not put in: it will never be found, and the store answers for it. */
  set(key: CredentialKey, number: number, record: SessionRecord, usableUntil: number): void {
    const digest = digestOfKey(key);
    if (digest === undefined) return;
    const four = wordsOf(digest);
    const place = this.#placeOf(...four);
    const base = place * WORDS;
    if (this.#words[base + NUMBER] === 0) {
      this.#words.set(four, base);
      this.#size++;
    }
    this.#words[base + NUMBER] = number + 1;
    this.#untils[place * DOUBLES + UNTIL] = usableUntil;
    this.#records[place] = record;
  }

  delete(key: CredentialKey): void {
    const digest = digestOfKey(key);
    if (digest === undefined) return;
    const words = this.#words;
    let hole = this.#placeOf(...wordsOf(digest));
    if (words[hole * WORDS + NUMBER] === 0) return;
    this.#size--;
    // Whoever stands behind the hole and would have stood in it or before it moves up, so that no search ends too soon.
    for (let at = (hole + 1) & this.#mask; words[at * WORDS + NUMBER] !== 0; at = (at + 1) & this.#mask) {
      const home = (words[at * WORDS] ?? 0) & this.#mask;
      if (((at - home) & this.#mask) < ((at - hole) & this.#mask)) continue;
      words.copyWithin(hole * WORDS, at * WORDS, (at + 1) * WORDS);
      this.#records[hole] = this.#records[at];
      hole = at;
    }
    words.fill(0, hole * WORDS, (hole + 1) * WORDS);
    this.#records[hole] = undefined;
  }

  clear(): void {
    this.#words.fill(0);
    this.#records.fill(undefined);
    this.#size = 0;
  }

  #find(a: number, b: number, c: number, d: number): number {
    const place = this.#placeOf(a, b, c, d);
    return this.#words[place * WORDS + NUMBER] === 0 ? ABSENT : place;
  }

  /** Where these words stand, or the free place where they would be put. */
  #placeOf(a: number, b: number, c: number, d: number): number {
    const words = this.#words;
    for (let place = a & this.#mask; ; place = (place + 1) & this.#mask) {
      const base = place * WORDS;
      if (words[base + NUMBER] === 0) return place;
      if (words[base] === a && words[base + 1] === b && words[base + 2] === c && words[base + 3] === d)
        return place;
    }
  }
}

type Words = readonly [number, number, number, number];

const ABSENT = -1;
const WORDS = 8;
const NUMBER = 4;
const DOUBLES = 4;
const UNTIL = 3;

function wordsOf(digest: SecretDigest): Words {
  return [word(digest, 0), word(digest, 4), word(digest, 8), word(digest, 12)];
}

/** Four bytes of a digest as one number. */
function word(digest: SecretDigest, at: number): number {
  return (
    digest.charCodeAt(at) |
    (digest.charCodeAt(at + 1) << 8) |
    (digest.charCodeAt(at + 2) << 16) |
    (digest.charCodeAt(at + 3) << 24)
  );
}
