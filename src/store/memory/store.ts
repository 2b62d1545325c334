import type { Barrier, BarrierDraft } from "../../kernel/barrier.ts";
import type { Clock } from "../../kernel/clock.ts";
import { systemClock } from "../../kernel/clock.ts";
import type { Following } from "../../kernel/following.ts";
import type { JournalDraft, JournalEntry } from "../../kernel/journal.ts";
import { isLongGone } from "../../kernel/nodes.ts";
import type { Json, SessionRecord } from "../../kernel/record.ts";
import { credentialKeys, dueAt, indexTerms, sameTerms } from "../../kernel/record.ts";
import { usableUntil } from "../../kernel/judge.ts";
import type { CredentialKey, Handle, SecretDigest } from "../../kernel/secret.ts";
import { digestOfKey } from "../../kernel/secret.ts";
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
import type { Due } from "./deadlines.ts";
import { Deadlines } from "./deadlines.ts";
import { parseCursor, RingJournal } from "./ring-journal.ts";
import { Terms } from "./terms.ts";
import { Tickets } from "./tickets.ts";

export interface MemoryOptions {
  /** For tickets that nobody took; the system's clock unless given. */
  readonly clock?: Clock;
  /** Journal entries kept for followers; 100,000 unless given. Timelines are kept apart from it. */
  readonly journalLimit?: number;
}

/**
 * The reference store: everything in this process, and gone with it, so that `durable` means no more than `visible`.
 * Reads answer at once. A record is kept as it was given; its `data` is copied and frozen, so that a program that
 * changes what it read cannot change the session without an update.
 */
export class MemoryStore implements SessionStore {
  readonly kind = "memory";
  readonly reach = "process";
  readonly #clock: Clock;
  readonly #rows = new Map<Handle, Row>();
  readonly #keys = new Map<CredentialKey, Row>();
  /** By the digest of the current key, what may be used with it. */
  readonly #usable = new Map<SecretDigest, Row>();
  readonly #terms = new Terms();
  readonly #due = new Deadlines<Row>();
  readonly #epochs = new Map<string, number>();
  readonly #barriers = new Map<string, Barrier>();
  #barrierSeq = 0;
  readonly #journal: RingJournal;
  readonly #tickets = new Tickets();
  readonly #nodes = new Map<string, NodeLease>();
  #closed = false;

  constructor(options: MemoryOptions = {}) {
    this.#clock = options.clock ?? systemClock;
    this.#journal = new RingJournal(options.journalLimit ?? 100_000);
  }

  find(key: CredentialKey): Found | undefined {
    this.#assertOpen();
    const row = this.#keys.get(key);
    return row === undefined ? undefined : this.#found(row);
  }

  recall(digest: SecretDigest, now: number): SessionRecord | undefined {
    const row = this.#usable.get(digest);
    if (row === undefined || this.#closed || now >= row.usableUntil) return undefined;
    const { record } = row;
    return record.epoch < this.#epochOf(record.principal) ? undefined : record;
  }

  get(handle: Handle): Found | undefined {
    this.#assertOpen();
    const row = this.#rows.get(handle);
    return row === undefined ? undefined : this.#found(row);
  }

  standing(principal: string | undefined): Standing {
    this.#assertOpen();
    return { epoch: this.#epochOf(principal), barrierSeq: this.#barrierSeq };
  }

  async create(
    record: SessionRecord,
    entries: readonly JournalDraft[],
    standing: Standing,
    _ack?: Ack,
  ): Promise<CreateOutcome> {
    this.#assertOpen();
    assertFirst(record);
    if (standing.barrierSeq !== this.#barrierSeq || standing.epoch !== this.#epochOf(record.principal)) {
      return "stale-standing";
    }
    const keys = credentialKeys(record);
    if (this.#rows.has(record.handle) || keys.some((key) => this.#keys.has(key))) return "exists";
    const row: Row = {
      record: ownData(record),
      usableUntil: -Infinity,
      digest: undefined,
      due: undefined,
      seat: -1,
      timeline: [],
    };
    this.#rows.set(record.handle, row);
    for (const key of keys) this.#keys.set(key, row);
    this.#noteUse(row);
    for (const term of indexTerms(record)) this.#terms.add(term, record.handle);
    this.#due.move(row, dueAt(record));
    this.#write(entries, row);
    return "created";
  }

  async update(
    prev: SessionRecord,
    next: SessionRecord,
    entries: readonly JournalDraft[],
    _ack?: Ack,
  ): Promise<UpdateOutcome> {
    this.#assertOpen();
    assertSuccessor(prev, next);
    const row = this.#rows.get(prev.handle);
    if (row === undefined) return "absent";
    if (row.record.version !== prev.version) return "conflict";
    if (next.credentials !== row.record.credentials && this.#leadsElsewhere(next, row)) return "conflict";
    this.#replace(row, next);
    this.#write(entries, row);
    return "updated";
  }

  async purge(record: SessionRecord): Promise<boolean> {
    this.#assertOpen();
    const row = this.#rows.get(record.handle);
    if (row === undefined || row.record.version !== record.version) return false;
    this.#rows.delete(record.handle);
    for (const key of credentialKeys(row.record)) this.#keys.delete(key);
    this.#forgetUse(row);
    for (const term of indexTerms(row.record)) this.#terms.delete(term, record.handle);
    this.#due.move(row, undefined);
    return true;
  }

  async list(query: ListQuery): Promise<ListPage> {
    this.#assertOpen();
    assertPage(query);
    const found: Found[] = [];
    for (const handle of this.#terms.walk(query.term, query.after)) {
      const last = found.at(-1);
      if (found.length === query.limit && last !== undefined) return { found, next: last.record.handle };
      const row = this.#rows.get(handle);
      if (row !== undefined) found.push(this.#found(row));
    }
    return { found };
  }

  async due(now: number, limit: number): Promise<readonly SessionRecord[]> {
    this.#assertOpen();
    const records: SessionRecord[] = [];
    for (const row of this.#due.until(now)) {
      if (records.length >= limit) break;
      records.push(row.record);
    }
    return records;
  }

  async append(entries: readonly JournalDraft[]): Promise<void> {
    this.#assertOpen();
    this.#write(entries);
  }

  async timeline(
    handle: Handle,
    options: { after?: string; limit?: number } = {},
  ): Promise<readonly JournalEntry[]> {
    this.#assertOpen();
    const timeline = this.#rows.get(handle)?.timeline ?? [];
    const after = options.after === undefined ? 0 : (parseCursor(options.after) ?? 0);
    const from = timeline.findIndex((entry) => Number(entry.cursor) > after);
    return from === -1 ? [] : timeline.slice(from, from + (options.limit ?? TIMELINE));
  }

  changes(from: string, options: { signal: AbortSignal }): Following {
    this.#assertOpen();
    return this.#journal.follow(from, options.signal);
  }

  async raiseEpoch(principal: string, keep: readonly Handle[], entry: JournalDraft): Promise<number> {
    this.#assertOpen();
    const old = this.#epochOf(principal);
    const epoch = old + 1;
    this.#epochs.set(principal, epoch);
    for (const handle of keep) {
      const row = this.#rows.get(handle);
      // One of an older epoch was revoked before: to keep it now would bring it back.
      if (row === undefined || row.record.principal !== principal || row.record.epoch !== old) continue;
      if (row.record.state !== "ended")
        this.#replace(row, { ...row.record, epoch, version: row.record.version + 1 });
    }
    this.#write([entry]);
    return epoch;
  }

  async raiseBarrier(draft: BarrierDraft, entry: JournalDraft): Promise<Barrier> {
    this.#assertOpen();
    const barrier = { ...draft, seq: ++this.#barrierSeq };
    this.#barriers.delete(draft.id);
    this.#barriers.set(draft.id, barrier);
    this.#write([entry]);
    return barrier;
  }

  async liftBarrier(id: string, entry: JournalDraft): Promise<boolean> {
    this.#assertOpen();
    if (!this.#barriers.delete(id)) return false;
    this.#write([entry]);
    return true;
  }

  async barriers(now: number): Promise<readonly Barrier[]> {
    this.#assertOpen();
    const standing: Barrier[] = [];
    for (const barrier of this.#barriers.values()) {
      if (barrier.until !== undefined && barrier.until <= now) this.#barriers.delete(barrier.id);
      else standing.push(barrier);
    }
    return standing;
  }

  async putTicket(key: string, value: Uint8Array, expiresAt: number): Promise<boolean> {
    this.#assertOpen();
    return this.#tickets.put(key, value, expiresAt, this.#clock.now());
  }

  async takeTicket(key: string, now: number): Promise<Uint8Array | undefined> {
    this.#assertOpen();
    return this.#tickets.take(key, now);
  }

  peekTicket(key: string, now: number): Uint8Array | undefined {
    this.#assertOpen();
    return this.#tickets.peek(key, now);
  }

  async dropTicket(key: string): Promise<void> {
    this.#assertOpen();
    this.#tickets.drop(key);
  }

  async putNode(node: NodeLease, expect: number): Promise<boolean> {
    this.#assertOpen();
    if ((this.#nodes.get(node.id)?.epoch ?? 0) !== expect) return false;
    if (node.epoch > expect)
      for (const one of this.#nodes.values()) if (isLongGone(one, node.startedAt)) this.#nodes.delete(one.id);
    this.#nodes.set(node.id, node);
    return true;
  }

  async nodes(): Promise<readonly NodeLease[]> {
    this.#assertOpen();
    return [...this.#nodes.values()];
  }

  stats(): Readonly<Record<string, number>> {
    this.#assertOpen();
    return {
      records: this.#rows.size,
      live: this.#terms.size("live"),
      ended: this.#terms.size("ended"),
      keys: this.#keys.size,
      due: this.#due.size,
      principals: this.#epochs.size,
      barriers: this.#barriers.size,
      journal: this.#journal.size,
      followers: this.#journal.followers,
      tickets: this.#tickets.size,
      nodes: this.#nodes.size,
    };
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#journal.fail(storeClosed(this.kind));
  }

  #assertOpen(): void {
    if (this.#closed) throw storeClosed(this.kind);
  }

  #found(row: Row): Found {
    return { record: row.record, epoch: this.#epochOf(row.record.principal) };
  }

  #epochOf(principal: string | undefined): number {
    return principal === undefined ? 0 : (this.#epochs.get(principal) ?? 0);
  }

  /** A key that is another session's must not be taken over. */
  #leadsElsewhere(next: SessionRecord, row: Row): boolean {
    return credentialKeys(next).some((key) => (this.#keys.get(key) ?? row) !== row);
  }

  #replace(row: Row, next: SessionRecord): void {
    const prev = row.record;
    if (next.credentials.current !== prev.credentials.current || next.state === "ended") this.#forgetUse(row);
    if (next.credentials !== prev.credentials) {
      for (const key of credentialKeys(prev)) this.#keys.delete(key);
      for (const key of credentialKeys(next)) this.#keys.set(key, row);
    }
    if (!sameTerms(prev, next)) {
      for (const term of indexTerms(prev)) this.#terms.delete(term, prev.handle);
      for (const term of indexTerms(next)) this.#terms.add(term, next.handle);
    }
    this.#due.move(row, dueAt(next));
    row.record = next.data === prev.data ? next : ownData(next);
    this.#noteUse(row);
  }

  #noteUse(row: Row): void {
    const { record } = row;
    const { current } = record.credentials;
    row.usableUntil = usableUntil({ record, epoch: record.epoch });
    if (current === undefined || record.state === "ended" || row.digest !== undefined) return;
    row.digest = digestOfKey(current);
    if (row.digest !== undefined) this.#usable.set(row.digest, row);
  }

  #forgetUse(row: Row): void {
    if (row.digest !== undefined) this.#usable.delete(row.digest);
    row.digest = undefined;
  }

  /** `row` is whose most entries are, so that it is not looked up again. */
  #write(drafts: readonly JournalDraft[], row?: Row): void {
    for (const draft of drafts) {
      const entry = this.#journal.write(draft);
      if (draft.handle === undefined) continue;
      const its = row?.record.handle === draft.handle ? row : this.#rows.get(draft.handle);
      if (its !== undefined) its.timeline = extended(its.timeline, entry);
    }
  }
}

interface Row extends Due {
  record: SessionRecord;
  /** As the kernel says of the record by itself; whether its principal's epoch has passed it by is asked each time. */
  usableUntil: number;
  /** Under which it stands in `#usable`. */
  digest: SecretDigest | undefined;
  timeline: JournalEntry[];
}

/** A session's newest entries that are kept at least. */
const TIMELINE = 1000;
const SHORT = 8;

/** A short timeline is copied: room to grow would take as much memory as all the entries of most sessions. */
function extended(timeline: JournalEntry[], entry: JournalEntry): JournalEntry[] {
  if (timeline.length < SHORT) return timeline.concat(entry);
  timeline.push(entry);
  if (timeline.length >= 2 * TIMELINE) timeline.splice(0, timeline.length - TIMELINE);
  return timeline;
}

function ownData(record: SessionRecord): SessionRecord {
  if (record.data === null || typeof record.data !== "object") return record;
  return { ...record, data: frozenCopy(record.data) };
}

function frozenCopy(value: Json): Json {
  if (value === null || typeof value !== "object") return value;
  if (isList(value)) return Object.freeze(value.map(frozenCopy));
  return Object.freeze(
    Object.fromEntries(Object.entries(value).map(([name, one]) => [name, frozenCopy(one)])),
  );
}

function isList(value: Json): value is readonly Json[] {
  return Array.isArray(value);
}
