import type { CredentialKey, Found, Handle } from "../../kernel/index.ts";

/** One cached record. `used` is the second chance it has when room is needed. */
export interface Entry {
  found: Found;
  readonly keys: CredentialKey[];
  readonly principal: string | undefined;
  used: boolean;
  /** Its neighbours among the entries of the same principal. */
  before: Entry | undefined;
  after: Entry | undefined;
}

/**
 * At most `maxEntries` records by key, by handle and by principal. A hit is one `Map.get`; eviction is the clock
 * algorithm with a standing iterator as its hand, so that making room never scans more than once around.
 */
export class Entries {
  readonly #maxEntries: number;
  readonly #byKey = new Map<CredentialKey, Entry>();
  readonly #byHandle = new Map<Handle, Entry>();
  /** The youngest entry of each principal, at the head of its chain. */
  readonly #byPrincipal = new Map<string, Entry>();
  #hand: MapIterator<Entry>;
  evictions = 0;

  constructor(maxEntries: number) {
    this.#maxEntries = maxEntries;
    this.#hand = this.#byHandle.values();
  }

  get size(): number {
    return this.#byHandle.size;
  }

  byKey(key: CredentialKey): Entry | undefined {
    return this.#byKey.get(key);
  }

  byHandle(handle: Handle): Entry | undefined {
    return this.#byHandle.get(handle);
  }

  /** Puts `found` in, or in the place of what is there of the same handle, reachable by `keys`. */
  put(found: Found, keys: readonly CredentialKey[]): void {
    let entry = this.#byHandle.get(found.record.handle);
    if (entry === undefined) {
      if (this.#byHandle.size >= this.#maxEntries) this.#evictOne();
      const { handle, principal } = found.record;
      entry = { found, keys: [], principal, used: false, before: undefined, after: undefined };
      this.#byHandle.set(handle, entry);
      this.#chain(entry);
    } else {
      entry.found = found;
      for (const key of entry.keys) if (!keys.includes(key)) this.#byKey.delete(key);
      entry.keys.length = 0;
    }
    for (const key of keys) {
      entry.keys.push(key);
      this.#byKey.set(key, entry);
    }
  }

  drop(handle: Handle): void {
    const entry = this.#byHandle.get(handle);
    if (entry !== undefined) this.#remove(entry);
  }

  dropPrincipal(principal: string): void {
    for (let entry = this.#byPrincipal.get(principal); entry !== undefined;) {
      const next = entry.after;
      this.#remove(entry);
      entry = next;
    }
  }

  clear(): void {
    this.#byKey.clear();
    this.#byHandle.clear();
    this.#byPrincipal.clear();
    this.#hand = this.#byHandle.values();
  }

  #evictOne(): void {
    for (;;) {
      const step = this.#hand.next();
      if (step.done === true) {
        this.#hand = this.#byHandle.values();
      } else if (step.value.used) {
        step.value.used = false;
      } else {
        this.#remove(step.value);
        this.evictions++;
        return;
      }
    }
  }

  #chain(entry: Entry): void {
    const { principal } = entry;
    if (principal === undefined) return;
    const head = this.#byPrincipal.get(principal);
    entry.after = head;
    if (head !== undefined) head.before = entry;
    this.#byPrincipal.set(principal, entry);
  }

  #remove(entry: Entry): void {
    const { principal } = entry;
    this.#byHandle.delete(entry.found.record.handle);
    for (const key of entry.keys) if (this.#byKey.get(key) === entry) this.#byKey.delete(key);
    if (entry.after !== undefined) entry.after.before = entry.before;
    if (entry.before !== undefined) entry.before.after = entry.after;
    else if (principal !== undefined) {
      if (entry.after === undefined) this.#byPrincipal.delete(principal);
      else this.#byPrincipal.set(principal, entry.after);
    }
    entry.before = undefined;
    entry.after = undefined;
  }
}
