import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, rmSync, statSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import type { TestContext } from "node:test";
import { fileURLToPath } from "node:url";

import { open } from "lmdb";

import { VirtualClock } from "../../src/kernel/clock.ts";
import { isHoldfastError } from "../../src/kernel/errors.ts";
import type { Change } from "../../src/kernel/journal.ts";
import type { SessionStore } from "../../src/kernel/store.ts";
import { lmdb } from "../../src/store/lmdb/index.ts";
import type { LmdbOptions, LmdbStore } from "../../src/store/lmdb/index.ts";
import { end, entryOf, following, put, sampleRecord, step } from "../../src/testing/store/index.ts";

test("sessions outlive the process that made them, and cursors go on where they were", async (t) => {
  const path = folder(t);
  const first = lmdb({ path });
  const record = await step(first, await put(first, sampleRecord({ principal: "ann" })));
  const cursor = (await first.timeline(record.handle)).at(-1)?.cursor ?? "";
  await first.close();
  const second = use(t, { path });
  assert.deepEqual(second.get(record.handle)?.record, record);
  const over = await end(second, record);
  const [change] = await changes(second, cursor, 1);
  assert.deepEqual(change?.type === "entries" ? change.entries.map((entry) => entry.version) : change, [
    over.version,
  ]);
});

test("a cursor into another folder's journal is a gap, not a place in this one", async (t) => {
  const [one, other] = [use(t), use(t)];
  const record = await put(one);
  const cursor = (await one.timeline(record.handle))[0]?.cursor ?? "";
  await put(other);
  const [change] = await changes(other, cursor, 1);
  assert.equal(change?.type, "gap");
});

test("a durable acknowledgement comes after the flush, alone and in a crowd of visible ones", async (t) => {
  const store = use(t);
  for (let i = 0; i < 5; i++) {
    const record = sampleRecord();
    assert.equal(await store.create(record, [], { epoch: 0, barrierSeq: 0 }, "durable"), "created");
  }
  const many = Array.from({ length: 200 }, (_, i) => {
    const record = sampleRecord();
    return store.create(record, [], { epoch: 0, barrierSeq: 0 }, i % 3 === 0 ? "durable" : "visible");
  });
  assert.deepEqual(new Set(await Promise.all(many)), new Set(["created"]));
});

test("writes asked for together share a transaction", async (t) => {
  const store = use(t);
  const before = store.stats()["batches"] ?? 0;
  await Promise.all(Array.from({ length: 500 }, () => put(store)));
  const { batches = 0, writes } = store.stats();
  assert.equal(writes, 500);
  assert.ok(batches - before < 50, `${batches - before} transactions for 500 writes`);
});

test("what cannot be written fails its caller alone", async (t) => {
  const store = use(t);
  const circular: { self?: unknown } = {};
  circular.self = circular;
  const bad = sampleRecord({ data: circular as never });
  const good = put(store);
  await assert.rejects(store.create(bad, [], { epoch: 0, barrierSeq: 0 }), TypeError);
  assert.equal(store.get((await good).handle)?.record.version, 1);
});

test("a folder that cannot be used is refused with the reason", (t) => {
  const path = folder(t);
  const file = join(path, "file");
  writeFileSync(file, "in the way");
  assertRefused({ path: join(file, "store") }, "store-unavailable", /must be a folder/);
  assertRefused({ path: file }, "store-unavailable", /must be a folder/);

  const contents = {
    garbage: Buffer.alloc(65536, "no database "),
    zeros: Buffer.alloc(65536),
    "a few bytes": Buffer.from("hi"),
  };
  for (const [name, bytes] of Object.entries(contents)) {
    mkdirSync(join(path, name));
    writeFileSync(join(path, name, "data.mdb"), bytes);
    assertRefused({ path: join(path, name) }, "store-corrupt", /not an LMDB file/);
  }
});

test("a data file that was cut short is refused, an empty one is new", async (t) => {
  const path = folder(t);
  const store = lmdb({ path });
  for (let i = 0; i < 20; i++) await put(store);
  await store.close();
  truncateSync(join(path, "data.mdb"), 8192);
  assertRefused({ path }, "store-corrupt", /cut short/);
  truncateSync(join(path, "data.mdb"), 0);
  await put(use(t, { path }));
});

test("a folder of another layout is refused, and so is a record that is none", async (t) => {
  const path = folder(t);
  const store = lmdb({ path });
  const record = await put(store);
  await store.close();
  const raw = open({ path, noSubdir: false, maxDbs: 16 });
  const records = raw.openDB<string, string>({ name: "records", encoding: "string", useVersions: true });
  await records.put(record.handle, "something else", 1);
  await raw.close();
  const again = lmdb({ path });
  assert.throws(
    () => again.get(record.handle),
    (error) => isHoldfastError(error, "store-corrupt"),
  );
  await again.close();
  const meta = open({ path, noSubdir: false, maxDbs: 16 });
  await meta.openDB<string, string>({ name: "meta", encoding: "string" }).put("format", "99");
  await meta.close();
  assertRefused({ path }, "store-corrupt", /layout 99/);
});

test("a process that holds the write lock stops writes for a bounded time, and reads not at all", async (t) => {
  const path = folder(t);
  const store = use(t, { path, timeoutMs: 100 });
  const record = await put(use(t, { path }));
  const holder = spawn(
    process.execPath,
    [fileURLToPath(new URL("./lock-holder.js", import.meta.url)), path],
    {
      stdio: ["ignore", "pipe", "inherit"],
    },
  );
  t.after(() => holder.kill("SIGKILL"));
  await once(holder.stdout, "data");
  const next = following(record);
  await assert.rejects(store.update(record, next, [entryOf(next, "update")]), (error) =>
    isHoldfastError(error, "store-unavailable"),
  );
  assert.deepEqual(store.get(record.handle)?.record, record);
  holder.kill("SIGKILL");
  await once(holder, "exit");
  // Refused is refused: it is not written later either.
  await step(use(t, { path, timeoutMs: 60_000 }), record, { data: "after" });
  assert.equal(store.get(record.handle)?.record.data, "after");
});

test("a process that exits in the middle of a write is over, and nobody else has to wait for it", async (t) => {
  const path = folder(t);
  await put(use(t, { path }));
  for (let exits = 0; exits < 5; exits++) {
    const leaving = spawn(
      process.execPath,
      [fileURLToPath(new URL("./leaving-writer.js", import.meta.url)), path],
      { stdio: ["ignore", "pipe", "pipe"] },
    );
    t.after(() => leaving.kill("SIGKILL"));
    let told = "";
    leaving.stderr.setEncoding("utf8").on("data", (text: string) => (told += text));
    // It would stand still for ever.
    const given = setTimeout(() => leaving.kill("SIGABRT"), 60_000);
    const [code, signal] = (await once(leaving, "close")) as [number | null, string | null];
    clearTimeout(given);
    if (signal === "SIGKILL") assert.match(told, /close the store first/);
    else assert.equal(code, 7, `ended by ${signal}`);
    await put(use(t, { path, timeoutMs: 60_000 }));
  }
});

test("a process that stands still in the middle of whatever it does stops durable writes for a bounded time", async (t) => {
  const path = folder(t);
  const store = use(t, { path, timeoutMs: 50 });
  const writer = spawn(
    process.execPath,
    [fileURLToPath(new URL("./durable-writer.js", import.meta.url)), path],
    { stdio: ["ignore", "pipe", "inherit"] },
  );
  t.after(() => writer.kill("SIGKILL"));
  await once(writer.stdout, "data");
  // It holds the lock of the flush most of the time, the write lock now and then, and at times none.
  for (let stops = 0; stops < 20; stops++) {
    writer.kill("SIGSTOP");
    const asked = await Promise.allSettled([
      store.create(sampleRecord({}), [], await store.standing(undefined), "durable"),
      store.create(sampleRecord({}), [], await store.standing(undefined), "visible"),
    ]);
    for (const one of asked) {
      if (one.status === "rejected") assert.ok(isHoldfastError(one.reason, "store-unavailable"), one.reason);
    }
    writer.kill("SIGCONT");
  }
  // Nobody stands in the way any more.
  writer.kill("SIGKILL");
  await once(writer, "exit");
  await put(use(t, { path, timeoutMs: 60_000 }));
});

test("what a dead process left in the reader table is cleared, and counted", async (t) => {
  const path = folder(t);
  const store = use(t, { path });
  await put(store);
  assert.equal(store.stats()["staleReaders"], 0);
  const script = `
    const { open } = require("lmdb");
    const root = open({ path: process.argv[1], noSubdir: false, maxDbs: 16 });
    root.useReadTransaction();
    root.get("x");
    process.stdout.write("reading");
    setInterval(() => undefined, 1000);`;
  const reader = spawn(process.execPath, ["-e", script, path], { stdio: ["ignore", "pipe", "inherit"] });
  t.after(() => reader.kill("SIGKILL"));
  await once(reader.stdout, "data");
  for (let i = 0; i < 5; i++) await put(store);
  const lag = store.stats()["readerLag"] ?? 0;
  assert.ok(lag >= 5, `a snapshot that is held shows as lag (${lag})`);
  reader.kill("SIGKILL");
  await once(reader, "exit");
  assert.equal(store.stats()["staleReaders"], 1);
  assert.ok((store.stats()["readerLag"] ?? lag) < lag);
});

test("old entries go with their age, expired tickets and past barriers with the next writes", async (t) => {
  const clock = new VirtualClock(Date.now());
  const store = use(t, { clock, journalMaxAgeMs: 60_000 });
  const record = await put(store, sampleRecord({ touchedAt: clock.now() }));
  const start = (await store.timeline(record.handle))[0]?.cursor ?? "";
  await store.putTicket("t", Uint8Array.of(1), clock.now() + 1000);
  const barrier = { kind: "lock", selector: { all: true }, reason: "", at: clock.now() } as const;
  const note = { at: clock.now(), phase: "governance", event: "note" } as const;
  await store.raiseBarrier({ ...barrier, id: "past", until: clock.now() + 1000 }, note);
  await store.raiseBarrier({ ...barrier, id: "standing" }, note);
  clock.advance(120_000);
  await store.append([{ ...note, at: clock.now() }]);
  await store.append([{ ...note, at: clock.now() }]);
  const { tickets, barriers, journal } = store.stats();
  assert.deepEqual({ tickets, barriers, journal }, { tickets: 0, barriers: 1, journal: 2 });
  const [change] = await changes(store, start, 1);
  assert.equal(change?.type, "gap");
  assert.equal((await store.timeline(record.handle)).length, 1, "a timeline lives as long as its record");
});

test("a timeline that outgrows the journal is cut to its newest thousand, roughly", async (t) => {
  const store = use(t, { journalLimit: 100 });
  const record = await put(store);
  for (let i = 0; i < 60; i++) {
    await store.append(Array.from({ length: 100 }, () => entryOf(record, "late-use")));
  }
  const kept = (await store.timeline(record.handle, { limit: 10_000 })).length;
  assert.ok(kept >= 1000 && kept <= 1500, `${kept} entries`);
  assert.ok((store.stats()["journal"] ?? 0) <= 300);
});

test("a follower that waits holds no snapshot, so the file does not grow with touches", async (t) => {
  const path = folder(t);
  const store = use(t, { path });
  const stop = new AbortController();
  t.after(() => stop.abort());
  const feed = store.changes("now", { signal: stop.signal })[Symbol.asyncIterator]();
  await feed.next();
  const waiting = feed.next();
  let records = await Promise.all(Array.from({ length: 50 }, () => put(store)));
  const touchAll = async (): Promise<void> => {
    records = await Promise.all(
      records.map(async (record) => {
        const next = following(record, { touchedAt: record.touchedAt + 1 });
        assert.equal(await store.update(record, next, []), "updated");
        return next;
      }),
    );
  };
  for (let i = 0; i < 20; i++) await touchAll();
  const before = statSync(join(path, "data.mdb")).size;
  for (let i = 0; i < 100; i++) await touchAll();
  const grown = statSync(join(path, "data.mdb")).size - before;
  assert.ok(grown <= 1024 * 1024, `grew by ${grown} bytes`);
  assert.notEqual((await waiting).done, true);
});

test("a backup is a folder that opens like any other, with a journal of its own", async (t) => {
  const store = use(t);
  const record = await put(store, sampleRecord({ principal: "ann" }));
  const copy = join(folder(t), "copy");
  await store.backup(copy);
  await end(store, record);
  const restored = use(t, { path: copy });
  assert.deepEqual(restored.get(record.handle)?.record, record);
  const cursor = (await store.timeline(record.handle))[0]?.cursor ?? "";
  const [change] = await changes(restored, cursor, 1);
  assert.equal(change?.type, "gap", "what followed on the cursor there is not what follows here");
});

test("stores on one folder close one by one", async (t) => {
  const path = folder(t);
  const [one, other] = [lmdb({ path }), lmdb({ path })];
  const record = await put(one);
  await one.close();
  assert.deepEqual(other.get(record.handle)?.record, record);
  await end(other, record);
  await other.close();
  const again = use(t, { path });
  assert.equal(again.get(record.handle)?.record.state, "ended");
});

test("closing waits for writes under way, and opening again meanwhile is no trouble", async (t) => {
  const path = folder(t);
  const first = lmdb({ path });
  const writing = Array.from({ length: 100 }, () => put(first));
  await Promise.resolve();
  const closing = first.close();
  const second = use(t, { path });
  const [record] = await Promise.all(writing);
  await closing;
  assert.equal(second.get(record?.handle ?? sampleRecord().handle)?.record.version, 1);
  await put(second);
  await second.close();
  assert.equal(use(t, { path }).stats()["records"], 101);
});

function folder(t: TestContext): string {
  const path = mkdtempSync(join(tmpdir(), "holdfast-lmdb-"));
  t.after(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

function use(t: TestContext, options: Partial<LmdbOptions> = {}): LmdbStore {
  const store = lmdb({ timeoutMs: 60_000, ...options, path: options.path ?? folder(t) });
  t.after(() => store.close());
  return store;
}

function assertRefused(options: LmdbOptions, code: "store-unavailable" | "store-corrupt", why: RegExp): void {
  assert.throws(
    () => lmdb(options),
    (error) => isHoldfastError(error, code) && why.test(error.message),
  );
}

async function changes(store: SessionStore, from: string, count: number): Promise<Change[]> {
  const heard: Change[] = [];
  const stop = new AbortController();
  for await (const change of store.changes(from, { signal: stop.signal })) {
    heard.push(change);
    if (heard.length === count) break;
  }
  stop.abort();
  return heard;
}
