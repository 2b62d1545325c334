import { statSync } from "node:fs";

import type { Barrier, BarrierDraft } from "../../kernel/barrier.ts";
import type { Clock } from "../../kernel/clock.ts";
import { systemClock } from "../../kernel/clock.ts";
import type { Following } from "../../kernel/following.ts";
import type { JournalDraft, JournalEntry } from "../../kernel/journal.ts";
import type { SessionRecord } from "../../kernel/record.ts";
import { decodeEntry, decodeRecord } from "../../kernel/record-codec.ts";
import type { CredentialKey, Handle } from "../../kernel/secret.ts";
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
import { assertFirst, assertPage, assertSuccessor, storeClosed } from "../preconditions.ts";
import { Environment } from "./environment.ts";
import { Feed } from "./feed.ts";
import * as governance from "./governance-writes.ts";
import { prepare, readNumber, writeEntries } from "./journal-writer.ts";
import * as layout from "./layout.ts";
import * as records from "./record-writes.ts";
import { upkeep } from "./upkeep.ts";

export interface LmdbOptions {
  /** The folder; made when it is not there. Several processes of one machine may share it, on a local file system. */
  readonly path: string;
  readonly clock?: Clock;
  /** Journal entries kept for followers; 500,000 unless given. Of several stores on a folder in a process the last decides. */
  readonly journalLimit?: number;
  /** How long journal entries are kept; 7 days unless given. Timelines are kept as long as their session's record. */
  readonly journalMaxAgeMs?: number;
  /**
   * How long a write waits for another process's write lock; 5,000 unless given. It is longer than for a store behind a
   * network: there is no connection that may be lost, only a neighbour that may be slow.
   */
  readonly timeoutMs?: number;
  /** How often a follower looks for other processes' entries when the watch on the data file says nothing; 250. */
  readonly pollMs?: number;
  /** Processes and threads that may read at once; 512 unless given. The first to open the folder decides. */
  readonly maxReaders?: number;
}

/** Sessions in a folder of this machine. Reads answer at once; writes are batched and answer when committed. */
export class LmdbStore implements SessionStore {
  readonly kind = "lmdb";
  readonly reach = "machine";
  readonly #clock: Clock;
  readonly #timeoutMs: number;
  readonly #environment: Environment;
  readonly #feed: Feed;
  #closed = false;
  #staleReaders = 0;

  /** @throws HoldfastError `store-unavailable`, `store-corrupt`: the folder cannot be used; the message says why. */
  constructor(options: LmdbOptions) {
    this.#clock = options.clock ?? systemClock;
    this.#timeoutMs = options.timeoutMs ?? 5000;
    this.#environment = Environment.use(options.path, options.maxReaders ?? 512);
    this.#environment.writes.upkeep = upkeep(this.#environment.db, {
      clock: this.#clock,
      journalLimit: options.journalLimit ?? 500_000,
      journalMaxAgeMs: options.journalMaxAgeMs ?? 7 * 86_400_000,
    });
    this.#feed = new Feed(this.#environment, options.pollMs ?? 250);
  }

  find(key: CredentialKey): Found | undefined {
    const { db } = this.#reading();
    const handle = layout.isLookupKey(key) ? db.keys.get(key) : undefined;
    return handle === undefined ? undefined : this.#found(handle as Handle);
  }

  get(handle: Handle): Found | undefined {
    this.#reading();
    return layout.isLookupKey(handle) ? this.#found(handle) : undefined;
  }

  standing(principal: string | undefined): Standing {
    const { db } = this.#reading();
    return {
      epoch: records.readEpoch(db, principal),
      barrierSeq: readNumber(db, layout.META.barrierSeq),
    };
  }

  async create(
    record: SessionRecord,
    entries: readonly JournalDraft[],
    standing: Standing,
    ack?: Ack,
  ): Promise<CreateOutcome> {
    assertFirst(record);
    return this.#write((db) => records.creation(db, record, entries, standing), ack);
  }

  async update(
    prev: SessionRecord,
    next: SessionRecord,
    entries: readonly JournalDraft[],
    ack?: Ack,
  ): Promise<UpdateOutcome> {
    assertSuccessor(prev, next);
    return this.#write((db) => records.replacement(db, prev, next, entries), ack);
  }

  async purge(record: SessionRecord): Promise<boolean> {
    return this.#write((db) => records.removal(db, record));
  }

  async list(query: ListQuery): Promise<ListPage> {
    const { db } = this.#reading();
    assertPage(query);
    const prefix = layout.termPrefix(query.term);
    const start = query.after === undefined ? prefix : `${prefix}${query.after}\u0001`;
    const range = { start, end: `${prefix}\u007f`, limit: query.limit + 1 };
    const handles = Array.from(db.terms.getKeys(range), layout.handleOfTermKey);
    const page = handles.slice(0, query.limit);
    const found = page.map((handle) => this.#found(handle)).filter((one) => one !== undefined);
    const next = handles.length > page.length ? page.at(-1) : undefined;
    return next === undefined ? { found } : { found, next };
  }

  async due(now: number, limit: number): Promise<readonly SessionRecord[]> {
    const { db } = this.#reading();
    const keys = [...db.due.getKeys({ end: layout.dueLimit(now), limit })];
    return keys
      .map((key) => this.#found(layout.handleOfDueKey(key))?.record)
      .filter((record) => record !== undefined);
  }

  async append(drafts: readonly JournalDraft[]): Promise<void> {
    await this.#write((db) => {
      const entries = prepare(drafts);
      return () => writeEntries(db, entries, (handle) => db.records.doesExist(handle));
    });
  }

  async timeline(
    handle: Handle,
    options: { after?: string; limit?: number } = {},
  ): Promise<readonly JournalEntry[]> {
    const { db, journalId } = this.#reading();
    if (!layout.isLookupKey(handle)) return [];
    const after = options.after === undefined ? 0 : (layout.decodeCursor(journalId, options.after) ?? 0);
    const range = {
      start: layout.timelineKey(handle, after + 1),
      end: `${handle}\u0080`,
      ...(options.limit === undefined ? {} : { limit: options.limit }),
    };
    return Array.from(db.timelines.getRange(range), ({ key, value }) =>
      Object.assign(decodeEntry(value), {
        cursor: layout.encodeCursor(journalId, layout.seqOfTimelineKey(key)),
      }),
    );
  }

  changes(from: string, options: { signal: AbortSignal }): Following {
    this.#assertOpen();
    return this.#feed.follow(from, options.signal);
  }

  async raiseEpoch(principal: string, keep: readonly Handle[], entry: JournalDraft): Promise<number> {
    return this.#write((db) => records.epochRaise(db, principal, keep, entry));
  }

  async raiseBarrier(draft: BarrierDraft, entry: JournalDraft): Promise<Barrier> {
    return this.#write((db) => governance.barrierRaise(db, draft, entry));
  }

  async liftBarrier(id: string, entry: JournalDraft): Promise<boolean> {
    return this.#write((db) => governance.barrierLift(db, id, entry));
  }

  async barriers(now: number): Promise<readonly Barrier[]> {
    const { db } = this.#reading();
    return governance.storedBarriers(db).filter(({ until }) => until === undefined || until > now);
  }

  async putTicket(key: string, value: Uint8Array, expiresAt: number): Promise<boolean> {
    return this.#write((db) => governance.ticketPut(db, key, value, expiresAt, this.#clock.now()));
  }

  async takeTicket(key: string, now: number): Promise<Uint8Array | undefined> {
    return this.#write((db) => governance.ticketTake(db, key, now));
  }

  peekTicket(key: string, now: number): Uint8Array | undefined {
    return governance.ticketPeek(this.#reading().db, key, now);
  }

  async dropTicket(key: string): Promise<void> {
    await this.#write((db) => governance.ticketTake(db, key, Infinity));
  }

  async putNode(node: NodeLease, expect: number): Promise<boolean> {
    return this.#write((db) => governance.nodeLease(db, node, expect));
  }

  async nodes(): Promise<readonly NodeLease[]> {
    return governance.storedNodes(this.#reading().db);
  }

  /**
   * `staleReaders`: places in the reader table that dead processes left and that were cleared; `readerLag`: transactions
   * since the snapshot that the slowest live reader still holds. While one is held, the file cannot reuse pages.
   */
  stats(): Readonly<Record<string, number>> {
    const { db, root, writes, dataFile } = this.#reading();
    this.#staleReaders += root.readerCheck();
    const last = numberIn(root.getStats(), "lastTxnId");
    const oldest = Math.min(last, ...snapshotsInUse(root.readerList()));
    const count = (name: layout.DatabaseName): number => numberIn(db[name].getStats(), "entryCount");
    return {
      records: count("records"),
      keys: count("keys"),
      due: count("due"),
      principals: count("epochs"),
      barriers: count("barriers"),
      journal: count("journal"),
      timelines: count("timelines"),
      tickets: count("tickets"),
      nodes: count("nodes"),
      followers: this.#feed.followers,
      writes: writes.jobs,
      batches: writes.batches,
      fileBytes: statSync(dataFile).size,
      readers: numberIn(root.getStats(), "numReaders"),
      staleReaders: this.#staleReaders,
      readerLag: last - oldest,
    };
  }

  /** A copy of the folder as it is now, into a folder that is empty or not there yet, while everybody goes on. */
  async backup(folder: string): Promise<void> {
    await this.#reading().copyTo(folder);
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#feed.fail(storeClosed(this.kind));
    await this.#environment.release();
  }

  #assertOpen(): void {
    if (this.#closed) throw storeClosed(this.kind);
  }

  #reading(): Environment {
    this.#assertOpen();
    this.#environment.freshen();
    return this.#environment;
  }

  #found(handle: Handle): Found | undefined {
    const { db } = this.#environment;
    const text = db.records.get(handle);
    if (text === undefined) return undefined;
    const record = decodeRecord(text);
    return { record, epoch: records.readEpoch(db, record.principal) };
  }

  /** `prepared` is made now, so that what cannot be written fails here; what it answers runs in the transaction. */
  #write<T>(prepared: (db: Environment["db"]) => () => T, ack: Ack = "visible"): Promise<T> {
    this.#assertOpen();
    return this.#environment.writes.run(prepared(this.#environment.db), ack, this.#timeoutMs);
  }
}

function numberIn(stats: object, name: string): number {
  const value: unknown = Object.entries(stats).find(([key]) => key === name)?.[1];
  return typeof value === "number" ? value : 0;
}

/** The transaction ids in LMDB's reader list, whose lines are `pid thread txnid`; `-` where none is held. */
function snapshotsInUse(list: string): number[] {
  const ids = list.split("\n").map((line) => Number(line.trim().split(/\s+/)[2]));
  return ids.filter((id) => Number.isInteger(id));
}
