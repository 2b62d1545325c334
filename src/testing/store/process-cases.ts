import assert from "node:assert/strict";

import type { Json } from "../../kernel/record.ts";
import type { Handle } from "../../kernel/secret.ts";
import type { SessionStore } from "../../kernel/store.ts";
import { storeDisagreements } from "./agreement.ts";
import type { CaseContext } from "./context.ts";
import { seeded, storeCase, until } from "./context.ts";
import { liveCursor } from "./feed-cases.ts";
import type { StoreHarness } from "./harness.ts";
import { end, listAll, note, put, sampleRecord, step } from "./samples.ts";

/** What is promised to several processes, tried with several processes; left out where the store reaches one only. */
export function processCases(harness: StoreHarness): void {
  const processCase = (title: string, run: (c: CaseContext, store: SessionStore) => Promise<void>): void =>
    storeCase(harness, title, async (c) => {
      const store = await c.open();
      if (store.reach === "process") c.t.skip("this store lives in one process");
      else await run(c, store);
    });

  processCase(
    "guarantee 1: four processes that create the same sessions: each is made exactly once",
    async (c, store) => {
      const workers = await c.workers(4);
      const records = Array.from({ length: 300 }, (_, i) => sampleRecord({ principal: `p${i % 10}` }));
      const outcomes = (await Promise.all(
        workers.map((one) => one.run("createAll", json(records))),
      )) as string[][];
      for (const [i, record] of records.entries()) {
        const told = outcomes.map((list) => list[i] ?? "").sort();
        assert.deepEqual(told, ["created", "exists", "exists", "exists"], record.handle);
      }
      assert.equal((await listAll(store, "live")).length, records.length);
      assert.deepEqual(await storeDisagreements(store), []);
    },
  );

  processCase(
    "guarantee 2: three processes that count in the same sessions: no update is lost",
    async (c, store) => {
      const workers = await c.workers(3);
      const handles: Handle[] = [];
      for (let i = 0; i < 5; i++)
        handles.push((await put(store, sampleRecord({ principal: "ann", data: 0 }))).handle);
      const times = Math.max(20, Math.floor(c.trials / 50));
      const conflicts = await Promise.all(workers.map((one) => one.run("increment", { handles, times })));
      for (const handle of handles) {
        const found = await store.get(handle);
        assert.equal(found?.record.data, 3 * times);
        assert.equal(found?.record.version, 3 * times + 1);
      }
      c.t.diagnostic(
        `${15 * times} updates, ${conflicts.map(Number).reduce((a, b) => a + b)} conflicts, 0 lost`,
      );
    },
  );

  processCase(
    "guarantee 4: three processes that take the same tickets, and the same names: each is had once",
    async (c, store) => {
      const workers = await c.workers(3);
      const keys = Array.from({ length: 200 }, (_, i) => `ticket-${i}`);
      const far = Date.now() + 3_600_000;
      await Promise.all(keys.map((key) => store.putTicket(key, Uint8Array.of(7), far)));
      const taken = (await Promise.all(workers.map((one) => one.run("takeAll", keys)))) as string[][];
      assert.deepEqual(taken.flat().sort(), keys.sort());
      const names = Array.from({ length: 30 }, (_, i) => `node-${i}`);
      const had = (await Promise.all(workers.map((one) => one.run("putNode", names)))) as string[][];
      assert.deepEqual(had.flat().sort(), names.sort());
    },
  );

  processCase(
    "guarantee 5: raising the epoch stops creates in other processes, and what they made before is listed",
    async (c, store) => {
      const workers = await c.workers(2);
      const creating = workers.map((one) => one.run("createUntilRefused", "ann"));
      await until("sessions", () => (workers.every((one) => one.reports.length > 10) ? true : undefined));
      assert.equal(await store.raiseEpoch("ann", [], note("epoch", "ann")), 1);
      const listed = (await listAll(store, "p:ann")).map((record) => record.handle).sort();
      const answers = (await Promise.all(creating)) as { made: string[]; outcome: string }[];
      assert.deepEqual(
        answers.map((answer) => answer.outcome),
        ["stale-standing", "stale-standing"],
      );
      assert.deepEqual(
        answers.flatMap((answer) => answer.made).sort(),
        listed,
        "none was made after the epoch rose",
      );
    },
  );

  processCase("epochs raised by several processes are never given twice", async (c, store) => {
    const workers = await c.workers(3);
    const input = { principal: "ann", times: 50 };
    const got = (await Promise.all(workers.map((one) => one.run("raiseEpochs", input)))) as number[][];
    assert.deepEqual(
      got.flat().sort((a, b) => a - b),
      Array.from({ length: 150 }, (_, i) => i + 1),
    );
    assert.equal((await store.standing("ann")).epoch, 150);
  });

  processCase("what is acknowledged here is seen there at once", async (c, store) => {
    const [worker] = await c.workers(1);
    let record = await put(store);
    for (let i = 0; i < 50; i++) {
      assert.equal(await worker?.run("readVersion", record.handle), record.version);
      record = await step(store, record);
    }
    record = await end(store, record);
    assert.equal(await worker?.run("readVersion", record.handle), record.version);
    await store.purge(record);
    assert.equal(await worker?.run("readVersion", record.handle), 0);
  });

  processCase(
    "guarantee 8: kill -9 of a writer while another goes on: all agrees, nothing acknowledged is lost",
    async (c) => {
      const random = seeded(c.t);
      for (let round = 0; round < 3; round++) await killOneWriter(c, Math.floor(20 + random() * 400));
    },
  );
}

/** One round: two writers, one killed after `after` acknowledged writes; for the suite and for longer chaos tests. */
export async function killOneWriter(
  c: Pick<CaseContext, "open" | "workers" | "signal">,
  after: number,
): Promise<void> {
  const watcher = await c.open();
  const since = await liveCursor(watcher, "now", c.signal);
  const known = new Set((await everySession(watcher)).map((record) => record.handle));
  const [victim, survivor] = await c.workers(2);
  assert.ok(victim !== undefined && survivor !== undefined);
  const principals = ["ann", "bob", "eve"];
  const killed = victim.run("churn", { principals, lives: 1_000_000 });
  const survived = survivor.run("churn", { principals, lives: 150 });
  await until("writes", () => (victim.reports.length >= after ? true : undefined));
  await victim.kill();
  await assert.rejects(killed);
  const told = survivor.reports.length;
  assert.equal(await survived, 150, "the other one goes on");
  assert.ok(survivor.reports.length >= told);
  await survivor.kill();

  const store = await c.open();
  const acknowledged = new Map<Handle, number>();
  for (const report of [...victim.reports, ...survivor.reports]) {
    const [handle, version] = report as [Handle, number];
    acknowledged.set(handle, version);
  }
  for (const [handle, version] of acknowledged) {
    const now = (await store.get(handle))?.record.version;
    if (version === 0) assert.equal(now, undefined, `${handle} was purged`);
    // An ended one may have been purged without the purge having been acknowledged.
    else if (now !== undefined) assert.ok(now >= version, `${handle} had version ${version}, has ${now}`);
    else assert.ok(version === 6, `${handle} had version ${version} and is gone`);
  }
  const fresh = known.size === 0 ? { since } : {};
  assert.deepEqual(await storeDisagreements(store, fresh), []);
}

async function everySession(store: SessionStore): Promise<{ readonly handle: Handle }[]> {
  return [...(await listAll(store, "live")), ...(await listAll(store, "ended"))];
}

function json(records: unknown): Json {
  return records as Json;
}
