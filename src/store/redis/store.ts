import type { Barrier, BarrierDraft } from "../../kernel/barrier.ts";
import type { Clock } from "../../kernel/clock.ts";
import { HoldfastError } from "../../kernel/errors.ts";
import type { Following } from "../../kernel/following.ts";
import type { JournalDraft, JournalEntry } from "../../kernel/journal.ts";
import type { SessionRecord } from "../../kernel/record.ts";
import { credentialKeys, dueAt, indexTerms } from "../../kernel/record.ts";
import type { CredentialKey, Handle } from "../../kernel/secret.ts";
import { parseHandle, shardOfHandle, shardOfKey, shardOfPrincipal } from "../../kernel/secret.ts";
import type {
  Ack,
  CreateOutcome,
  Found,
  ListPage,
  ListQuery,
  NodeLease,
  SessionStore,
  Standing,
  UpdateOutcome,
} from "../../kernel/store.ts";
import { assertFirst, assertSuccessor } from "../preconditions.ts";
import { parseCursor } from "./cursor.ts";
import type { Durability } from "./durability.ts";
import { DurableWrites } from "./durability.ts";
import { journalArgs, shardOfEntry, timelineEntry } from "./entries.ts";
import { storeFault } from "./faults.ts";
import { Feed } from "./feed.ts";
import { Governance, principalArg } from "./governance.ts";
import type { Shard } from "./layout.ts";
import { Layout } from "./layout.ts";
import type { Arg, RedisLink } from "./link.ts";
import { Listing } from "./listing.ts";
import { Lookups } from "./lookups.ts";
import type { Sender } from "./round-trips.ts";
import { RoundTrips } from "./round-trips.ts";
import * as scripts from "./scripts.ts";
import { encodeStored, listOf, splitNumber, textOf } from "./stored.ts";

export interface StoreSettings {
  readonly prefix: string;
  readonly timeoutMs: number;
  /** Entries kept for followers, over all shards. */
  readonly journalLimit: number;
  readonly heartbeatMs: number;
  readonly durable: Durability | undefined;
  readonly durableTimeoutMs: number;
  readonly clock: Clock;
}

/** Sessions in Redis or Valkey, one node or a cluster. docs/stores-redis.md tells what lies where. */
export class RedisStore implements SessionStore {
  readonly kind = "redis";
  readonly reach = "network";
  readonly #clock: Clock;
  readonly #layout: Layout;
  readonly #trips: RoundTrips;
  readonly #lookups: Lookups;
  readonly #listing: Listing;
  readonly #governance: Governance;
  readonly #durable: DurableWrites;
  readonly #feed: Feed;
  /** Entries kept in one shard's journal. */
  readonly #journalLength: number;
  readonly #closing = new AbortController();

  constructor(link: RedisLink, settings: StoreSettings) {
    this.#clock = settings.clock;
    this.#layout = new Layout(settings.prefix);
    this.#journalLength = Math.max(1, Math.ceil(settings.journalLimit / this.#layout.shards.length));
    this.#trips = new RoundTrips(link, settings.timeoutMs);
    this.#lookups = new Lookups(this.#trips);
    this.#listing = new Listing(this.#trips, this.#layout, this.#lookups);
    this.#governance = new Governance(this.#trips, this.#layout, this.#journalLength);
    this.#durable = new DurableWrites(this.#trips, settings.durable, settings.durableTimeoutMs);
    this.#feed = new Feed(this.#trips, this.#layout, settings.heartbeatMs, this.#closing.signal);
  }

  /** What an ack of `durable` rests on with this Redis as it is set up. */
  async durability(): Promise<Durability> {
    this.#trips.assertOpen();
    try {
      return await this.#durable.promised();
    } catch (error) {
      throw storeFault(error);
    }
  }

  async find(key: CredentialKey): Promise<Found | undefined> {
    this.#trips.assertOpen();
    const shard = shardOfKey(key);
    return shard === -1 ? undefined : this.#lookups.byKey(this.#layout.at(shard), key);
  }

  async get(handle: Handle): Promise<Found | undefined> {
    this.#trips.assertOpen();
    const shard = this.#shardOf(handle);
    return shard === undefined ? undefined : this.#lookups.byHandle(shard, handle);
  }

  async standing(principal: string | undefined): Promise<Standing> {
    return this.#governance.standing(principal);
  }

  async create(
    record: SessionRecord,
    entries: readonly JournalDraft[],
    standing: Standing,
    ack: Ack = "visible",
  ): Promise<CreateOutcome> {
    this.#trips.assertOpen();
    assertFirst(record);
    const shard = this.#homeOf(record);
    const credentials = credentialKeys(record);
    const terms = indexTerms(record).map((term) => shard.term(term));
    const keys = [shard.records, shard.keys, shard.due, shard.meta, shard.journal, shard.epochs, ...terms];
    const args: Arg[] = [
      this.#journalLength,
      record.handle,
      encodeStored(record),
      dueAt(record) ?? "",
      standing.epoch,
      standing.barrierSeq,
      principalArg(record.principal),
      credentials.length,
      terms.length,
      ...credentials,
      ...journalArgs(entries, shard, keys, record.handle),
    ];
    const sender = ack === "visible" ? undefined : await this.#sender();
    const { outcome } = await this.#trips.write(scripts.CREATE, shard, keys, args, sender);
    return outcome === "created" || outcome === "exists" ? outcome : "stale-standing";
  }

  async update(
    prev: SessionRecord,
    next: SessionRecord,
    entries: readonly JournalDraft[],
    ack: Ack = "visible",
  ): Promise<UpdateOutcome> {
    this.#trips.assertOpen();
    assertSuccessor(prev, next);
    if (parseHandle(prev.handle) === undefined) return "absent";
    const shard = this.#homeOf(next, prev);
    const sender = ack === "visible" ? undefined : await this.#sender();
    const write = keepsItsPlaces(prev, next)
      ? this.#rewriting(shard, prev, next, entries)
      : this.#moving(shard, prev, next, entries);
    const { outcome } = await this.#trips.write(write.script, shard, write.keys, write.args, sender);
    return outcome === "updated" || outcome === "absent" ? outcome : "conflict";
  }

  async purge(record: SessionRecord): Promise<boolean> {
    this.#trips.assertOpen();
    const shard = this.#shardOf(record.handle);
    if (shard === undefined) return false;
    const keys = [shard.records, shard.keys, shard.due, shard.timeline(record.handle)];
    for (const term of indexTerms(record)) keys.push(shard.term(term));
    const args = ["", record.handle, record.version, ...credentialKeys(record)];
    return (await this.#trips.write(scripts.PURGE, shard, keys, args)).outcome === "purged";
  }

  async list(query: ListQuery): Promise<ListPage> {
    return this.#listing.list(query);
  }

  async due(now: number, limit: number): Promise<readonly SessionRecord[]> {
    return this.#listing.due(now, limit);
  }

  async append(entries: readonly JournalDraft[]): Promise<void> {
    this.#trips.assertOpen();
    const byShard = new Map<number, JournalDraft[]>();
    for (const entry of entries) {
      const index = shardOfEntry(entry);
      byShard.set(index, [...(byShard.get(index) ?? []), entry]);
    }
    await Promise.all([...byShard].map(([index, own]) => this.#appendIn(this.#layout.at(index), own)));
  }

  async timeline(
    handle: Handle,
    options: { after?: string; limit?: number } = {},
  ): Promise<readonly JournalEntry[]> {
    this.#trips.assertOpen();
    const shard = this.#shardOf(handle);
    if (shard === undefined) return [];
    const after = options.after === undefined ? 0 : (parseCursor(options.after)?.at(shard.index) ?? 0);
    const texts = listOf(await this.#trips.ask(shard, ["LRANGE", shard.timeline(handle), 0, -1])).map(textOf);
    const from = texts.findIndex((text) => parseInt(text, 10) > after);
    if (from === -1) return [];
    return texts.slice(from, from + (options.limit ?? 1000)).map((text) => timelineEntry(text, shard.index));
  }

  changes(from: string, options: { signal: AbortSignal }): Following {
    this.#trips.assertOpen();
    return this.#feed.follow(from, options.signal);
  }

  async raiseEpoch(principal: string, keep: readonly Handle[], entry: JournalDraft): Promise<number> {
    return this.#governance.raiseEpoch(principal, keep, entry);
  }

  async raiseBarrier(draft: BarrierDraft, entry: JournalDraft): Promise<Barrier> {
    return this.#governance.raiseBarrier(draft, entry);
  }

  async liftBarrier(id: string, entry: JournalDraft): Promise<boolean> {
    return this.#governance.liftBarrier(id, entry);
  }

  async barriers(now: number): Promise<readonly Barrier[]> {
    return this.#governance.barriers(now);
  }

  async putTicket(key: string, value: Uint8Array, expiresAt: number): Promise<boolean> {
    const shard = this.#shardOfTicket(key);
    const now = this.#clock.now();
    const kept = `${Math.ceil(expiresAt)}:${Buffer.from(value).toString("base64")}`;
    // Expiry is by the caller's clock; Redis drops what nobody asked for a while later, by its own.
    const dropAfterMs = Math.max(0, Math.ceil(expiresAt - now)) + 60_000;
    const args = ["", now, kept, dropAfterMs];
    return (await this.#trips.write(scripts.PUT_TICKET, shard, [shard.ticket(key)], args)).outcome === "kept";
  }

  async takeTicket(key: string, now: number): Promise<Uint8Array | undefined> {
    const shard = this.#shardOfTicket(key);
    const { outcome, rest } = await this.#trips.write(scripts.TAKE_TICKET, shard, [shard.ticket(key)], []);
    return outcome === "taken" ? inTime(textOf(rest[0]), now) : undefined;
  }

  async peekTicket(key: string, now: number): Promise<Uint8Array | undefined> {
    const shard = this.#shardOfTicket(key);
    const kept = await this.#trips.ask(shard, ["GET", shard.ticket(key)]);
    return kept === null ? undefined : inTime(textOf(kept), now);
  }

  async dropTicket(key: string): Promise<void> {
    const shard = this.#shardOfTicket(key);
    await this.#trips.write(scripts.TAKE_TICKET, shard, [shard.ticket(key)], []);
  }

  async putNode(node: NodeLease, expect: number): Promise<boolean> {
    return this.#governance.putNode(node, expect);
  }

  async nodes(): Promise<readonly NodeLease[]> {
    return this.#governance.nodes();
  }

  async stats(): Promise<Readonly<Record<string, number>>> {
    const sizes = await this.#listing.sizes();
    const [records, keys, due, principals, journal, live, ended] = sizes;
    const held = { records, live, ended, keys, due, principals, journal };
    const known = Object.entries(held).map(([name, size]) => [name, size ?? 0] as const);
    return { ...Object.fromEntries(known), ...this.#trips.counts };
  }

  async close(): Promise<void> {
    if (this.#trips.closed) return;
    this.#trips.close();
    this.#durable.close();
    this.#closing.abort();
  }

  async #appendIn(shard: Shard, entries: readonly JournalDraft[]): Promise<void> {
    const keys = [shard.records, shard.meta, shard.journal];
    const args = [this.#journalLength, ...journalArgs(entries, shard, keys)];
    await this.#trips.write(scripts.APPEND, shard, keys, args);
  }

  #rewriting(
    shard: Shard,
    prev: SessionRecord,
    next: SessionRecord,
    entries: readonly JournalDraft[],
  ): Write {
    const keys = [shard.records, shard.due, shard.meta, shard.journal];
    const head = [
      this.#journalLength,
      prev.handle,
      prev.version,
      encodeStored(next),
      deadlineArg(prev, next),
    ];
    return {
      script: scripts.REWRITE,
      keys,
      args: head.concat(journalArgs(entries, shard, keys, prev.handle)),
    };
  }

  #moving(shard: Shard, prev: SessionRecord, next: SessionRecord, entries: readonly JournalDraft[]): Write {
    const credentials = difference(credentialKeys(prev), credentialKeys(next));
    const terms = difference(indexTerms(prev), indexTerms(next));
    const keys = [shard.records, shard.keys, shard.due, shard.meta, shard.journal];
    for (const term of [...terms.gone, ...terms.fresh]) keys.push(shard.term(term));
    const args: Arg[] = [
      this.#journalLength,
      prev.handle,
      prev.version,
      encodeStored(next),
      deadlineArg(prev, next),
      credentials.gone.length,
      credentials.fresh.length,
      terms.gone.length,
      terms.fresh.length,
      ...credentials.gone,
      ...credentials.fresh,
      ...journalArgs(entries, shard, keys, prev.handle),
    ];
    return { script: scripts.UPDATE, keys, args };
  }

  async #sender(): Promise<Sender | undefined> {
    try {
      return await this.#durable.sender();
    } catch (error) {
      throw storeFault(error);
    }
  }

  /** `undefined` for what cannot be a handle of ours, and so is absent. */
  #shardOf(handle: Handle): Shard | undefined {
    return parseHandle(handle) === undefined ? undefined : this.#layout.at(shardOfHandle(handle));
  }

  #shardOfTicket(key: string): Shard {
    return this.#layout.at(shardOfPrincipal(key));
  }

  /** Where a record is written: its handle, its keys and its principal (which never changes) must say the same. */
  #homeOf(record: SessionRecord, prev?: SessionRecord): Shard {
    const shard = this.#shardOf(record.handle);
    const principal = prev === undefined ? record.principal : undefined;
    const keys = record.credentials === prev?.credentials ? [] : credentialKeys(record);
    const elsewhere =
      shard === undefined ||
      (principal !== undefined && shardOfPrincipal(principal) !== shard.index) ||
      keys.some((key) => shardOfKey(key) !== shard.index);
    if (!elsewhere) return shard;
    throw new HoldfastError(
      "invalid-argument",
      "A session's handle and secrets are minted in the shard of its principal (shardOfPrincipal).",
      { detail: { handle: record.handle } },
    );
  }
}

interface Write {
  readonly script: scripts.Script;
  readonly keys: readonly string[];
  readonly args: readonly Arg[];
}

/** The value of a kept ticket, which is behind its expiry. */
function inTime(kept: string, now: number): Uint8Array | undefined {
  const { number: expiresAt, rest: value } = splitNumber(kept);
  return expiresAt <= now ? undefined : new Uint8Array(Buffer.from(value, "base64"));
}

/** True when `next` has the keys of `prev` and is in the same lists: principal and parent never change. */
function keepsItsPlaces(prev: SessionRecord, next: SessionRecord): boolean {
  return (
    prev.credentials === next.credentials &&
    (prev.state === "ended") === (next.state === "ended") &&
    prev.owner?.node === next.owner?.node &&
    prev.mechanism === next.mechanism &&
    prev.principal === next.principal &&
    prev.parent === next.parent
  );
}

function deadlineArg(prev: SessionRecord, next: SessionRecord): Arg {
  const due = dueAt(next);
  return due === dueAt(prev) ? "=" : (due ?? "");
}

function difference<T>(
  before: readonly T[],
  after: readonly T[],
): { gone: readonly T[]; fresh: readonly T[] } {
  return {
    gone: before.filter((one) => !after.includes(one)),
    fresh: after.filter((one) => !before.includes(one)),
  };
}
