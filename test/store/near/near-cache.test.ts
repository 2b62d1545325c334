import assert from "node:assert/strict";
import { test } from "node:test";
import type { Found, SessionRecord, SessionStore } from "../../../src/kernel/index.ts";
import { isHoldfastError, VirtualClock } from "../../../src/kernel/index.ts";
import { memory } from "../../../src/store/memory/index.ts";
import { nearCache } from "../../../src/store/near/index.ts";
import { epochNote, keyOf, next, ScriptedStore, sessionOf, updateNote } from "./scripted-store.ts";

const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

function deferred(): { promise: Promise<void>; resolve: () => void } {
  let resolve = (): void => undefined;
  const promise = new Promise<void>((done) => (resolve = done));
  return { promise, resolve };
}

interface Bench {
  clock: VirtualClock;
  scripted: ScriptedStore;
  cache: SessionStore;
  /** Puts a session into the store below without the cache knowing of it. */
  put: (principal?: string) => Promise<SessionRecord>;
  stat: (name: string) => Promise<number>;
}

async function liveCache(options: { maxEntries?: number; staleMs?: number } = {}): Promise<Bench> {
  const clock = new VirtualClock();
  const scripted = new ScriptedStore(clock);
  const cache = nearCache(scripted.store, { clock, ...options });
  await settle();
  scripted.live();
  await settle();
  return {
    clock,
    scripted,
    cache,
    put: async (principal) => {
      const { epoch } = await scripted.truth.standing(principal);
      const record = sessionOf(principal, epoch);
      const created = await scripted.truth.create(record, [], { epoch, barrierSeq: 0 });
      assert.equal(created, "created");
      return record;
    },
    stat: async (name) => (await cache.stats())[name] ?? NaN,
  };
}

/** What the cache answers without going to the store. */
function atHand(cache: SessionStore, record: SessionRecord): Found | undefined {
  const found = cache.get(record.handle);
  if (found instanceof Promise) {
    void found.catch(() => undefined);
    return undefined;
  }
  return found;
}

test("a second look at a session does not reach the store, by its key or by its handle", async () => {
  const { cache, scripted, put, stat } = await liveCache();
  const record = await put("ada");
  assert.equal((await cache.find(keyOf(record)))?.record.version, 1);
  scripted.holding = true;
  const again = cache.find(keyOf(record));
  assert.ok(!(again instanceof Promise) && again !== undefined);
  assert.equal(again.record.handle, record.handle);
  assert.deepEqual(cache.get(record.handle), again);
  assert.equal(scripted.held.length, 0);
  assert.deepEqual([await stat("nearHits"), await stat("nearMisses")], [2, 1]);
});

test("a change another process made is seen as soon as the feed brings it", async () => {
  const { cache, scripted, put } = await liveCache();
  const record = await put("ada");
  await cache.find(keyOf(record));
  const changed = next(record, true);
  await scripted.update(record, changed, [updateNote(changed)]);
  scripted.deliver();
  await settle();
  assert.equal(await cache.find(keyOf(record)), undefined, "the old key leads nowhere");
  assert.equal((await cache.find(keyOf(changed)))?.record.version, 2);
});

test("an answer that was under way when the change was announced is given, but not kept", async () => {
  const { cache, scripted, put, stat } = await liveCache();
  const record = await put("ada");
  scripted.holding = true;
  const slow = cache.find(keyOf(record));
  const [read] = scripted.held;
  await read?.commit();
  const changed = next(record);
  await scripted.update(record, changed, [updateNote(changed)]);
  scripted.deliver();
  await settle();
  read?.answer();
  assert.equal((await slow)?.record.version, 1, "it began before the announcement");
  assert.equal(await stat("nearEntries"), 0);
});

test("an answer at least as new as what was announced meanwhile is kept", async () => {
  const { cache, scripted, put, stat } = await liveCache();
  const record = await put("ada");
  const changed = next(record);
  await scripted.update(record, changed, [updateNote(changed)]);
  scripted.holding = true;
  const read = cache.find(keyOf(record));
  scripted.deliver();
  await settle();
  scripted.held[0]?.answer();
  assert.equal((await read)?.record.version, 2);
  assert.equal(await stat("nearEntries"), 1);
});

test("a raised epoch reaches every session of the principal and nobody else's", async () => {
  const { cache, scripted, put } = await liveCache();
  const ada = [await put("ada"), await put("ada"), await put("ada")];
  const bob = await put("bob");
  for (const record of [...ada, bob]) await cache.get(record.handle);
  await scripted.raiseEpoch("ada", [], epochNote("ada"));
  scripted.deliver();
  await settle();
  scripted.holding = true;
  for (const record of ada) assert.equal(atHand(cache, record), undefined);
  assert.equal(atHand(cache, bob)?.epoch, 0);
  scripted.holding = false;
  for (const record of ada) assert.equal((await cache.get(record.handle))?.epoch, 1);
});

test("an answer from before a raised epoch is not kept, though the record itself did not change", async () => {
  const { cache, scripted, put, stat } = await liveCache();
  const record = await put("ada");
  scripted.holding = true;
  const slow = cache.find(keyOf(record));
  await scripted.held[0]?.commit();
  await scripted.raiseEpoch("ada", [], epochNote("ada"));
  scripted.deliver();
  await settle();
  scripted.held[0]?.answer();
  assert.equal((await slow)?.epoch, 0);
  assert.equal(await stat("nearEntries"), 0);
});

test("this process sees its own writes at once, without the feed", async () => {
  const { cache, scripted, put } = await liveCache();
  const record = await put("ada");
  await cache.find(keyOf(record));
  const rotated = next(record, true);
  assert.equal(await cache.update(record, rotated, [updateNote(rotated, "rotate")]), "updated");
  scripted.holding = true;
  assert.equal(atHand(cache, record)?.record.version, 2);
  const byNewKey = cache.find(keyOf(rotated));
  assert.ok(!(byNewKey instanceof Promise));
  assert.ok(cache.find(keyOf(record)) instanceof Promise, "the replaced key is the store's to judge");
  scripted.holding = false;
  await cache.raiseEpoch("ada", [], epochNote("ada"));
  assert.equal((await cache.get(record.handle))?.epoch, 1);
});

test("a session created here is at hand at once", async () => {
  const { cache, scripted } = await liveCache();
  const record = sessionOf("ada");
  await cache.create(record, [], await cache.standing("ada"));
  scripted.holding = true;
  assert.equal(atHand(cache, record)?.record.handle, record.handle);
});

test("its own echo in the feed does not throw out what this process wrote", async () => {
  const { cache, scripted, put } = await liveCache();
  const record = await put("ada");
  await cache.find(keyOf(record));
  const changed = next(record);
  await cache.update(record, changed, [updateNote(changed)]);
  scripted.deliver();
  await settle();
  scripted.holding = true;
  assert.equal(atHand(cache, record)?.record.version, 2);
});

test("an acknowledgement that comes after a later change of another process brings nothing back", async () => {
  const { cache, scripted, put } = await liveCache();
  const record = await put("ada");
  await cache.find(keyOf(record));
  scripted.holding = true;
  const second = next(record);
  const slowWrite = cache.update(record, second, [updateNote(second)]);
  await scripted.held[0]?.commit();
  const third = next(second);
  await scripted.update(second, third, [updateNote(third)]);
  scripted.deliver();
  await settle();
  scripted.held[0]?.answer();
  assert.equal(await slowWrite, "updated");
  assert.equal(atHand(cache, record), undefined);
});

test("a write that conflicts or fails throws out what was held", async () => {
  const { cache, scripted, put } = await liveCache();
  const [one, two] = [await put("ada"), await put("ada")];
  await cache.get(one.handle);
  await cache.get(two.handle);
  await scripted.update(one, next(one), []);
  assert.equal(await cache.update(one, next(one), []), "conflict");
  scripted.holding = true;
  assert.equal(atHand(cache, one), undefined);
  scripted.held.length = 0;
  const failing = cache.update(two, next(two), []);
  scripted.held[0]?.fail(new Error("timed out"));
  await assert.rejects(failing, /timed out/);
  assert.equal(atHand(cache, two), undefined);
});

test("a touch of another process stays unseen, and a fresh read sees it and is kept", async () => {
  const { cache, scripted, put } = await liveCache();
  const record = await put("ada");
  await cache.find(keyOf(record));
  await scripted.update(record, { ...next(record), idleAt: 99 }, []);
  assert.equal((await cache.find(keyOf(record)))?.record.idleAt, undefined);
  assert.equal((await cache.find(keyOf(record), { fresh: true }))?.record.idleAt, 99);
  assert.equal((await cache.find(keyOf(record)))?.record.idleAt, 99);
  assert.equal((await cache.get(record.handle, { fresh: true }))?.record.version, 2);
});

test("neither unknown keys nor ended sessions are held", async () => {
  const { cache, scripted, put, stat } = await liveCache();
  const record = await put("ada");
  await cache.get(record.handle);
  const ended: SessionRecord = {
    ...next(record),
    state: "ended",
    ended: { at: 1, reason: "logout", purgeAt: 9 },
  };
  await cache.update(record, ended, [updateNote(ended, "end")]);
  assert.equal((await cache.get(record.handle))?.record.state, "ended");
  assert.equal(await cache.find(keyOf(next(record, true))), undefined);
  assert.equal(await stat("nearEntries"), 0);
  assert.equal(await cache.purge(ended), true);
  assert.equal(await cache.get(record.handle), undefined);
  assert.equal(scripted.held.length, 0);
});

for (const [how, strike] of [
  ["lost", (scripted: ScriptedStore) => scripted.lose()],
  ["gapped", (scripted: ScriptedStore) => scripted.gap()],
] as const) {
  test(`a ${how} feed empties the cache and every read goes to the store until the feed is live again`, async () => {
    const { cache, clock, scripted, put, stat } = await liveCache();
    const record = await put("ada");
    await cache.find(keyOf(record));
    scripted.holding = true;
    const slow = cache.get((await put("bob")).handle);
    await scripted.held[0]?.commit();
    strike(scripted);
    await settle();
    assert.equal(await stat("nearFeedLive"), 0);
    scripted.held[0]?.answer();
    await slow;
    assert.equal(await stat("nearEntries"), 0, "nor is kept what was under way");
    scripted.holding = false;
    for (let i = 0; i < 3; i++) assert.ok(cache.find(keyOf(record)) instanceof Promise);
    await settle();
    assert.equal(await stat("nearBypassed"), 3);
    clock.advance(50);
    await settle();
    assert.equal(scripted.subscriptions, 2);
    await cache.find(keyOf(record));
    assert.equal(await stat("nearEntries"), 0, "subscribed is not yet live");
    scripted.live();
    await settle();
    await cache.find(keyOf(record));
    assert.equal(await stat("nearEntries"), 1);
    assert.equal(await stat("nearFeedLosses"), 1);
  });
}

test("a store that stays down is asked for its feed ever more slowly, up to every five seconds", async () => {
  const { clock, scripted } = await liveCache();
  for (let i = 0; i < 12; i++) {
    scripted.lose();
    await settle();
    clock.advance(5_000);
    await settle();
  }
  const before = scripted.subscriptions;
  scripted.lose();
  await settle();
  clock.advance(2_400);
  await settle();
  assert.equal(scripted.subscriptions, before);
  clock.advance(2_600);
  await settle();
  assert.equal(scripted.subscriptions, before + 1);
});

test("what is held is used only for as long as the journal was looked into, whatever the feed brings", async () => {
  const { cache, clock, scripted, put } = await liveCache({ staleMs: 40 });
  const record = await put("ada");
  await cache.get(record.handle);
  clock.advance(39);
  let looks = 0;
  const look = deferred();
  scripted.caughtUp = () => {
    looks++;
    return look.promise;
  };
  assert.ok(atHand(cache, record), "the last look was within 40 ms");
  assert.equal(looks, 1, "and the next is under way before it is needed");
  clock.advance(1);
  assert.equal(atHand(cache, record), undefined);
  assert.equal(looks, 1, "one at a time");
  clock.advance(30);
  look.resolve();
  await settle();
  assert.ok(atHand(cache, record), "what counts is when the look was asked for");
  clock.advance(9);
  assert.equal(atHand(cache, record), undefined);
});

test("a clock that is set back makes nothing current", async () => {
  const { cache, clock, scripted, put } = await liveCache();
  const record = await put("ada");
  await cache.get(record.handle);
  assert.ok(atHand(cache, record));
  scripted.caughtUp = () => Promise.reject(new Error("no look"));
  clock.now = () => 1_700_000_000_000;
  assert.equal(atHand(cache, record), undefined);
});

test("once it is settled nobody answers with what was replaced, though the feed told nobody", async () => {
  const { cache, clock, scripted, put } = await liveCache({ staleMs: 25 });
  const record = await put("ada");
  await cache.find(keyOf(record));
  // A look begun before the change says nothing of it, however late it is answered.
  const look = deferred();
  scripted.caughtUp = () => look.promise;
  clock.advance(20);
  assert.ok(atHand(cache, record));
  await scripted.update(record, next(record, true), [updateNote(next(record, true))]);
  const settled = cache.settled?.().then(() => "settled");
  clock.advance(24);
  assert.equal(await Promise.race([settled, settle().then(() => "not yet")]), "not yet");
  clock.advance(3);
  assert.equal(await settled, "settled");
  look.resolve();
  await settle();
  assert.equal(await cache.find(keyOf(record)), undefined);
});

test("the bound holds, and what is in use outlasts what is not", async () => {
  const { cache, put, stat } = await liveCache({ maxEntries: 50 });
  const busy: SessionRecord[] = [];
  for (let i = 0; i < 10; i++) busy.push(await put("ada"));
  for (const record of busy) await cache.get(record.handle);
  for (let i = 0; i < 500; i++) {
    await cache.get((await put(`p${i}`)).handle);
    for (const record of busy) await cache.get(record.handle);
  }
  assert.equal(await stat("nearEntries"), 50);
  assert.equal(await stat("nearMisses"), 510, "the busy ten were read from the store once each");
});

test("what a caller does to a record it got or gave changes nothing that others see", async () => {
  const { cache } = await liveCache();
  const data = { tags: ["a"] };
  const record: SessionRecord = { ...sessionOf("ada"), data };
  await cache.create(record, [], await cache.standing("ada"));
  data.tags.push("b");
  const found = await cache.get(record.handle);
  assert.deepEqual(found?.record.data, { tags: ["a"] });
  assert.ok(Object.isFrozen(found?.record.data));
});

test("a closed cache has closed its store", async () => {
  const store = memory();
  const cache = nearCache(store);
  await settle();
  await cache.close();
  assert.throws(
    () => store.stats(),
    (error) => isHoldfastError(error, "store-closed"),
  );
});

test("a bound that is no number of records, and a time that is none, are refused", () => {
  for (const maxEntries of [0, -1, 1.5, NaN]) {
    assert.throws(
      () => nearCache(memory(), { maxEntries }),
      (error) => isHoldfastError(error, "invalid-argument"),
    );
  }
  for (const staleMs of [0, -1, 60_001, NaN]) {
    assert.throws(
      () => nearCache(memory(), { staleMs }),
      (error) => isHoldfastError(error, "invalid-argument"),
    );
  }
});
