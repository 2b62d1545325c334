import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import pg from "pg";
import type { Change, JournalDraft, SessionRecord, SessionStore } from "../../../src/kernel/index.ts";
import { isHoldfastError, shardOfPrincipal } from "../../../src/kernel/index.ts";
import { nearCache } from "../../../src/store/near/index.ts";
import { createValues } from "../../../src/store/postgres/batches.ts";
import type { PostgresOptions } from "../../../src/store/postgres/index.ts";
import { postgres } from "../../../src/store/postgres/index.ts";
import { places } from "../../../src/store/postgres/writes.ts";
import { entryOf, following, put, sampleKey, sampleRecord, step } from "../../../src/testing/store/index.ts";
import { WorkerProcess } from "../../../src/testing/store/worker-process.ts";
import type { PostgresPeer } from "../../peers/postgres.ts";
import { postgresBinaries, startPostgres } from "../../peers/postgres.ts";

const LENIENT = 20_000;

if (postgresBinaries() === undefined && process.env["CI"] !== "true") {
  test("postgres", { skip: "PostgreSQL is not installed" });
} else {
  cases();
}

function cases(): void {
  let peer: PostgresPeer;
  let schemas = 0;
  const opened: SessionStore[] = [];

  before(async () => {
    peer = await startPostgres();
  });
  after(async () => {
    await Promise.all(opened.map((store) => store.close()));
    await peer.stop();
  });

  const fresh = (): string => `own_${++schemas}`;
  const open = (schema: string, options: PostgresOptions = {}): SessionStore => {
    const store = postgres(peer.connection, { schema, timeoutMs: LENIENT, ...options });
    opened.push(store);
    return store;
  };
  const raw = async <T>(run: (client: pg.Client) => Promise<T>): Promise<T> => {
    const client = new pg.Client(peer.connection);
    client.on("error", () => undefined);
    await client.connect();
    try {
      return await run(client);
    } finally {
      await client.end();
    }
  };

  test("in one batch each write has its own outcome, and of two on one version exactly one wins", async () => {
    const store = open(fresh());
    const [one, two, gone, stale] = await Promise.all([put(store), put(store), put(store), put(store)]);
    const taken = one.credentials.current ?? sampleKey(0);
    await store.purge(gone);
    await step(store, stale);
    const before = await store.stats();
    const rotated = following(two, { credentials: { current: sampleKey(0), retired: [] } });
    const thief = following(one, { credentials: { current: two.credentials.current ?? taken, retired: [] } });
    const updates: [SessionRecord, SessionRecord][] = [
      [one, following(one, { data: "first" })],
      [one, following(one, { data: "second" })],
      [two, rotated],
      [gone, following(gone)],
      [stale, following(stale)],
    ];
    const outcomes = await Promise.all(
      updates.map(([prev, next]) => store.update(prev, next, [entryOf(next, "update")])),
    );
    assert.deepEqual(outcomes.slice(0, 2).sort(), ["conflict", "updated"]);
    assert.deepEqual(outcomes.slice(2), ["updated", "absent", "conflict"]);
    const now = await store.stats();
    assert.equal((now["updateBatches"] ?? 0) - (before["updateBatches"] ?? 0), 2, "the second of two waits");
    const first = outcomes[0] === "updated" ? "first" : "second";
    assert.equal((await store.get(one.handle))?.record.data, first);
    // The key that was let go of in the batch before is free, and one that is held is not taken over.
    const second = following(following(one, { data: first }));
    assert.equal(await store.update(following(one), { ...thief, version: 3 }, []), "updated");
    const held = following(
      { ...second, version: 3 },
      { credentials: { current: rotated.credentials.current ?? taken, retired: [] } },
    );
    assert.equal(await store.update({ ...thief, version: 3 }, held, [entryOf(held, "update")]), "conflict");
    assert.equal((await store.find(rotated.credentials.current ?? taken))?.record.handle, two.handle);

    const shared = sampleKey(0);
    const twins = [1, 2, 3].map(() => sampleRecord({ credentials: { current: shared, retired: [] } }));
    const again = sampleRecord();
    const standing = { epoch: 0, barrierSeq: 0 };
    const creates = [...twins, again, again, sampleRecord({ handle: two.handle })];
    const made = await Promise.all([
      ...creates.map((record) => store.create(record, [entryOf(record, "establish")], standing)),
      store.create(sampleRecord(), [], { epoch: 0, barrierSeq: 9 }),
    ]);
    assert.deepEqual(made.slice(0, 3).sort(), ["created", "exists", "exists"]);
    assert.deepEqual(made.slice(3, 5).sort(), ["created", "exists"]);
    assert.deepEqual(made.slice(5), ["exists", "stale-standing"]);
    const winner = (await store.find(shared))?.record.handle;
    for (const twin of twins) {
      assert.equal((await store.get(twin.handle)) !== undefined, twin.handle === winner);
      assert.equal((await store.timeline(twin.handle)).length, twin.handle === winner ? 1 : 0);
    }
  });

  test("batches of two processes over the same sessions never deadlock", async () => {
    const schema = fresh();
    const stores = [open(schema), open(schema)];
    let records = await Promise.all(Array.from({ length: 40 }, () => put(open(schema))));
    for (let round = 0; round < 15; round++) {
      const wrote = await Promise.all(
        stores.flatMap((store, side) => {
          const order = side === 0 ? records : records.toReversed();
          return order.map((record, i) => {
            const credentials = { current: sampleKey(0), retired: [] };
            const next = following(record, i % 3 === side ? { credentials } : { data: round });
            return store.update(record, next, [entryOf(next, "update")]);
          });
        }),
      );
      assert.equal(wrote.filter((outcome) => outcome === "updated").length, records.length);
      const found = await Promise.all(records.map((record) => stores[0]?.get(record.handle)));
      records = found.map((one, i) => one?.record ?? records[i] ?? sampleRecord());
    }
  });

  test("a create that is not yet committed holds up who raises an epoch or a barrier, and the other way round", async () => {
    const schema = fresh();
    const store = open(schema);
    await store.nodes();
    const standing = { epoch: 0, barrierSeq: 0 };
    const draft = { id: "b", kind: "lock", selector: { principal: "ann" }, reason: "", at: 0 } as const;
    const raises: [string, (principal: string) => Promise<unknown>, string][] = [
      [
        "epoch",
        (principal) => store.raiseEpoch(principal, [], note("epoch")),
        "raise_epoch('ann', $1, null, '{}', '{}', '{}', $2, 0, 0)",
      ],
      ["barrier", () => store.raiseBarrier(draft, note("note")), "raise_barrier('c', $1, '{}', $2, 0, 0)"],
    ];
    for (const [name, raise, raising] of raises) {
      await raw(async (client) => {
        const aWaitingLock = async (): Promise<boolean> => {
          const waiting = await client.query(
            "select 1 from pg_locks where locktype = 'advisory' and not granted",
          );
          return waiting.rows.length > 0;
        };
        // A create first: the one who raises waits, so that what it lists next has it.
        const before = await store.standing("ann");
        const record = sampleRecord({ principal: "ann", epoch: before.epoch, barrierSeq: before.barrierSeq });
        await client.query("begin");
        const values = createValues([{ record, entries: [], standing: before, durable: false }]);
        const made = await client.query(`select ${schema}.create_sessions(${places(17)}) as outcomes`, [
          ...values,
          0,
          false,
          0,
        ]);
        assert.deepEqual(made.rows, [{ outcomes: ["created"] }], name);
        let raised = false;
        const waiting = raise("ann").then(() => (raised = true));
        await waitFor("the one who raises to wait", aWaitingLock);
        assert.equal(raised, false);
        await client.query("commit");
        await waiting;
        assert.ok(
          (await store.list({ term: "p:ann", limit: 100 })).found.some(
            (found) => found.record.handle === record.handle,
          ),
        );

        // One who raises first: the create waits, and is refused.
        const stale = await store.standing("ann");
        await client.query("begin");
        const first = name === "epoch" ? shardOfPrincipal("ann") : null;
        await client.query(`select ${schema}.${raising}`, [first, JSON.stringify(note("note"))]);
        const late = sampleRecord({ principal: "ann", epoch: stale.epoch, barrierSeq: stale.barrierSeq });
        const creating = store.create(late, [], stale);
        await waitFor("the create to wait", aWaitingLock);
        await client.query("commit");
        assert.equal(await creating, "stale-standing", name);
      });
    }
    const bob = sampleRecord({ principal: "bob" });
    assert.equal(await store.create(bob, [], standing), "stale-standing", "a barrier is everybody's");
  });

  test("any number of processes may set the schema up at once", async () => {
    const schema = fresh();
    const module = new URL("../../conformance/postgres-worker.js", import.meta.url).href;
    const workers = [1, 2, 3].map(() => new WorkerProcess({ module, input: { url: peer.url, schema } }));
    try {
      await Promise.all(workers.map((one) => one.ready));
      const stores = [1, 2, 3].map(() => open(schema));
      const answers = await Promise.all([
        ...workers.map((one) => one.run("readVersion", sampleRecord().handle)),
        ...stores.map(async (store) => (await store.standing("ann")).epoch),
      ]);
      assert.deepEqual(answers, [0, 0, 0, 0, 0, 0]);
      const versions = await raw((client) =>
        client.query(`select version from ${schema}.migration order by version`),
      );
      assert.deepEqual(versions.rows, [{ version: 1 }]);
    } finally {
      await Promise.all(workers.map((one) => one.kill()));
    }
  });

  test("a schema that is not there is not made without leave, and a newer one is left alone", async () => {
    const schema = fresh();
    await assert.rejects(open(schema, { migrate: false }).nodes(), (error) =>
      isHoldfastError(error, "unsupported"),
    );
    await open(schema).nodes();
    assert.deepEqual(await open(schema, { migrate: false }).nodes(), []);
    await raw((client) => client.query(`insert into ${schema}.migration (version) values (999)`));
    await assert.rejects(open(schema).nodes(), (error) => isHoldfastError(error, "unsupported"));
  });

  test("a role that may only use the schema needs no right to change it", async () => {
    const schema = fresh();
    const mine = await put(open(schema));
    await raw(async (client) => {
      await client.query("create role visitor login");
      await client.query(`grant usage on schema ${schema} to visitor`);
      await client.query(`grant select, insert, update, delete on all tables in schema ${schema} to visitor`);
      await client.query(`grant usage, select on all sequences in schema ${schema} to visitor`);
    });
    const theirs = postgres(
      { ...peer.connection, user: "visitor" },
      { schema, timeoutMs: LENIENT, journalLimit: 10 },
    );
    opened.push(theirs);
    const changed = await step(theirs, mine);
    await put(theirs);
    await theirs.append(Array.from({ length: 100 }, () => note("note")));
    await theirs.raiseEpoch("ann", [], note("epoch"));
    await waitFor(
      "the journal to be trimmed",
      async () => ((await theirs.stats())["trimmedEntries"] ?? 0) > 0,
    );
    assert.deepEqual((await theirs.get(mine.handle))?.record, changed);
  });

  test("a pool that is given is used, and not ended", async () => {
    const pool = new pg.Pool(peer.connection);
    const [schema, other] = [fresh(), fresh()];
    const [one, two] = [
      postgres(pool, { schema, timeoutMs: LENIENT }),
      postgres(pool, { schema: other, timeoutMs: LENIENT }),
    ];
    const record = await put(one);
    assert.equal(await two.get(record.handle), undefined);
    assert.deepEqual((await one.get(record.handle))?.record, record);
    await Promise.all([one.close(), two.close()]);
    assert.deepEqual((await pool.query("select 1 as one")).rows, [{ one: 1 }]);
    await pool.end();
  });

  test("principals that differ only in what PostgreSQL cannot keep have epochs of their own", async () => {
    const store = open(fresh());
    const names = [
      "a\0b",
      "a\\0000b",
      "\ud800",
      "\ud801",
      "�",
      "\\d800",
      "x".repeat(3000),
      `${"x".repeat(3000)}y`,
    ];
    for (const [i, name] of names.entries()) {
      for (let n = 0; n < i; n++) await store.raiseEpoch(name, [], note("epoch"));
    }
    for (const [i, name] of names.entries()) {
      assert.equal((await store.standing(name)).epoch, i, JSON.stringify(name.slice(0, 9)));
    }
  });

  test("who waits for another's lock is told in time, and what it wanted is not done behind its back", async () => {
    const schema = fresh();
    const store = open(schema, { timeoutMs: 400 });
    await waitFor("the schema", () =>
      store.nodes().then(
        () => true,
        () => false,
      ),
    );
    const record = await put(store);
    await raw(async (client) => {
      await client.query("begin");
      await client.query(`select from ${schema}.session where handle = '${record.handle}' for update`);
      await assert.rejects(step(store, record), (error) => isHoldfastError(error, "store-unavailable"));
      // Reads do not wait for writers.
      assert.deepEqual((await store.get(record.handle))?.record, record);
      await waitFor("its statement to be given up", async () => {
        const waiting = await client.query("select 1 from pg_stat_activity where wait_event_type = 'Lock'");
        return waiting.rows.length === 0;
      });
      await client.query("rollback");
    });
    assert.deepEqual((await store.get(record.handle))?.record, record);
    await step(store, record);
  });

  test("an entry that is committed late is told, though later numbers were told before it", async () => {
    const schema = fresh();
    const store = open(schema);
    await store.nodes();
    const heard = listen(store, "now");
    await waitFor("live", () => heard.live);
    await raw(async (client) => {
      await client.query("begin");
      await client.query(`select ${schema}.append_entries(array[null], $1, 0, 1000)`, [
        JSON.stringify(note("note", { n: "early" })),
      ]);
      for (const n of ["one", "two"]) await store.append([note("note", { n })]);
      await waitFor("what was committed", () => heard.notes.length === 2);
      assert.deepEqual(heard.notes, ["one", "two"]);
      // Who comes now, or comes back, is not told of it yet, and will be.
      const cursor = heard.cursor;
      const back = listen(store, cursor);
      await waitFor("live", () => back.live);
      assert.deepEqual(back.notes, []);
      await client.query("commit");
      await store.append([note("note", { n: "three" })]);
      for (const one of [heard, back])
        await waitFor("the late one", () => one.notes.includes("early") && one.notes.includes("three"));
      assert.deepEqual(new Set(heard.notes), new Set(["one", "two", "early", "three"]));
      assert.deepEqual(new Set(back.notes), new Set(["early", "three"]));
      back.stop();
    });
    heard.stop();
  });

  test("a thousand entries of one transaction are told once each, page by page", async () => {
    const schema = fresh();
    const store = open(schema);
    const start = listen(store, "now");
    await waitFor("live", () => start.live);
    start.stop();
    await store.append(Array.from({ length: 1_700 }, (_, n) => note("note", { n: String(n) })));
    await Promise.all(Array.from({ length: 30 }, (_, n) => store.append([note("note", { n: `x${n}` })])));
    const heard = listen(store, start.cursor);
    await waitFor("live", () => heard.live);
    heard.stop();
    assert.equal(heard.notes.length, 1_730);
    assert.deepEqual(
      heard.notes.slice(0, 1_700),
      Array.from({ length: 1_700 }, (_, n) => String(n)),
    );
  });

  test("a database that was moved to another cluster begins a new journal, and old cursors are a gap", async () => {
    const schema = fresh();
    const store = open(schema);
    const record = await put(store);
    const [first] = await store.timeline(record.handle);
    const before = listen(store, "now");
    await waitFor("live", () => before.live);
    before.stop();
    // As a dump from a cluster with larger transaction numbers leaves it.
    await raw((client) => client.query(`update ${schema}.alive set xid = '9000000000000'`));
    for (const cursor of [before.cursor, first?.cursor ?? ""]) {
      const heard = listen(store, cursor);
      await waitFor("live", () => heard.live);
      assert.equal(heard.gaps, 1);
      heard.stop();
    }
    const now = listen(store, "now");
    await waitFor("live", () => now.live);
    await step(store, record);
    await waitFor("the change", () => now.entries === 1);
    assert.equal(now.gaps, 0);
    now.stop();
  });

  test("a server that hangs: every call is refused in time, the near cache serves nothing, and all goes on after it", async () => {
    const schema = fresh();
    await open(schema).nodes();
    const store = open(schema, { timeoutMs: 250, pollMs: 50 });
    const cache = nearCache(open(schema, { timeoutMs: 250, pollMs: 50 }));
    opened.push(cache);
    await waitFor("the feed", async () => (await cache.stats())["nearFeedLive"] === 1);
    const record = await put(open(schema));
    const key = record.credentials.current ?? sampleKey(0);
    await waitFor("a hit", async () => {
      await cache.find(key);
      return ((await cache.stats())["nearHits"] ?? 0) > 0;
    });
    const heard = listen(store, "now");
    await waitFor("live", () => heard.live);
    peer.freeze();
    let slowest = 0;
    let wrote: Promise<unknown>;
    try {
      wrote = step(store, record);
      const calls: (() => unknown)[] = [
        () => wrote,
        () => store.find(key),
        () => store.get(record.handle),
        () => store.standing("ann"),
        () => store.create(sampleRecord(), [], { epoch: 0, barrierSeq: 0 }),
        () => store.append([note("note")]),
        () => store.raiseEpoch("ann", [], note("epoch")),
        () => store.takeTicket("t", 0),
        () => store.putNode({ id: "n", epoch: 1, startedAt: 0, until: 0 }, 0),
        () => store.barriers(0),
      ];
      await Promise.all(
        calls.map(async (call) => {
          const startedAt = performance.now();
          await assert.rejects(
            async () => call(),
            (error) => isHoldfastError(error, "store-unavailable"),
          );
          slowest = Math.max(slowest, performance.now() - startedAt);
        }),
      );
      await waitFor("the follower to be told", () => heard.failure !== undefined);
      assert.ok(isHoldfastError(heard.failure, "store-unavailable"));
      await waitFor("the cache to be bypassed", async () => {
        return isHoldfastError(await refusal(() => cache.find(key)), "store-unavailable");
      });
    } finally {
      peer.thaw();
    }
    assert.ok(slowest < 3_000, `a call took ${slowest} ms`);
    const back = await waitFor("the store", () => quietly(() => store.get(record.handle)));
    // The write that was given up was done wholly or not at all.
    assert.deepEqual(back.record, back.record.version === 1 ? record : following(record));
    await waitFor("the cache", async () => (await quietly(() => cache.stats()))?.["nearFeedLive"] === 1);
    await step(open(schema), back.record);
    await waitFor(
      "the change in the cache",
      async () => (await cache.find(key))?.record.version === back.record.version + 1,
    );
  });

  test("a server that was killed: refused in time, back with what was durable, and with a new journal", async () => {
    const schema = fresh();
    const store = open(schema, { timeoutMs: 250 });
    const cache = nearCache(open(schema, { timeoutMs: 250 }));
    opened.push(cache);
    await waitFor("the schema", () =>
      store.nodes().then(
        () => true,
        () => false,
      ),
    );
    await waitFor("the feed", async () => (await cache.stats())["nearFeedLive"] === 1);
    const record = sampleRecord();
    assert.equal(
      await store.create(record, [entryOf(record, "establish")], { epoch: 0, barrierSeq: 0 }, "durable"),
      "created",
    );
    const before = listen(store, "now");
    await waitFor("live", () => before.live);
    await peer.kill("SIGKILL");
    await waitFor("the follower to be told", () => before.failure !== undefined);
    assert.ok(isHoldfastError(await refusal(() => store.get(record.handle)), "store-unavailable"));
    await waitFor("the cache to be bypassed", async () =>
      isHoldfastError(await refusal(() => cache.get(record.handle)), "store-unavailable"),
    );
    await peer.start();
    const back = await waitFor("the store", () => quietly(() => store.get(record.handle)));
    assert.deepEqual(back.record, record);
    // What was told and then lost with the crash would otherwise stay with those who were told.
    const again = await waitFor("a follower", async () => {
      const heard = listen(store, before.cursor);
      await waitFor("an answer", () => heard.live || heard.failure !== undefined);
      return heard.live ? heard : undefined;
    });
    assert.equal(again.gaps, 1);
    again.stop();
    await waitFor("the cache", async () => (await quietly(() => cache.stats()))?.["nearFeedLive"] === 1);
  });

  test("connections that are cut off one by one are replaced", async () => {
    const schema = fresh();
    const store = open(schema);
    const heard = listen(store, "now");
    await waitFor("live", () => heard.live);
    let record = await put(store);
    await raw((client) =>
      client.query(
        "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'holdfast'",
      ),
    );
    record = await waitFor("the store", () => step(store, record).catch(() => undefined));
    assert.deepEqual((await store.get(record.handle))?.record, record);
    const on = heard.failure === undefined ? heard : listen(store, heard.cursor);
    await waitFor("the changes", () => heard.entries + (on === heard ? 0 : on.entries) >= 2);
    heard.stop();
    on.stop();
  });
}

interface Heard {
  live: boolean;
  entries: number;
  /** `detail.n` of what was heard. */
  notes: string[];
  gaps: number;
  cursor: string;
  failure: unknown;
  stop(): void;
}

function listen(store: SessionStore, from: string): Heard {
  const over = new AbortController();
  const heard: Heard = {
    live: false,
    entries: 0,
    notes: [],
    gaps: 0,
    cursor: from,
    failure: undefined,
    stop: () => over.abort(),
  };
  const hear = (change: Change): void => {
    heard.cursor = change.cursor;
    if (change.type === "live") heard.live = true;
    else if (change.type === "gap") heard.gaps++;
    else {
      heard.entries += change.entries.length;
      for (const { detail } of change.entries)
        if (typeof detail?.["n"] === "string") heard.notes.push(detail["n"]);
    }
  };
  void (async () => {
    try {
      for await (const change of store.changes(from, { signal: over.signal })) hear(change);
    } catch (error) {
      heard.failure = error;
    }
  })();
  return heard;
}

function note(event: "note" | "epoch", detail?: JournalDraft["detail"]): JournalDraft {
  return { at: 1, phase: "governance", event, ...(detail === undefined ? {} : { detail }) };
}

/** What a call answers; `undefined` when it fails. */
async function quietly<T>(call: () => T | Promise<T>): Promise<T | undefined> {
  try {
    return await call();
  } catch {
    return undefined;
  }
}

/** What a call fails with; `undefined` when it answers. */
async function refusal(call: () => unknown): Promise<unknown> {
  try {
    await call();
    return undefined;
  } catch (error) {
    return error;
  }
}

/** @throws Error after a minute. */
async function waitFor<T>(what: string, probe: () => T | Promise<T>): Promise<NonNullable<T>> {
  const giveUp = Date.now() + 60_000;
  for (;;) {
    const answer = await probe();
    if (answer !== undefined && answer !== null && answer !== false) return answer;
    if (Date.now() > giveUp) throw new Error(`waited a minute for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
