import assert from "node:assert/strict";

import type { Selector } from "../../kernel/selector.ts";
import type { CredentialKey, Handle } from "../../kernel/secret.ts";
import type { SessionStore } from "../../kernel/store.ts";
import { storeDisagreements } from "./agreement.ts";
import { inWaves } from "./concurrency.ts";
import { refusal, seeded, storeCase, until } from "./context.ts";
import { follow, liveCursor } from "./feed-cases.ts";
import type { StoreHarness } from "./harness.ts";
import { end, following, note, put, sampleRecord, START, step } from "./samples.ts";

/** What a store makes of nonsense, of a workload with everything in it, and of the system below being down. */
export function failureCases(harness: StoreHarness): void {
  storeCase(harness, "guarantee 7: what is malformed or unknown is absent, never an error", async (c) => {
    const store = await c.open();
    const record = await put(store, sampleRecord({ principal: "ann" }));
    for (const text of [
      ...NONSENSE,
      record.handle.slice(0, -1),
      `${record.handle} `,
      record.handle.toUpperCase(),
    ]) {
      const shown = JSON.stringify(text.slice(0, 40));
      assert.equal(await store.find(text as CredentialKey), undefined, shown);
      assert.equal(await store.get(text as Handle), undefined, shown);
      assert.deepEqual(await store.timeline(text as Handle), [], shown);
      assert.deepEqual(await store.list({ term: text, limit: 10 }), { found: [] }, shown);
      assert.deepEqual(await store.list({ term: `p:${text}`, limit: 10 }), { found: [] }, shown);
      assert.equal(await store.takeTicket(text, START), undefined, shown);
      assert.equal(await store.peekTicket(text, START), undefined, shown);
      await store.dropTicket(text);
      assert.equal(await store.liftBarrier(text, note("barrier-lifted")), false, shown);
    }
    const key = record.credentials.current as CredentialKey;
    assert.equal(await store.find(record.handle as string as CredentialKey), undefined, "a handle is no key");
    assert.equal(await store.get(key as string as Handle), undefined, "a key is no handle");
    assert.deepEqual((await store.get(record.handle))?.record, record);
  });

  storeCase(
    harness,
    "guarantee 8: after a mixed workload on several handles record, indexes and journal agree",
    async (c) => {
      const stores = [await c.open(), await c.open()];
      const random = seeded(c.t);
      const since = await liveCursor(stores[0] as SessionStore, "now", c.signal);
      const purged: ReturnType<typeof sampleRecord>[] = [];
      await inWaves(300, 20, async (i) => {
        const store = (): SessionStore => stores[random() < 0.5 ? 0 : 1] as SessionStore;
        let record = await put(store(), sampleRecord(i % 5 === 0 ? {} : { principal: `p${i % 9}` }));
        const steps = Math.floor(random() * 6);
        for (let n = 0; n < steps; n++) {
          const slow = following(record, { data: "lost" });
          if (random() < 0.4)
            record = await step(store(), record, { owner: { node: `n${i % 3}`, epoch: n } });
          else record = await step(store(), record, { idleAt: START + Math.floor(random() * 1e6) });
          if (random() < 0.3)
            assert.equal(await store().update({ ...slow, version: slow.version - 1 }, slow, []), "conflict");
        }
        if (random() < 0.6) record = await end(store(), record);
        if (record.state === "ended" && random() < 0.4) {
          assert.equal(await store().purge(record), true);
          purged.push(record);
        }
      });
      assert.ok(purged.length > 0);
      for (const store of stores) assert.deepEqual(await storeDisagreements(store, { since, purged }), []);
      const [store] = stores as [SessionStore];
      const stats = await store.stats();
      assert.ok(
        Object.values(stats).every((value) => Number.isFinite(value)),
        JSON.stringify(stats),
      );
    },
  );

  storeCase(
    harness,
    "guarantee 7: the system below being down is said so, in bounded time, and it goes on when it is back",
    async (c) => {
      if (c.data.outage === undefined) {
        c.t.skip("nothing can be down here");
        return;
      }
      const store = await c.open();
      const record = await put(store, sampleRecord({ principal: "ann" }));
      const feed = follow(store, "now", c.signal);
      await until("live", () => (feed.live ? true : undefined));
      const restore = await c.data.outage();
      let slowest = 0;
      try {
        for (const [name, call] of Object.entries(everyCall(store, record))) {
          const startedAt = performance.now();
          assert.equal(await refusal(call), "store-unavailable", name);
          slowest = Math.max(slowest, performance.now() - startedAt);
        }
        const outcome = await feed.over.then(
          () => "ended",
          (error: { code?: string }) => error.code,
        );
        assert.equal(outcome, "store-unavailable", "a follower is told that it hears no more");
      } finally {
        await restore();
      }
      c.t.diagnostic(`slowest refusal ${Math.round(slowest)} ms`);
      // Stores promise 250 ms; a busy machine gets room, a hanging call does not.
      assert.ok(slowest < 3000, `a call took ${Math.round(slowest)} ms to say that the store is down`);
      const back = await until("the store to be back", async () => {
        try {
          return await store.get(record.handle);
        } catch {
          return undefined;
        }
      });
      assert.deepEqual(back.record, record);
      const next = await until("the store to write again", async () => {
        try {
          return await step(store, record);
        } catch {
          return undefined;
        }
      });
      assert.deepEqual((await store.get(record.handle))?.record, next);
      const again = follow(store, feed.cursor, c.signal);
      await until("what was missed", () => (again.entries.length > 0 || again.gaps > 0 ? true : undefined));
    },
  );
}

function everyCall(
  store: SessionStore,
  record: ReturnType<typeof sampleRecord>,
): Record<string, () => unknown> {
  const selector: Selector = { all: true };
  return {
    find: () => store.find(record.credentials.current as CredentialKey),
    get: () => store.get(record.handle),
    standing: () => store.standing("ann"),
    create: () => store.create(sampleRecord({ principal: "ann" }), [], { epoch: 0, barrierSeq: 0 }),
    update: () => store.update(following(record), following(following(record)), []),
    purge: () => store.purge(following(record)),
    list: () => store.list({ term: "live", limit: 10 }),
    due: () => store.due(START, 10),
    append: () => store.append([note("note")]),
    timeline: () => store.timeline(record.handle),
    raiseEpoch: () => store.raiseEpoch("bob", [], note("epoch")),
    raiseBarrier: () =>
      store.raiseBarrier(
        { id: "b", kind: "lock", selector, reason: "", at: START, until: START },
        note("barrier"),
      ),
    liftBarrier: () => store.liftBarrier("none", note("barrier-lifted")),
    barriers: () => store.barriers(START),
    putTicket: () => store.putTicket("t", Uint8Array.of(1), START),
    takeTicket: () => store.takeTicket("t", START),
    peekTicket: () => store.peekTicket("t", START),
    dropTicket: () => store.dropTicket("t"),
    putNode: () => store.putNode({ id: "n1", epoch: 1, startedAt: START, until: START }, 7),
    nodes: () => store.nodes(),
  };
}

/** Things a peer might present where a key, a handle or a term is expected. */
const NONSENSE = [
  "",
  " ",
  "x",
  "\u0000",
  "a\u0000b",
  "\ud800",
  "\u{1d11e}",
  "__proto__",
  "constructor",
  "*",
  "%",
  "../../etc/passwd",
  "' OR 1=1 --",
  "{tag}:key",
  "p:",
  "\r\nGET /",
  "0".repeat(19),
  "0".repeat(21),
  "A".repeat(44),
  "A".repeat(43),
  "=".repeat(44),
  "é".repeat(30),
  "k".repeat(5000),
  "-1",
  "NaN",
];
