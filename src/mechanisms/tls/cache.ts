import { createHash } from "node:crypto";
import type { Handle } from "../../kernel/index.ts";
import { parseHandle } from "../../kernel/index.ts";
import type { Keyring } from "./keyring.ts";
import type { Settings } from "./options.ts";
import { seal, unseal } from "./seal.ts";

/** A session that the store keeps for a client. */
export interface Cached {
  readonly handle: Handle;
  /** The session as OpenSSL writes it. */
  readonly state: Buffer;
}

export type Found = Cached | "unknown-id" | "unknown-key" | "old-key" | "tampered";

/**
 * Sessions in the store, found by the hash of the name their client has for them and sealed with the epoch's key; and
 * notes of tickets that were used. What this process put there never exceeds its bounds: the oldest give way first.
 */
export class SessionCache {
  readonly #settings: Settings;
  readonly #keyring: Keyring;
  /** What this process put, oldest first. Those that others took count until they would have expired. */
  readonly #account = new Map<string, Item>();
  readonly #byHandle = new Map<Handle, Set<string>>();
  #bytes = 0;
  #stored = 0;
  #evicted = 0;

  constructor(settings: Settings, keyring: Keyring) {
    this.#settings = settings;
    this.#keyring = keyring;
  }

  get stats(): Record<"entries" | "bytes" | "stored" | "evicted", number> {
    this.#forgetExpired();
    return {
      entries: this.#account.size,
      bytes: this.#bytes,
      stored: this.#stored,
      evicted: this.#evicted,
    };
  }

  /** False when it could not be kept: no key, too large, or that name is taken. */
  async put(name: Buffer, domain: string, cached: Cached): Promise<boolean> {
    const { kernel, maxTicketAgeMs, maxBytes } = this.#settings;
    const now = kernel.clock.now();
    const keys = this.#keyring.making(domain, now);
    if (keys === undefined) return false;
    const key = this.#keyOf(name);
    const sealed = seal(keys.cache, Buffer.concat([Buffer.from(cached.handle), cached.state]), key);
    const value = Buffer.concat([keys.name, sealed]);
    if (value.length > maxBytes) return false;
    const expiresAt = now + maxTicketAgeMs;
    if (!(await this.#makeRoom(key, { bytes: value.length, handle: cached.handle, expiresAt }))) return false;
    return kernel.store.putTicket(key, value, expiresAt);
  }

  /** `take`: for one resumption, so that exactly one caller gets it. */
  async find(name: Buffer, domain: string, take: boolean): Promise<Found> {
    const { store, clock } = this.#settings.kernel;
    const key = this.#keyOf(name);
    const now = clock.now();
    const value = await (take ? store.takeTicket(key, now) : store.peekTicket(key, now));
    if (take) this.#discount(key);
    if (value === undefined) return "unknown-id";
    const keyName = Buffer.from(value.subarray(0, KEY_NAME));
    const match = this.#keyring.accepted(keyName, domain, now);
    if (match === undefined)
      return this.#keyring.wasAccepted(keyName, domain, now) ? "old-key" : "unknown-key";
    const plain = unseal(match.keys.cache, value.subarray(KEY_NAME), key);
    const handle = plain && parseHandle(plain.toString("latin1", 0, HANDLE));
    return plain === undefined || handle === undefined
      ? "tampered"
      : { handle, state: plain.subarray(HANDLE) };
  }

  /** Notes that a ticket is being used. `used`: it was before. `full`: there is no room to remember it. */
  async use(ticket: Buffer): Promise<"first" | "used" | "full"> {
    const { kernel, maxTicketAgeMs, maxEntries } = this.#settings;
    this.#forgetExpired();
    // A note that gave way to another would let its ticket be used again.
    if (this.#account.size >= maxEntries) return "full";
    const expiresAt = kernel.clock.now() + maxTicketAgeMs;
    const key = this.#keyOf(ticket);
    this.#add(key, { bytes: 1, handle: undefined, expiresAt });
    return (await kernel.store.putTicket(key, Uint8Array.of(1), expiresAt)) ? "first" : "used";
  }

  /** Drops what this process has put there of a session. */
  async forget(handle: Handle): Promise<void> {
    const keys = [...(this.#byHandle.get(handle) ?? [])];
    for (const key of keys) this.#discount(key);
    await Promise.all(keys.map((key) => this.#settings.kernel.store.dropTicket(key)));
  }

  async #makeRoom(key: string, item: Item): Promise<boolean> {
    const { kernel, maxEntries, maxBytes } = this.#settings;
    this.#forgetExpired();
    this.#add(key, item);
    const dropped: string[] = [];
    for (const [oldest, { handle }] of this.#account) {
      if (this.#account.size <= maxEntries && this.#bytes <= maxBytes) break;
      if (oldest === key || handle === undefined) continue;
      this.#discount(oldest);
      dropped.push(oldest);
    }
    this.#evicted += dropped.length;
    await Promise.all(dropped.map((one) => kernel.store.dropTicket(one)));
    const fits = this.#account.size <= maxEntries && this.#bytes <= maxBytes;
    if (fits) this.#stored++;
    else this.#discount(key);
    return fits;
  }

  #forgetExpired(): void {
    const now = this.#settings.kernel.clock.now();
    for (const [key, { expiresAt }] of this.#account) {
      if (expiresAt > now) return;
      this.#discount(key);
    }
  }

  #add(key: string, item: Item): void {
    this.#discount(key);
    this.#account.set(key, item);
    this.#bytes += item.bytes;
    if (item.handle === undefined) return;
    const mine = this.#byHandle.get(item.handle);
    if (mine === undefined) this.#byHandle.set(item.handle, new Set([key]));
    else mine.add(key);
  }

  #discount(key: string): void {
    const item = this.#account.get(key);
    if (item === undefined) return;
    this.#account.delete(key);
    this.#bytes -= item.bytes;
    if (item.handle === undefined) return;
    const mine = this.#byHandle.get(item.handle);
    if (mine?.delete(key) === true && mine.size === 0) this.#byHandle.delete(item.handle);
  }

  /** The client's name for it is as good as the session, so the store sees its hash only. */
  #keyOf(name: Buffer): string {
    const { cluster } = this.#settings;
    return `tls:${createHash("sha256").update(`${cluster.length}:${cluster}`).update(name).digest("base64url")}`;
  }
}

interface Item {
  readonly bytes: number;
  /** Absent for the note of a used ticket. */
  readonly handle: Handle | undefined;
  readonly expiresAt: number;
}

const KEY_NAME = 16;
const HANDLE = 20;
