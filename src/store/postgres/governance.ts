import type { Barrier, BarrierDraft, Found, Handle, JournalDraft, NodeLease } from "../../kernel/index.ts";
import {
  encodeEntry,
  encodeRecord,
  HoldfastError,
  isLongGone,
  shardOfPrincipal,
} from "../../kernel/index.ts";
import type { PostgresRow, PostgresStatement } from "./client.ts";
import { booleanIn, bytesIn, listIn, numberIn, prepared, textIn } from "./client.ts";
import { Coalescer } from "./coalescer.ts";
import { column } from "./column.ts";
import type { Database } from "./database.ts";
import { decodeBarrier, decodeLease } from "./documents.ts";
import type { Settings } from "./options.ts";
import type { Reads } from "./reads.ts";
import { inOrder } from "./sorted.ts";
import { places, wait } from "./writes.ts";

type Prepared = (values: unknown[]) => PostgresStatement;

interface Ticket {
  readonly key: string;
  readonly value: Uint8Array;
  readonly expiresAt: number;
}

/** What stands above single sessions (epochs, barriers, nodes), and single-use values. */
export class Governance {
  readonly #database: Database;
  readonly #settings: Settings;
  readonly #reads: Reads;
  readonly #wrote: (entries: number) => void;
  readonly #puts: Coalescer<Ticket, boolean>;
  readonly #takes: Coalescer<string, { value: Uint8Array; expiresAt: number } | undefined>;
  readonly #raiseEpoch: Prepared;
  readonly #raiseBarrier: Prepared;
  readonly #liftBarrier: Prepared;
  readonly #barriers: Prepared;
  readonly #putNode: Prepared;
  readonly #nodes: Prepared;
  readonly #forgetLeases: Prepared;
  readonly #put: Prepared;
  readonly #take: Prepared;
  readonly #peek: Prepared;

  constructor(database: Database, settings: Settings, reads: Reads, wrote: (entries: number) => void) {
    this.#database = database;
    this.#settings = settings;
    this.#reads = reads;
    this.#wrote = wrote;
    const { timeoutMs, maxBatch } = settings;
    const S = `"${settings.schema}"`;
    this.#raiseEpoch = prepared(`select ${S}.raise_epoch(${places(9)}) as epoch`);
    this.#raiseBarrier = prepared(`select ${S}.raise_barrier(${places(6)}) as seq`);
    this.#liftBarrier = prepared(`select ${S}.lift_barrier(${places(4)}) as done`);
    this.#barriers = prepared(
      `select seq::float8, barrier from ${S}.barrier where until is null or until > $1 order by seq`,
    );
    this.#putNode = prepared(`select ${S}.put_node(${places(5)}) as done`);
    this.#nodes = prepared(`select lease from ${S}.node order by id`);
    this.#forgetLeases = prepared(`delete from ${S}.node where lease = any($1)`);
    this.#put = prepared(`select ${S}.put_tickets(${places(5)}) as kept`);
    this.#take = prepared(`select * from ${S}.take_tickets(${places(2)})`);
    this.#peek = prepared(`select value from ${S}.ticket where key = $1 and expires_at > $2`);
    this.#puts = new Coalescer({
      run: (tickets, ms) => this.#putAll(tickets, ms),
      identity: ({ key }) => key,
      maxBatch,
      lanes: 2,
      timeoutMs,
    });
    this.#takes = new Coalescer({
      run: (keys, ms) => this.#takeAll(keys, ms),
      identity: (key) => key,
      maxBatch,
      lanes: 2,
      timeoutMs,
    });
  }

  async raiseEpoch(principal: string, keep: readonly Handle[], entry: JournalDraft): Promise<number> {
    const until = performance.now() + this.#settings.timeoutMs;
    do {
      const raised = await this.#tryToRaise(principal, keep, entry);
      if (raised !== undefined) return raised;
    } while (performance.now() < until);
    throw new HoldfastError(
      "store-unavailable",
      "The sessions to keep changed faster than they could be kept; try again.",
    );
  }

  /** Reads what is to be kept, then writes it unless any of it has changed meanwhile. */
  async #tryToRaise(
    principal: string,
    keep: readonly Handle[],
    entry: JournalDraft,
  ): Promise<number | undefined> {
    const { epoch, kept } = await this.#toKeep(principal, keep);
    const values = [
      column(principal),
      shardOfPrincipal(principal),
      epoch,
      kept.map(({ record }) => column(record.handle)),
      kept.map(({ record }) => record.version),
      kept.map(({ record }) =>
        encodeRecord({ ...record, epoch: record.epoch + 1, version: record.version + 1 }),
      ),
      encodeEntry(entry),
    ];
    const row = await this.#one((ms) => this.#raiseEpoch([...values, this.#now(), wait(ms)]));
    if (row["epoch"] === null) return undefined;
    this.#wrote(1);
    return numberIn(row, "epoch");
  }

  async #toKeep(
    principal: string,
    keep: readonly Handle[],
  ): Promise<{ epoch: number | null; kept: readonly Found[] }> {
    if (keep.length === 0) return { epoch: null, kept: [] };
    const [{ epoch }, founds] = await Promise.all([
      this.#reads.standing(principal),
      Promise.all([...new Set(keep)].map((handle) => this.#reads.get(handle))),
    ]);
    const there = founds.filter((found) => found !== undefined);
    const kept = there.filter((found) => isCurrent(found, principal, epoch));
    return { epoch, kept: kept.sort((a, b) => (a.record.handle < b.record.handle ? -1 : 1)) };
  }

  async raiseBarrier(draft: BarrierDraft, entry: JournalDraft): Promise<Barrier> {
    const values = [column(draft.id), draft.until ?? null, JSON.stringify(draft), encodeEntry(entry)];
    const row = await this.#one((ms) => this.#raiseBarrier([...values, this.#now(), wait(ms)]));
    this.#wrote(1);
    return { ...draft, seq: numberIn(row, "seq") };
  }

  async liftBarrier(id: string, entry: JournalDraft): Promise<boolean> {
    const row = await this.#one((ms) =>
      this.#liftBarrier([column(id), encodeEntry(entry), this.#now(), wait(ms)]),
    );
    const done = booleanIn(row, "done");
    if (done) this.#wrote(1);
    return done;
  }

  async barriers(now: number): Promise<readonly Barrier[]> {
    const rows = await this.#database.run(this.#barriers([now]), this.#settings.timeoutMs);
    return rows.map((row) => decodeBarrier(textIn(row, "barrier"), numberIn(row, "seq")));
  }

  async putNode(node: NodeLease, expect: number): Promise<boolean> {
    if (node.epoch > expect) await this.#forgetNodes(node);
    const row = await this.#one((ms) =>
      this.#putNode([column(node.id), node.epoch, JSON.stringify(node), expect, wait(ms)]),
    );
    return booleanIn(row, "done");
  }

  async nodes(): Promise<readonly NodeLease[]> {
    const rows = await this.#database.run(this.#nodes([]), this.#settings.timeoutMs);
    return rows.map((row) => decodeLease(textIn(row, "lease")));
  }

  async #forgetNodes({ id, startedAt }: NodeLease): Promise<void> {
    const { timeoutMs } = this.#settings;
    const texts = (await this.#database.run(this.#nodes([]), timeoutMs)).map((row) => textIn(row, "lease"));
    const gone = texts.filter((text) => {
      const lease = decodeLease(text);
      return lease.id !== id && isLongGone(lease, startedAt);
    });
    // Those that have come back meanwhile read differently.
    if (gone.length > 0) await this.#database.run(this.#forgetLeases([gone]), timeoutMs);
  }

  putTicket(key: string, value: Uint8Array, expiresAt: number): Promise<boolean> {
    return this.#puts.do({ key: column(key), value, expiresAt });
  }

  async takeTicket(key: string, now: number): Promise<Uint8Array | undefined> {
    const ticket = await this.#takes.do(column(key));
    return ticket === undefined || ticket.expiresAt <= now ? undefined : ticket.value;
  }

  async peekTicket(key: string, now: number): Promise<Uint8Array | undefined> {
    const [row] = await this.#database.run(this.#peek([column(key), now]), this.#settings.timeoutMs);
    return row === undefined ? undefined : bytesIn(row, "value");
  }

  close(error: Error): void {
    this.#puts.close(error);
    this.#takes.close(error);
  }

  #putAll(tickets: readonly Ticket[], ms: number): Promise<readonly boolean[]> {
    return inOrder(
      tickets,
      ({ key }) => key,
      async (sorted) => {
        const values = [
          sorted.map(({ key }) => key),
          sorted.map(({ value }) => Buffer.from(value)),
          sorted.map(({ expiresAt }) => expiresAt),
        ];
        const [row] = await this.#database.run(this.#put([...values, this.#now(), wait(ms)]), ms);
        return row === undefined ? [] : listIn(row, "kept").map((kept) => kept === true);
      },
    );
  }

  async #takeAll(
    keys: readonly string[],
    ms: number,
  ): Promise<readonly ({ value: Uint8Array; expiresAt: number } | undefined)[]> {
    const rows = await this.#database.run(this.#take([keys.toSorted(), wait(ms)]), ms);
    const taken = new Map(
      rows.map((row) => [
        textIn(row, "key"),
        { value: bytesIn(row, "value"), expiresAt: numberIn(row, "expires_at") },
      ]),
    );
    return keys.map((key) => taken.get(key));
  }

  async #one(statement: (ms: number) => PostgresStatement): Promise<PostgresRow> {
    const { timeoutMs } = this.#settings;
    const [row] = await this.#database.run(statement(timeoutMs), timeoutMs);
    if (row === undefined)
      throw new HoldfastError("store-corrupt", "PostgreSQL answered a write with nothing.");
    return row;
  }

  #now(): number {
    return this.#settings.clock.now();
  }
}

/** One of an older epoch was revoked before: to keep it now would bring it back. */
function isCurrent({ record }: Found, principal: string, epoch: number): boolean {
  return record.principal === principal && record.epoch === epoch && record.state !== "ended";
}
