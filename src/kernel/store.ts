import type { Barrier, BarrierDraft } from "./barrier.ts";
import type { Following } from "./following.ts";
import type { JournalDraft, JournalEntry } from "./journal.ts";
import type { SessionRecord } from "./record.ts";
import type { CredentialKey, Handle, SecretDigest } from "./secret.ts";

/** Reads answer at once where the data is at hand, so that a request that hits a cache never waits for a tick. */
export type MaybePromise<T> = T | Promise<T>;

/**
 * Where sessions live. The kernel decides; a store keeps: each write is one transaction over the record, its credential
 * keys, its index terms (`indexTerms`), its deadline (`dueAt`) and its journal entries.
 *
 * Absence is `undefined`, never an error. Methods reject with `store-unavailable` within `timeoutMs` (250 by default)
 * when the system below is down, and with `store-closed` after `close()`.
 */
export interface SessionStore {
  /** `memory`, `lmdb`, `redis`, `postgres`, or a name of your own: for messages, metrics and the console. */
  readonly kind: string;
  /** Who sees what is written here: this process, the machine, or every node. */
  readonly reach: "process" | "machine" | "network";

  /**
   * The record that `key` leads to (in any of its credential slots, live or ended) with its principal's epoch. What is
   * answered at once may come from a cache; what a promise brings was read after the call.
   */
  find(key: CredentialKey, options?: ReadOptions): MaybePromise<Found | undefined>;
  get(handle: Handle, options?: ReadOptions): MaybePromise<Found | undefined>;
  /**
   * The record whose current secret has that digest, if it is at hand and nothing but a barrier keeps it from being used
   * at `now` (`usableUntil`). `undefined` says nothing at all: `find` does. Absent where nothing is cached.
   */
  recall?(digest: SecretDigest, now: number): SessionRecord | undefined;
  /** What a new session must be created against. */
  standing(principal: string | undefined): MaybePromise<Standing>;

  /** Writes a record (version 1) if neither its handle nor any of its keys exist and `standing` is still true. */
  create(
    record: SessionRecord,
    entries: readonly JournalDraft[],
    standing: Standing,
    ack?: Ack,
  ): Promise<CreateOutcome>;
  /**
   * Replaces `prev` by `next` (same handle, `next.version === prev.version + 1`) if the stored version is `prev.version`.
   * Keys, terms and deadline of `prev` that `next` no longer has are gone with the same transaction.
   */
  update(
    prev: SessionRecord,
    next: SessionRecord,
    entries: readonly JournalDraft[],
    ack?: Ack,
  ): Promise<UpdateOutcome>;
  /** Forgets a record of this version wholly: keys, terms, deadline and timeline. False when it is not there any more. */
  purge(record: SessionRecord): Promise<boolean>;

  /** Records of one index term in the order of their handles. */
  list(query: ListQuery): Promise<ListPage>;
  /** Records whose `dueAt` is at or before `now`, nearest deadline first, at most `limit`. */
  due(now: number, limit: number): Promise<readonly SessionRecord[]>;

  /** Writes journal entries that go with no change of a record. */
  append(entries: readonly JournalDraft[]): Promise<void>;
  /** A session's entries, oldest first, after `cursor`. Kept until the record is purged, the newest 1,000 at least. */
  timeline(handle: Handle, options?: { after?: string; limit?: number }): Promise<readonly JournalEntry[]>;
  /**
   * Follows the journal after the cursor `from`, or from now on when it is `"now"`. At least once, in order per session; begins with what was
   * missed, then `live`, then entries as they come. The iterator throws `store-unavailable` when the feed is lost and
   * ends when `signal` is aborted.
   */
  changes(from: string, options: { signal: AbortSignal }): Following;
  /**
   * Resolves when no cache of any process answers any more with what had been replaced before this call. Absent where
   * nothing is cached.
   */
  settled?(): Promise<void>;

  /** Raises a principal's epoch and carries the live sessions in `keep` over into it. Returns the new epoch. */
  raiseEpoch(principal: string, keep: readonly Handle[], entry: JournalDraft): Promise<number>;
  /** Adds a barrier with the next sequence number. Creates whose standing is older are refused from here on. */
  raiseBarrier(draft: BarrierDraft, entry: JournalDraft): Promise<Barrier>;
  /** False when there is none of that id. */
  liftBarrier(id: string, entry: JournalDraft): Promise<boolean>;
  /** Every barrier not lifted and not past its `until` at `now`, by sequence. Older ones may be forgotten on the way. */
  barriers(now: number): Promise<readonly Barrier[]>;

  /** Keeps `value` under `key` until `expiresAt`, for exactly one taker. False when the key is taken already. */
  putTicket(key: string, value: Uint8Array, expiresAt: number): Promise<boolean>;
  /** The value, to exactly one caller; `undefined` to everybody else and after `expiresAt`. */
  takeTicket(key: string, now: number): Promise<Uint8Array | undefined>;
  /** The value without taking it, for what many may read until it expires. */
  peekTicket(key: string, now: number): MaybePromise<Uint8Array | undefined>;
  /** Drops a ticket untaken. */
  dropTicket(key: string): Promise<void>;

  /**
   * Writes a node's lease if its stored fencing epoch is `expect` (0: there is none). False when another process has it.
   * With an epoch above `expect` a name is taken: leases that are `isLongGone` at `node.startedAt` are forgotten then.
   */
  putNode(node: NodeLease, expect: number): Promise<boolean>;
  nodes(): Promise<readonly NodeLease[]>;

  /** What the store did and holds, for metrics and the health screen. Names are stable per store. */
  stats(): MaybePromise<Readonly<Record<string, number>>>;
  close(): Promise<void>;
}

export interface ReadOptions {
  /** Past every cache. A touch is not journalled, so a cached record may look expired when the stored one is not. */
  readonly fresh?: boolean;
}

export interface Found {
  readonly record: SessionRecord;
  /** The principal's epoch now; 0 when it was never raised or the session is anonymous. */
  readonly epoch: number;
}

export interface Standing {
  readonly epoch: number;
  readonly barrierSeq: number;
}

/** `visible`: every process sees it, and a kill -9 of this one does not undo it. `durable`: nor does a power loss. */
export type Ack = "visible" | "durable";

export type CreateOutcome = "created" | "exists" | "stale-standing";
export type UpdateOutcome = "updated" | "conflict" | "absent";

export interface ListQuery {
  /** One of `indexTerms`. */
  readonly term: string;
  /** Handles after this one only. */
  readonly after?: Handle;
  /** 1 to 1,000. */
  readonly limit: number;
}

export interface ListPage {
  readonly found: readonly Found[];
  /** Where to go on; absent when this was the last page. */
  readonly next?: Handle;
}

/** A process's promise to be alive until `until`. `epoch` rises each time a process takes the name. */
export interface NodeLease {
  readonly id: string;
  readonly epoch: number;
  readonly startedAt: number;
  readonly until: number;
  /** Set when it stopped of its own accord, or its sessions were taken over. */
  readonly gone?: boolean;
  /** What it says of itself: version, pid, addresses of its listeners. */
  readonly about?: { readonly [key: string]: string | number };
}
