import type {
  Ack,
  Barrier,
  BarrierDraft,
  CreateOutcome,
  Following,
  CredentialKey,
  Found,
  Handle,
  JournalDraft,
  JournalEntry,
  ListPage,
  ListQuery,
  NodeLease,
  SessionRecord,
  SessionStore,
  Standing,
  UpdateOutcome,
} from "../../kernel/index.ts";
import { assertFirst, assertPage, assertSuccessor, storeClosed } from "../preconditions.ts";
import type { PostgresPool } from "./client.ts";
import { Database } from "./database.ts";
import { Governance } from "./governance.ts";
import { Janitor } from "./janitor.ts";
import { Journal } from "./journal.ts";
import { migrate } from "./migrate.ts";
import type { PostgresConnection, PostgresOptions, Settings } from "./options.ts";
import { settingsFrom } from "./options.ts";
import { Reads } from "./reads.ts";
import { Wake } from "./wake.ts";
import { Writes } from "./writes.ts";

/**
 * Sessions in PostgreSQL 13 or later: one schema, brought up to date by whoever opens it first. `target` is a URL,
 * connection options, or a pool of `pg`, which is then yours to end.
 *
 * Everything that is asked for in one turn of the event loop goes in one statement, with an outcome for each item.
 * What is not answered within `timeoutMs` is `store-unavailable`; a write that ended so was done wholly or not at all,
 * or may yet be done while the server still holds it: read again before you tell. A second attempt does no harm, for it
 * meets the version, the handle or the ticket the first one left.
 *
 * @throws HoldfastError `invalid-argument` for an option that makes no sense. Its methods reject with `unsupported` when
 * a newer release has changed the schema, or when it is to be changed and `migrate` is false.
 */
export function postgres(
  target: string | PostgresConnection | PostgresPool,
  options: PostgresOptions = {},
): SessionStore {
  return new PostgresStore(target, settingsFrom(options));
}

class PostgresStore implements SessionStore {
  readonly kind = "postgres";
  readonly reach = "network";
  readonly #settings: Settings;
  readonly #database: Database;
  readonly #reads: Reads;
  readonly #writes: Writes;
  readonly #governance: Governance;
  readonly #journal: Journal;
  readonly #wake: Wake;
  readonly #janitor: Janitor;
  #isReady = false;
  #settingUp: Promise<void> | undefined;
  #closing: Promise<void> | undefined;

  constructor(target: string | PostgresConnection | PostgresPool, settings: Settings) {
    this.#settings = settings;
    this.#database = new Database(target, settings);
    this.#wake = new Wake(this.#database, settings);
    this.#janitor = new Janitor(this.#database, settings);
    const wrote = (entries: number): void => {
      if (entries === 0) return;
      this.#wake.wrote();
      this.#janitor.wrote(entries);
    };
    this.#reads = new Reads(this.#database, settings);
    this.#writes = new Writes(this.#database, settings, wrote);
    this.#governance = new Governance(this.#database, settings, this.#reads, wrote);
    this.#journal = new Journal(this.#database, settings, () => this.#setUp(), this.#wake);
  }

  find(key: CredentialKey): Promise<Found | undefined> {
    // By far the most frequent: without a function made for each.
    return this.#isReady && this.#closing === undefined
      ? this.#reads.find(key)
      : this.#when(() => this.#reads.find(key));
  }

  get(handle: Handle): Promise<Found | undefined> {
    return this.#when(() => this.#reads.get(handle));
  }

  standing(principal: string | undefined): Promise<Standing> {
    return this.#when(() => this.#reads.standing(principal));
  }

  async create(
    record: SessionRecord,
    entries: readonly JournalDraft[],
    standing: Standing,
    ack?: Ack,
  ): Promise<CreateOutcome> {
    assertFirst(record);
    return this.#when(() => this.#writes.create({ record, entries, standing, durable: ack === "durable" }));
  }

  async update(
    prev: SessionRecord,
    next: SessionRecord,
    entries: readonly JournalDraft[],
    ack?: Ack,
  ): Promise<UpdateOutcome> {
    assertSuccessor(prev, next);
    // A server that crashes must not bring back what was ended, nor a secret that was replaced.
    const final = next.state === "ended" || next.credentials.current !== prev.credentials.current;
    return this.#when(() =>
      this.#writes.update({ prev, next, entries, durable: final || ack === "durable" }),
    );
  }

  purge(record: SessionRecord): Promise<boolean> {
    return this.#when(() => this.#writes.purge(record));
  }

  async list(query: ListQuery): Promise<ListPage> {
    assertPage(query);
    return this.#when(() => this.#reads.list(query));
  }

  due(now: number, limit: number): Promise<readonly SessionRecord[]> {
    return this.#when(() => this.#reads.due(now, limit));
  }

  append(entries: readonly JournalDraft[]): Promise<void> {
    return this.#when(() => this.#writes.append(entries));
  }

  timeline(
    handle: Handle,
    options: { after?: string; limit?: number } = {},
  ): Promise<readonly JournalEntry[]> {
    return this.#when(() => this.#reads.timeline(handle, options));
  }

  changes(from: string, options: { signal: AbortSignal }): Following {
    return this.#journal.follow(from, options.signal);
  }

  raiseEpoch(principal: string, keep: readonly Handle[], entry: JournalDraft): Promise<number> {
    return this.#when(() => this.#governance.raiseEpoch(principal, keep, entry));
  }

  raiseBarrier(draft: BarrierDraft, entry: JournalDraft): Promise<Barrier> {
    return this.#when(() => this.#governance.raiseBarrier(draft, entry));
  }

  liftBarrier(id: string, entry: JournalDraft): Promise<boolean> {
    return this.#when(() => this.#governance.liftBarrier(id, entry));
  }

  barriers(now: number): Promise<readonly Barrier[]> {
    return this.#when(() => this.#governance.barriers(now));
  }

  putTicket(key: string, value: Uint8Array, expiresAt: number): Promise<boolean> {
    return this.#when(() => this.#governance.putTicket(key, value, expiresAt));
  }

  takeTicket(key: string, now: number): Promise<Uint8Array | undefined> {
    return this.#when(() => this.#governance.takeTicket(key, now));
  }

  peekTicket(key: string, now: number): Promise<Uint8Array | undefined> {
    return this.#when(() => this.#governance.peekTicket(key, now));
  }

  async dropTicket(key: string): Promise<void> {
    await this.#when(() => this.#governance.takeTicket(key, Infinity));
  }

  putNode(node: NodeLease, expect: number): Promise<boolean> {
    return this.#when(() => this.#governance.putNode(node, expect));
  }

  nodes(): Promise<readonly NodeLease[]> {
    return this.#when(() => this.#governance.nodes());
  }

  /** Counts of rows are PostgreSQL's estimates. */
  stats(): Promise<Readonly<Record<string, number>>> {
    return this.#when(async () => ({
      ...(await this.#reads.sizes()),
      ...this.#reads.stats(),
      ...this.#writes.stats(),
      statements: this.#database.statements,
      brokenIdleConnections: this.#database.brokenIdle,
      followers: this.#wake.followers,
      lostNotifications: this.#wake.lostNotifications,
      lostListeners: this.#wake.lostListeners,
      trimmedEntries: this.#janitor.trimmed,
      trimFailures: this.#janitor.failures,
    }));
  }

  close(): Promise<void> {
    return (this.#closing ??= this.#close());
  }

  async #close(): Promise<void> {
    const closed = storeClosed(this.kind);
    this.#reads.close(closed);
    this.#writes.close(closed);
    this.#governance.close(closed);
    this.#wake.close();
    await this.#janitor.close();
    await this.#database.close();
  }

  #when<T>(run: () => Promise<T>): Promise<T> {
    if (this.#closing !== undefined) return Promise.reject(storeClosed(this.kind));
    return this.#isReady ? run() : this.#setUp().then(run);
  }

  /** The schema is there. Who fails at that is followed by others who try again. */
  #setUp(): Promise<void> {
    if (this.#isReady) return Promise.resolve();
    this.#settingUp ??= migrate(this.#database, this.#settings).then(
      () => {
        this.#isReady = true;
      },
      (error: unknown) => {
        this.#settingUp = undefined;
        throw error;
      },
    );
    return this.#settingUp;
  }
}
