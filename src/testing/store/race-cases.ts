import assert from "node:assert/strict";

import type { SessionRecord } from "../../kernel/record.ts";
import type { SessionStore, UpdateOutcome } from "../../kernel/store.ts";
import { inWaves } from "./concurrency.ts";
import { seeded, storeCase } from "./context.ts";
import type { StoreHarness } from "./harness.ts";
import { ended, entryOf, following, put, sampleRecord } from "./samples.ts";

/** Races between handles on the same data, in great number: 0 lost, 0 resurrected. */
export function raceCases(harness: StoreHarness): void {
  storeCase(
    harness,
    "guarantee 2: of two concurrent updates one wins and the other learns of it: none is lost",
    async (c) => {
      const [one, other] = [await c.open(), await c.open()];
      let lost = 0;
      let won = 0;
      // Each lane is a session of its own, written again and again by both sides at once.
      const lanes = 50;
      const rounds = Math.ceil(c.trials / lanes);
      const finals = new Map<SessionRecord["handle"], number>();
      await inWaves(lanes, lanes, async (lane) => {
        let record = await put(one, sampleRecord({ principal: `p${lane}`, data: 0 }));
        for (let i = 0; i < rounds; i++) {
          const mine = following(record, { data: { by: "one", i } });
          const theirs = following(record, { data: { by: "other", i } });
          const first = i % 2 === 0 ? write(one, record, mine) : write(other, record, theirs);
          const second = i % 2 === 0 ? write(other, record, theirs) : write(one, record, mine);
          const outcomes = (await Promise.all([first, second])).sort();
          assert.deepEqual(outcomes, ["conflict", "updated"]);
          won += 1;
          const now = (await (i % 3 === 0 ? one : other).get(record.handle))?.record;
          const winner = ((await first) === "updated") === (i % 2 === 0) ? mine : theirs;
          if (JSON.stringify(now?.data) !== JSON.stringify(winner.data) || now?.version !== winner.version)
            lost += 1;
          record = winner;
        }
        finals.set(record.handle, record.version);
      });
      assert.equal(lost, 0, "updates that were acknowledged and are not there");
      assert.equal(won, lanes * rounds);
      for (const [handle, version] of finals)
        assert.equal((await other.get(handle))?.record.version, version);
      c.t.diagnostic(`${won} trials, ${lost} lost`);
    },
  );

  storeCase(
    harness,
    "guarantee 2: a session that ends while a slow request writes stays ended",
    async (c) => {
      const [one, other] = [await c.open(), await c.open()];
      const random = seeded(c.t);
      const tally = { ended: 0, resurrected: 0, slowFirst: 0, slowRefused: 0 };
      await inWaves(c.trials, 200, async (i) => {
        const read = await put(one, sampleRecord({ principal: `p${i % 50}` }));
        const slowFirst = random() < 0.5;
        const together = random() < 0.5;
        const slow = (): Promise<UpdateOutcome> =>
          write(other, read, following(read, { data: "slow request" }));
        const logout = (): Promise<SessionRecord> => endWhateverHappens(one, read);
        let outcome: UpdateOutcome;
        if (together)
          [outcome] = slowFirst ? await Promise.all([slow(), logout()]) : await reversed(logout, slow);
        else if (slowFirst) outcome = await slow().then(async (value) => logout().then(() => value));
        else outcome = await logout().then(slow);
        if (outcome === "updated") tally.slowFirst += 1;
        else tally.slowRefused += 1;
        const reader = random() < 0.5 ? one : other;
        const now = (await reader.get(read.handle))?.record;
        if (now?.state === "ended" && now.ended?.reason === "logout") tally.ended += 1;
        else tally.resurrected += 1;
        assert.equal(await write(other, read, following(read, { data: "slower still" })), "conflict");
      });
      assert.equal(tally.resurrected, 0);
      assert.equal(tally.ended, c.trials);
      assert.ok(tally.slowFirst > 0 && tally.slowRefused > 0, "both orders were tried");
      c.t.diagnostic(JSON.stringify(tally));
      assert.equal((await other.list({ term: "live", limit: 1 })).found.length, 0);
    },
  );

  storeCase(harness, "guarantee 1: of many creates of one session one wins", async (c) => {
    const stores = [await c.open(), await c.open()];
    await inWaves(Math.ceil(c.trials / 10), 25, async (i) => {
      const record = sampleRecord({ principal: `p${i % 10}` });
      const creates = [0, 1, 0, 1].map((n) => {
        const store = stores[n] as SessionStore;
        return store.create(record, [entryOf(record, "establish")], { epoch: 0, barrierSeq: 0 });
      });
      const outcomes = (await Promise.all(creates)).sort();
      assert.deepEqual(outcomes, ["created", "exists", "exists", "exists"]);
    });
  });

  storeCase(
    harness,
    "guarantee 5: a create that races with raising the epoch is refused or was there before",
    async (c) => {
      const [one, other] = [await c.open(), await c.open()];
      let refused = 0;
      await inWaves(Math.ceil(c.trials / 50), 10, async (i) => {
        const principal = `p${i}`;
        const standing = await one.standing(principal);
        const racing = Array.from({ length: 6 }, () => sampleRecord({ principal, epoch: standing.epoch }));
        const creating = racing.map((record, n) =>
          (n % 2 === 0 ? one : other).create(record, [entryOf(record, "establish")], standing),
        );
        const raised = other.raiseEpoch(principal, [], {
          at: 0,
          phase: "governance",
          event: "epoch",
          principal,
        });
        const more = racing.map((_, n) => {
          const record = sampleRecord({ principal, epoch: standing.epoch });
          return (n % 2 === 0 ? one : other).create(record, [], standing);
        });
        const outcomes = await Promise.all([...creating, ...more]);
        assert.equal(await raised, 1);
        refused += outcomes.filter((outcome) => outcome === "stale-standing").length;
        const made = outcomes.filter((outcome) => outcome === "created").length;
        const { found } = await one.list({ term: `p:${principal}`, limit: 100 });
        assert.equal(found.length, made);
        assert.ok(
          found.every(({ record, epoch }) => record.epoch < epoch),
          "none escaped the epoch",
        );
      });
      assert.ok(refused > 0, "some creates came too late");
    },
  );
}

function write(store: SessionStore, prev: SessionRecord, next: SessionRecord): Promise<UpdateOutcome> {
  return store.update(prev, next, [entryOf(next, "update")]);
}

/** As a logout does: when another write came first, it reads again and ends what is there. */
async function endWhateverHappens(store: SessionStore, read: SessionRecord): Promise<SessionRecord> {
  let record = read;
  for (;;) {
    const over = ended(record);
    const outcome = await store.update(record, over, [entryOf(over, "end")]);
    if (outcome === "updated") return over;
    const now = await store.get(record.handle);
    if (now === undefined) throw new Error("the session is gone");
    record = now.record;
  }
}

/** Starts the logout first. */
async function reversed(
  logout: () => Promise<SessionRecord>,
  slow: () => Promise<UpdateOutcome>,
): Promise<[UpdateOutcome]> {
  const ending = logout();
  const outcome = await slow();
  await ending;
  return [outcome];
}
