import type {
  Ack,
  Barrier,
  BarrierDraft,
  Clock,
  CreateOutcome,
  CredentialKey,
  Following,
  Found,
  Handle,
  JournalDraft,
  JournalEntry,
  Json,
  ListPage,
  ListQuery,
  MaybePromise,
  NodeLease,
  ReadOptions,
  SecretDigest,
  SessionRecord,
  SessionStore,
  Standing,
  UpdateOutcome,
} from "../../kernel/index.ts";
import { HoldfastError, systemClock } from "../../kernel/index.ts";
import { Entries } from "./entries.ts";
import { Feed } from "./feed.ts";
import { Invalidations } from "./invalidations.ts";

export interface NearCacheOptions {
  /** How many records are held; the least used make room. 100,000 by default: about 100 MB of 1 KB records. */
  readonly maxEntries?: number;
  /**
   * For how long after a look into the store's journal what is held counts as current, and so how long a revocation
   * anywhere waits at most until it can say that nobody takes the session any more. 50 ms by default. Give all
   * processes on one store the same.
   */
  readonly staleMs?: number;
  readonly clock?: Clock;
}

/**
 * `store` with its live records held in this process: `find` and `get` answer at once, without a promise, when the
 * record is at hand. The store's change feed keeps it coherent, and while there is no feed nothing is held: every read
 * goes to the store.
 *
 * What another process changed is seen as soon as the feed brings it, milliseconds later, and never later than
 * `staleMs`: what is held is used only if the journal was looked into within that time, whatever the feed has brought.
 * Under traffic such looks go on in the background; without any, the first reads go to the store. `settled()` waits
 * until every process has either looked or stopped to use what it holds. A touch writes no journal entry, so a cached
 * record may be older than the stored one by touches; `{fresh: true}` reads past the cache.
 * Unknown keys and ended sessions are never held. `stats()` adds `nearHits`, `nearMisses`, `nearBypassed`,
 * `nearEntries`, `nearEvictions`, `nearFeedLive` (0 or 1) and `nearFeedLosses` to the store's own.
 *
 * Closing it closes the store.
 *
 * @throws HoldfastError `invalid-argument` when `maxEntries` is not a positive integer, or `staleMs` not a positive number.
 */
export function nearCache(store: SessionStore, options: NearCacheOptions = {}): SessionStore {
  const maxEntries = options.maxEntries ?? 100_000;
  if (!Number.isSafeInteger(maxEntries) || maxEntries < 1) {
    throw new HoldfastError("invalid-argument", "maxEntries is a whole number of records, at least 1.", {
      detail: { maxEntries },
    });
  }
  const staleMs = options.staleMs ?? 50;
  if (!(staleMs > 0 && staleMs <= 60_000)) {
    throw new HoldfastError("invalid-argument", "staleMs is above 0 and at most 60,000.", {
      detail: { staleMs },
    });
  }
  return new NearCache(store, maxEntries, staleMs, options.clock ?? systemClock);
}

class NearCache implements SessionStore {
  readonly kind: string;
  readonly reach: SessionStore["reach"];
  readonly #store: SessionStore;
  readonly #entries: Entries;
  readonly #invalidations = new Invalidations();
  readonly #feed: Feed;
  readonly #clock: Clock;
  readonly #staleMs: number;
  #live = false;
  /** All that was committed before this instant has been heard of. */
  #currentAt = -Infinity;
  #looking = false;
  #hits = 0;
  #misses = 0;
  #bypassed = 0;

  constructor(store: SessionStore, maxEntries: number, staleMs: number, clock: Clock) {
    this.kind = store.kind;
    this.reach = store.reach;
    this.#store = store;
    this.#clock = clock;
    this.#staleMs = staleMs;
    this.#entries = new Entries(maxEntries);
    this.#feed = new Feed(store, clock, {
      live: (since) => {
        this.#live = true;
        this.#currentAt = since;
      },
      entries: (entries) => {
        for (const entry of entries) this.#hear(entry);
      },
      lost: () => {
        this.#live = false;
        this.#entries.clear();
        this.#invalidations.voidMarks();
      },
    });
  }

  recall(digest: SecretDigest, now: number): SessionRecord | undefined {
    const record = this.#isCurrent(now) ? this.#entries.recall(digest, now) : undefined;
    if (record !== undefined) this.#hits++;
    return record;
  }

  // While the feed is lost there are no entries, so that a hit needs no second question.
  find(key: CredentialKey, options?: ReadOptions): MaybePromise<Found | undefined> {
    const found =
      options?.fresh === true || !this.#isCurrent(this.#clock.now()) ? undefined : this.#entries.find(key);
    if (found === undefined) return this.#keep(this.#store.find(key, options), key);
    this.#hits++;
    return found;
  }

  get(handle: Handle, options?: ReadOptions): MaybePromise<Found | undefined> {
    const found =
      options?.fresh === true || !this.#isCurrent(this.#clock.now()) ? undefined : this.#entries.get(handle);
    if (found === undefined) return this.#keep(this.#store.get(handle, options));
    this.#hits++;
    return found;
  }

  standing(principal: string | undefined): MaybePromise<Standing> {
    return this.#store.standing(principal);
  }

  async create(
    record: SessionRecord,
    entries: readonly JournalDraft[],
    standing: Standing,
    ack?: Ack,
  ): Promise<CreateOutcome> {
    const mark = this.#mark();
    const outcome = await this.#store.create(record, entries, standing, ack);
    if (outcome === "created") this.#insert({ record: ownData(record), epoch: standing.epoch }, mark);
    return outcome;
  }

  async update(
    prev: SessionRecord,
    next: SessionRecord,
    entries: readonly JournalDraft[],
    ack?: Ack,
  ): Promise<UpdateOutcome> {
    const mark = this.#mark();
    let outcome: UpdateOutcome | undefined;
    try {
      outcome = await this.#store.update(prev, next, entries, ack);
    } finally {
      // Not updated, or nobody knows: either way what is held here of the session is not to be trusted.
      if (outcome !== "updated") this.#invalidate(next.handle, Infinity);
    }
    if (outcome === "updated") this.#replace(next, mark);
    return outcome;
  }

  async purge(record: SessionRecord): Promise<boolean> {
    try {
      return await this.#store.purge(record);
    } finally {
      this.#invalidate(record.handle, Infinity);
    }
  }

  async raiseEpoch(principal: string, keep: readonly Handle[], entry: JournalDraft): Promise<number> {
    try {
      return await this.#store.raiseEpoch(principal, keep, entry);
    } finally {
      this.#invalidatePrincipal(principal);
    }
  }

  list(query: ListQuery): Promise<ListPage> {
    return this.#store.list(query);
  }

  due(now: number, limit: number): Promise<readonly SessionRecord[]> {
    return this.#store.due(now, limit);
  }

  append(entries: readonly JournalDraft[]): Promise<void> {
    return this.#store.append(entries);
  }

  timeline(handle: Handle, options?: { after?: string; limit?: number }): Promise<readonly JournalEntry[]> {
    return this.#store.timeline(handle, options);
  }

  changes(from: string, options: { signal: AbortSignal }): Following {
    return this.#store.changes(from, options);
  }

  raiseBarrier(draft: BarrierDraft, entry: JournalDraft): Promise<Barrier> {
    return this.#store.raiseBarrier(draft, entry);
  }

  liftBarrier(id: string, entry: JournalDraft): Promise<boolean> {
    return this.#store.liftBarrier(id, entry);
  }

  barriers(now: number): Promise<readonly Barrier[]> {
    return this.#store.barriers(now);
  }

  putTicket(key: string, value: Uint8Array, expiresAt: number): Promise<boolean> {
    return this.#store.putTicket(key, value, expiresAt);
  }

  takeTicket(key: string, now: number): Promise<Uint8Array | undefined> {
    return this.#store.takeTicket(key, now);
  }

  peekTicket(key: string, now: number): MaybePromise<Uint8Array | undefined> {
    return this.#store.peekTicket(key, now);
  }

  dropTicket(key: string): Promise<void> {
    return this.#store.dropTicket(key);
  }

  putNode(node: NodeLease, expect: number): Promise<boolean> {
    return this.#store.putNode(node, expect);
  }

  nodes(): Promise<readonly NodeLease[]> {
    return this.#store.nodes();
  }

  /** Longer than anybody uses what is held without a look, by what clocks that tick in milliseconds may be off. */
  settled(): Promise<void> {
    return new Promise((resolve) => this.#clock.after(this.#staleMs + TICK_MS, resolve, true));
  }

  async stats(): Promise<Readonly<Record<string, number>>> {
    return {
      ...(await this.#store.stats()),
      nearHits: this.#hits,
      nearMisses: this.#misses,
      nearBypassed: this.#bypassed,
      nearEntries: this.#entries.size,
      nearEvictions: this.#entries.evictions,
      nearFeedLive: this.#live ? 1 : 0,
      nearFeedLosses: this.#feed.losses,
    };
  }

  async close(): Promise<void> {
    await this.#feed.close();
    await this.#store.close();
  }

  /** Whether what is held may be used; looks again in good time before it may not. A clock set back counts as too old. */
  #isCurrent(now: number): boolean {
    const age = now - this.#currentAt;
    const current = age >= 0 && age < this.#staleMs;
    if (!current || age > this.#staleMs / 2) this.#look();
    return current;
  }

  #look(): void {
    if (this.#looking || !this.#live) return;
    this.#looking = true;
    const askedAt = this.#clock.now();
    const over = (): void => {
      this.#looking = false;
    };
    this.#feed.caughtUp().then(() => {
      this.#currentAt = askedAt;
      over();
    }, over);
  }

  /** What a read that begins now must hand to `#insert`; `undefined` while nothing may be held. */
  #mark(): number | undefined {
    return this.#live ? this.#invalidations.mark : undefined;
  }

  #keep(read: MaybePromise<Found | undefined>, key?: CredentialKey): MaybePromise<Found | undefined> {
    // The store cannot have heard of anything between its call and here: both are in this turn of the event loop.
    const mark = this.#mark();
    if (mark === undefined) {
      this.#bypassed++;
      return read;
    }
    this.#misses++;
    if (!(read instanceof Promise)) {
      if (read !== undefined) this.#insert(read, mark, key);
      return read;
    }
    return read.then((found) => {
      if (found !== undefined) this.#insert(found, mark, key);
      return found;
    });
  }

  #insert(found: Found, mark: number | undefined, key?: CredentialKey): void {
    const { record } = found;
    if (mark === undefined || record.state === "ended" || !this.#invalidations.allows(record, mark)) return;
    const held = this.#entries.peek(record.handle);
    if (held !== undefined && held.record.version > record.version) return;
    freeze(record.data);
    this.#entries.put(found, keysInUse(record, key));
  }

  /** This process's own write: what was held is replaced; what was not is left for the next read to bring. */
  #replace(next: SessionRecord, mark: number | undefined): void {
    const epoch = this.#entries.peek(next.handle)?.epoch;
    this.#invalidate(next.handle, next.version);
    if (epoch !== undefined) this.#insert({ record: ownData(next), epoch }, mark);
  }

  #hear(entry: JournalEntry): void {
    if (entry.handle !== undefined) this.#invalidate(entry.handle, entry.version ?? Infinity);
    if (entry.event === "epoch" && entry.principal !== undefined) this.#invalidatePrincipal(entry.principal);
  }

  /** Older than `version` is out of date; `Infinity` when it is not known which version the change made. */
  #invalidate(handle: Handle, version: number): void {
    this.#invalidations.note(handle, version);
    const held = this.#entries.peek(handle);
    if (held !== undefined && held.record.version < version) this.#entries.drop(handle);
  }

  #invalidatePrincipal(principal: string): void {
    this.#invalidations.note(principal, Infinity);
    this.#entries.dropPrincipal(principal);
  }
}

const TICK_MS = 2;

/** The keys that requests come with; what was retired is asked for so rarely that it is not worth its place. */
function keysInUse(record: SessionRecord, asked: CredentialKey | undefined): CredentialKey[] {
  const { current, pending, offered } = record.credentials;
  const keys: CredentialKey[] = [];
  if (current !== undefined) keys.push(current);
  if (pending !== undefined) keys.push(pending);
  if (offered !== undefined) keys.push(...offered);
  if (asked !== undefined && !keys.includes(asked)) keys.push(asked);
  return keys;
}

/** A record as its writer gave it, apart from the writer's own `data`: who changes that later changes no session. */
function ownData(record: SessionRecord): SessionRecord {
  return Object.isFrozen(record.data) ? record : { ...record, data: structuredClone(record.data) };
}

/** Many readers share what is held. */
function freeze(value: Json): void {
  if (value === null || typeof value !== "object" || Object.isFrozen(value)) return;
  Object.freeze(value);
  for (const one of Object.values<Json>(value)) freeze(one);
}
