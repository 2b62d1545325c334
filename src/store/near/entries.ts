import type { CredentialKey, Found, Handle, SecretDigest, SessionRecord } from "../../kernel/index.ts";
import { usableUntil } from "../../kernel/index.ts";
import { KeyTable } from "./key-table.ts";

const NONE = -1;

/**
 * At most `maxEntries` records by key, by handle and by principal, each in a numbered slot. Eviction is the clock
 * algorithm: a hand goes round the slots, spares once what was used since it last came by, and takes the first other.
 */
export class Entries {
  readonly #slots: number;
  readonly #keys: KeyTable;
  readonly #handles = new Map<Handle, number>();
  /** The youngest slot of each principal; the others follow it through `#older`. */
  readonly #principals = new Map<string, number>();
  readonly #records: (SessionRecord | undefined)[] = [];
  /** Of the principals of those records. */
  readonly #epochs: number[] = [];
  readonly #keysOf: CredentialKey[][] = [];
  readonly #used: Uint8Array;
  readonly #older: Int32Array;
  readonly #younger: Int32Array;
  readonly #free: number[] = [];
  readonly #maxKeys: number;
  #hand = 0;
  evictions = 0;

  constructor(maxEntries: number) {
    this.#slots = maxEntries;
    // Most records are held by one key; those with a second one on offer make up for it by evicting sooner.
    this.#maxKeys = Math.ceil(maxEntries * 1.25) + 4;
    this.#keys = new KeyTable(this.#maxKeys);
    this.#used = new Uint8Array(maxEntries);
    this.#older = new Int32Array(maxEntries).fill(NONE);
    this.#younger = new Int32Array(maxEntries).fill(NONE);
  }

  get size(): number {
    return this.#handles.size;
  }

  /** The record whose current key has that digest and may be used at `now`, barriers aside. */
  recall(digest: SecretDigest, now: number): SessionRecord | undefined {
    const place = this.#keys.usable(digest, now);
    if (place === NONE) return undefined;
    this.#used[this.#keys.numberAt(place)] = 1;
    return this.#keys.recordAt(place);
  }

  find(key: CredentialKey): Found | undefined {
    const slot = this.#keys.get(key);
    // The table leaves the shard out of what it compares.
    if (slot === NONE || this.#keysOf[slot]?.includes(key) !== true) return undefined;
    this.#used[slot] = 1;
    return this.#at(slot);
  }

  get(handle: Handle): Found | undefined {
    const slot = this.#handles.get(handle);
    if (slot === undefined) return undefined;
    this.#used[slot] = 1;
    return this.#at(slot);
  }

  /** As `get`, without counting as a use. */
  peek(handle: Handle): Found | undefined {
    const slot = this.#handles.get(handle);
    return slot === undefined ? undefined : this.#at(slot);
  }

  /** Puts `found` in, in the place of what is there of the same handle, reachable by `keys` alone. */
  put(found: Found, keys: CredentialKey[]): void {
    const { record, epoch } = found;
    const { handle } = record;
    this.drop(handle);
    while (this.#handles.size >= this.#slots || this.#keys.size + keys.length > this.#maxKeys) this.#evict();
    const slot = this.#free.pop() ?? this.#records.length;
    this.#records[slot] = record;
    this.#epochs[slot] = epoch;
    this.#keysOf[slot] = keys;
    this.#used[slot] = 0;
    this.#handles.set(handle, slot);
    const { current } = record.credentials;
    const until = usableUntil(found);
    for (const key of keys) this.#keys.set(key, slot, record, key === current ? until : -Infinity);
    this.#enchain(slot, record.principal);
  }

  drop(handle: Handle): void {
    const slot = this.#handles.get(handle);
    if (slot !== undefined) this.#remove(slot);
  }

  dropPrincipal(principal: string): void {
    for (let slot = this.#principals.get(principal) ?? NONE; slot !== NONE;) {
      const older = this.#older[slot] ?? NONE;
      this.#remove(slot);
      slot = older;
    }
  }

  clear(): void {
    if (this.#records.length === 0) return;
    this.#keys.clear();
    this.#handles.clear();
    this.#principals.clear();
    this.#records.length = 0;
    this.#epochs.length = 0;
    this.#keysOf.length = 0;
    this.#free.length = 0;
    this.#used.fill(0);
    this.#older.fill(NONE);
    this.#younger.fill(NONE);
    this.#hand = 0;
  }

  #at(slot: number): Found | undefined {
    const record = this.#records[slot];
    return record === undefined ? undefined : { record, epoch: this.#epochs[slot] ?? 0 };
  }

  #evict(): void {
    for (;;) {
      const slot = this.#hand;
      this.#hand = slot + 1 < this.#records.length ? slot + 1 : 0;
      if (this.#records[slot] === undefined) continue;
      if (this.#used[slot] === 0) {
        this.#remove(slot);
        this.evictions++;
        return;
      }
      this.#used[slot] = 0;
    }
  }

  #remove(slot: number): void {
    const record = this.#records[slot];
    if (record === undefined) return;
    // A key that has since come to lead elsewhere is that other slot's.
    for (const key of this.#keysOf[slot] ?? []) if (this.#keys.get(key) === slot) this.#keys.delete(key);
    this.#handles.delete(record.handle);
    this.#unchain(slot, record.principal);
    this.#records[slot] = undefined;
    this.#keysOf[slot] = [];
    this.#free.push(slot);
  }

  #enchain(slot: number, principal: string | undefined): void {
    if (principal === undefined) return;
    const older = this.#principals.get(principal) ?? NONE;
    this.#older[slot] = older;
    this.#younger[slot] = NONE;
    if (older !== NONE) this.#younger[older] = slot;
    this.#principals.set(principal, slot);
  }

  #unchain(slot: number, principal: string | undefined): void {
    if (principal === undefined) return;
    const older = this.#older[slot] ?? NONE;
    const younger = this.#younger[slot] ?? NONE;
    if (older !== NONE) this.#younger[older] = younger;
    if (younger !== NONE) this.#older[younger] = older;
    else if (older === NONE) this.#principals.delete(principal);
    else this.#principals.set(principal, older);
  }
}
