import type { NetbiosName } from "../codec/name.ts";
import { nameKey } from "../codec/name.ts";
import type { AddressEntry } from "../codec/name-service.ts";

/** A name and who has it. */
export interface Owned {
  readonly name: NetbiosName;
  readonly group: boolean;
  /** One for a unique name, but several for a host with several addresses; each member of a group. */
  readonly entries: readonly OwnedEntry[];
}

export interface OwnedEntry extends AddressEntry {
  /** When it is forgotten unless refreshed; absent: never. */
  readonly until?: number;
}

export interface NameTableLimits {
  readonly names: number;
  /** Registered names of one address. */
  readonly perAddress: number;
}

/** The names a name server knows. Entries are gone at their instant, whether or not `sweep` has come by. */
export class NameTable {
  readonly #names = new Map<string, Owned>();
  readonly #limits: NameTableLimits;

  constructor(limits: NameTableLimits) {
    this.#limits = limits;
  }

  get size(): number {
    return this.#names.size;
  }

  find(name: NetbiosName, now: number): Owned | undefined {
    const key = nameKey(name);
    const owned = this.#names.get(key);
    if (owned === undefined) return undefined;
    const entries = owned.entries.filter(({ until }) => until === undefined || until > now);
    if (entries.length === owned.entries.length) return owned;
    return this.#put(key, { ...owned, entries });
  }

  /** Adds an owner, or moves its deadline. False when the table, the name or the address is full. */
  add(name: NetbiosName, entry: OwnedEntry, now: number): boolean {
    const key = nameKey(name);
    const owned = this.find(name, now);
    const others = (owned?.entries ?? []).filter(({ address }) => address !== entry.address);
    if (others.length === owned?.entries.length || owned === undefined) {
      if (owned === undefined && this.#names.size >= this.#limits.names) return false;
      if (others.length >= MAX_OWNERS || this.#countOf(entry.address) >= this.#limits.perAddress)
        return false;
    }
    this.#put(key, { name, group: entry.group, entries: [...others, entry] });
    return true;
  }

  /** Takes one owner off, or with no address all of them. */
  remove(name: NetbiosName, address?: string): void {
    const key = nameKey(name);
    const owned = this.#names.get(key);
    if (owned === undefined) return;
    const entries = address === undefined ? [] : owned.entries.filter((entry) => entry.address !== address);
    this.#put(key, { ...owned, entries });
  }

  /** Drops what has expired; returns how many names are gone. */
  sweep(now: number): number {
    const before = this.#names.size;
    for (const { name } of this.#names.values()) this.find(name, now);
    return before - this.#names.size;
  }

  *[Symbol.iterator](): Generator<Owned, void, undefined> {
    yield* this.#names.values();
  }

  #put(key: string, owned: Owned): Owned | undefined {
    if (owned.entries.length === 0) {
      this.#names.delete(key);
      return undefined;
    }
    this.#names.set(key, owned);
    return owned;
  }

  #countOf(wanted: string): number {
    let count = 0;
    for (const { entries } of this.#names.values()) {
      if (entries.some(({ address, until }) => until !== undefined && address === wanted)) count++;
    }
    return count;
  }
}

/** What fits a response of 576 bytes with room to spare; as many members as other name servers keep of a group. */
const MAX_OWNERS = 25;
