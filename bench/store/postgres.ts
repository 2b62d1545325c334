import pg from "pg";
import type { JournalDraft } from "../../src/kernel/journal.ts";
import type { SessionRecord } from "../../src/kernel/record.ts";
import { dueAt } from "../../src/kernel/record.ts";
import type { CredentialKey } from "../../src/kernel/secret.ts";
import { postgres } from "../../src/store/postgres/index.ts";
import { postgresBinaries, startPostgres } from "../../test/peers/postgres.ts";
import type { Engine, Successors } from "./engine.ts";
import { fill, gettingMany, updating } from "./engine.ts";

/** Requests under way at once: what one turn of the event loop brings together. */
const WIDTH = 50;

type Step = ReturnType<Successors["take"]>;

/**
 * Beside pg used directly, as well as it can be: what comes together in one turn of the event loop is one prepared
 * statement, `= any` to look up and `unnest` to update, on tables of the same columns and indexes, with the same rows
 * written and the same asynchronous commit. It does not order its locks, so two such processes can deadlock; it has one
 * outcome for what was refused; its journal can be followed by nobody; and it does not end when the server hangs.
 */
export const engine: Engine = {
  name: "postgres",
  size: 20_000,
  gets: 10_000,
  updates: 5_000,
  async prepare(records) {
    if (postgresBinaries() === undefined) return undefined;
    const peer = await startPostgres({ fsync: true, settings: { autovacuum: "off" } });
    const store = postgres(peer.connection, { timeoutMs: 30_000 });
    await fill(store, records);
    const raw = new RawPostgres(new pg.Pool({ ...peer.connection, max: 10 }));
    await raw.fill(records);
    await raw.vacuum(["holdfast", "raw"]);
    return {
      get: {
        ours: gettingMany(records, WIDTH, (key) => store.find(key)),
        raw: gettingMany(records, WIDTH, (key) => raw.find(key)),
      },
      update: {
        ours: updating(
          records,
          WIDTH,
          async ({ prev, next, entry }) => (await store.update(prev, next, [entry])) === "updated",
        ),
        raw: updating(records, WIDTH, (step) => raw.update(step)),
      },
      async dispose() {
        await Promise.all([store.close(), raw.close()]);
        await peer.stop();
      },
    };
  },
};

class RawPostgres {
  readonly #pool: pg.Pool;
  readonly #finds = new Turn<CredentialKey, { record: SessionRecord; epoch: number } | undefined>((keys) =>
    this.#findAll(keys),
  );
  readonly #updates = new Turn<Step, boolean>((steps) => this.#updateAll(steps));

  constructor(pool: pg.Pool) {
    // The server stops after the pool has ended, and before its last connection has.
    pool.on("error", () => undefined);
    this.#pool = pool;
  }

  find(key: CredentialKey): Promise<{ record: SessionRecord; epoch: number } | undefined> {
    return this.#finds.do(key);
  }

  update(step: Step): Promise<boolean> {
    return this.#updates.do(step);
  }

  async fill(records: readonly SessionRecord[]): Promise<void> {
    await this.#pool.query(TABLES);
    for (let i = 0; i < records.length; i += 500) {
      const some = records.slice(i, i + 500);
      await this.#pool.query({
        text:
          "with s as (insert into raw.session select * from unnest($1::text[], $2::bigint[], $3::text[], $4::float8[], $5::text[])) " +
          "insert into raw.credential select * from unnest($6::text[], $1::text[])",
        values: [
          some.map((record) => record.handle),
          some.map((record) => record.version),
          some.map((record) => record.principal),
          some.map((record) => dueAt(record)),
          some.map((record) => JSON.stringify(record)),
          some.map((record) => record.credentials.current),
        ],
      });
    }
  }

  async vacuum(schemas: readonly string[]): Promise<void> {
    for (const schema of schemas) {
      await this.#pool.query(`vacuum analyze ${schema}.session, ${schema}.credential`);
    }
  }

  close(): Promise<void> {
    return this.#pool.end();
  }

  async #findAll(
    keys: readonly CredentialKey[],
  ): Promise<({ record: SessionRecord; epoch: number } | undefined)[]> {
    const { rows } = await this.#pool.query<{ key: string; record: string; epoch: number }>({
      name: "find",
      text:
        "select c.key, s.record, coalesce(p.epoch, 0)::float8 as epoch from raw.credential c " +
        "join raw.session s on s.handle = c.handle left join raw.principal p on p.name = s.principal where c.key = any($1)",
      values: [keys],
    });
    const found = new Map(
      rows.map(({ key, record, epoch }) => [key, { record: JSON.parse(record) as SessionRecord, epoch }]),
    );
    return keys.map((key) => found.get(key));
  }

  async #updateAll(steps: readonly Step[]): Promise<boolean[]> {
    const { rows } = await this.#pool.query<{ handle: string }>({
      name: "update",
      text: UPDATE,
      values: [
        steps.map(({ prev }) => prev.handle),
        steps.map(({ prev }) => prev.version),
        steps.map(({ next }) => dueAt(next)),
        steps.map(({ next }) => JSON.stringify(next)),
        steps.map(({ entry }): string => JSON.stringify(entry satisfies JournalDraft)),
      ],
    });
    const updated = new Set(rows.map(({ handle }) => handle));
    return steps.map(({ prev }) => updated.has(prev.handle));
  }
}

/** All that is asked for in one turn of the event loop, at once. */
class Turn<Item, Outcome> {
  readonly #run: (items: readonly Item[]) => Promise<readonly Outcome[]>;
  #waiting: { item: Item; resolve: (outcome: Outcome) => void; reject: (error: unknown) => void }[] = [];

  constructor(run: (items: readonly Item[]) => Promise<readonly Outcome[]>) {
    this.#run = run;
  }

  do(item: Item): Promise<Outcome> {
    return new Promise((resolve, reject) => {
      if (this.#waiting.length === 0) setImmediate(() => void this.#flush());
      this.#waiting.push({ item, resolve, reject });
    });
  }

  async #flush(): Promise<void> {
    const waiting = this.#waiting;
    this.#waiting = [];
    try {
      const outcomes = await this.#run(waiting.map(({ item }) => item));
      for (const [i, { resolve }] of waiting.entries()) resolve(outcomes[i] as Outcome);
    } catch (error) {
      for (const { reject } of waiting) reject(error);
    }
  }
}

const TABLES = `
create schema raw;
create table raw.session (
  handle text collate "C" primary key, version bigint not null, principal text collate "C", due float8, record text not null
) with (fillfactor = 80);
create index on raw.session (due, handle) where due is not null;
create table raw.credential (key text collate "C" primary key, handle text collate "C" not null);
create table raw.principal (name text collate "C" primary key, epoch bigint not null);
create sequence raw.journal_seq;
create table raw.journal (
  xid xid8 not null default pg_current_xact_id(), seq bigint not null, at float8 not null, entry text not null,
  primary key (xid, seq)
);
create table raw.timeline (
  handle text collate "C" not null, seq bigint not null, entry text not null, primary key (handle, seq)
);`;

const UPDATE = `
with settings as materialized (
  select set_config('synchronous_commit', 'off', true) as async
), i as (
  select * from unnest($1::text[], $2::bigint[], $3::float8[], $4::text[], $5::text[]) as i(handle, version, due, record, entry)
), u as (
  update raw.session s set version = i.version + 1, due = i.due, record = i.record
    from i, settings where s.handle = i.handle and s.version = i.version
  returning s.handle, nextval('raw.journal_seq') as seq, i.entry
), j as (
  insert into raw.journal (seq, at, entry) select u.seq, 0, u.entry from u
), t as (
  insert into raw.timeline (handle, seq, entry) select u.handle, u.seq, u.entry from u
)
select handle from u`;
