import assert from "node:assert/strict";

import { isHoldfastError } from "../../kernel/errors.ts";
import type { NodeLease } from "../../kernel/store.ts";
import { storeCase } from "./context.ts";
import type { StoreHarness } from "./harness.ts";
import { end, entryOf, following, note, put, sampleRecord, START, step } from "./samples.ts";

/** What stands above single sessions: principals' epochs, barriers, nodes. */
export function governanceCases(harness: StoreHarness): void {
  storeCase(
    harness,
    "guarantee 5: raising an epoch refuses creates that read the old one, and is seen with every session",
    async (c) => {
      const [one, other] = [await c.open(), await c.open()];
      const before = await put(one, sampleRecord({ principal: "ann" }));
      const stranger = await put(one, sampleRecord({ principal: "bob" }));
      const standing = await one.standing("ann");
      assert.equal(await other.raiseEpoch("ann", [], note("epoch", "ann")), 1);
      const racing = sampleRecord({ principal: "ann" });
      assert.equal(await one.create(racing, [entryOf(racing, "establish")], standing), "stale-standing");
      assert.equal(await one.get(racing.handle), undefined);
      assert.deepEqual(await one.timeline(racing.handle), []);
      assert.deepEqual(await one.standing("ann"), { epoch: 1, barrierSeq: 0 });
      assert.deepEqual(await one.get(before.handle), { record: before, epoch: 1 });
      assert.deepEqual((await one.list({ term: "p:ann", limit: 10 })).found, [{ record: before, epoch: 1 }]);
      assert.deepEqual(await one.get(stranger.handle), { record: stranger, epoch: 0 });
      assert.equal((await put(one, sampleRecord({ principal: "ann" }))).epoch, 1);
      assert.equal(await one.raiseEpoch("ann", [], note("epoch", "ann")), 2);
    },
  );

  storeCase(
    harness,
    "guarantee 5: raising an epoch carries over the live sessions to keep, and no other",
    async (c) => {
      const store = await c.open();
      const make = () => put(store, sampleRecord({ principal: "ann" }));
      const revoked = await make();
      assert.equal(await store.raiseEpoch("ann", [], note("epoch", "ann")), 1);
      const [kept, dropped, over] = [await make(), await make(), await end(store, await make())];
      const theirs = await put(store, sampleRecord({ principal: "bob" }));
      const keep = [kept, revoked, over, theirs, sampleRecord()].map((record) => record.handle);
      assert.equal(await store.raiseEpoch("ann", keep, note("epoch", "ann")), 2);
      const now = await store.get(kept.handle);
      assert.deepEqual(now, { record: { ...kept, epoch: 2, version: 2 }, epoch: 2 });
      assert.deepEqual((await store.get(dropped.handle))?.record, dropped);
      assert.deepEqual(
        (await store.get(revoked.handle))?.record,
        revoked,
        "what was revoked before is not brought back",
      );
      assert.deepEqual((await store.get(over.handle))?.record, over);
      assert.deepEqual((await store.get(theirs.handle))?.record, theirs);
      const slow = following(kept, { data: "slow" });
      assert.equal(
        await store.update(kept, slow, [entryOf(slow, "update")]),
        "conflict",
        "nor is its epoch set back",
      );
      await step(store, now?.record ?? kept, { data: "quick" });
    },
  );

  storeCase(
    harness,
    "guarantee 5: a barrier has the next number, and refuses creates that did not know of it",
    async (c) => {
      const [one, other] = [await c.open(), await c.open()];
      const draft = {
        kind: "lock",
        selector: { principal: "ann" },
        reason: "stolen laptop",
        by: "ops",
        at: START,
      } as const;
      const standing = await one.standing("bob");
      const first = await other.raiseBarrier({ ...draft, id: "b1" }, note("barrier"));
      assert.deepEqual(first, { ...draft, id: "b1", seq: 1 });
      const racing = sampleRecord({ principal: "bob" });
      assert.equal(await one.create(racing, [entryOf(racing, "establish")], standing), "stale-standing");
      const made = await put(one, racing);
      assert.equal(made.barrierSeq, 1);
      const second = await one.raiseBarrier(
        { ...draft, id: "b2", kind: "revocation", until: START + 100 },
        note("barrier"),
      );
      assert.equal(second.seq, 2);
      assert.deepEqual(await other.barriers(START), [first, second]);
      assert.deepEqual(await other.barriers(START + 99), [first, second]);
      assert.deepEqual(await other.barriers(START + 100), [first], "its time is over");
      assert.equal(await one.liftBarrier("b1", note("barrier-lifted")), true);
      assert.equal(await one.liftBarrier("b1", note("barrier-lifted")), false);
      assert.equal(await one.liftBarrier("never", note("barrier-lifted")), false);
      assert.deepEqual(await other.barriers(START + 100), []);
      assert.deepEqual(
        await other.standing("bob"),
        { epoch: 0, barrierSeq: 2 },
        "numbers are never given again",
      );
      assert.equal((await other.raiseBarrier({ ...draft, id: "b3" }, note("barrier"))).seq, 3);
    },
  );

  storeCase(harness, "a node's name has one holder, and whoever takes it raises its epoch", async (c) => {
    const [one, other] = [await c.open(), await c.open()];
    const lease: NodeLease = {
      id: "n1",
      epoch: 1,
      startedAt: START,
      until: START + 10_000,
      about: { pid: 7, version: "1" },
    };
    assert.deepEqual(await one.nodes(), []);
    assert.equal(await one.putNode(lease, 0), true);
    assert.equal(await other.putNode({ ...lease, about: { pid: 8 } }, 0), false);
    assert.deepEqual(await other.nodes(), [lease]);
    const renewed = { ...lease, until: START + 20_000 };
    assert.equal(await one.putNode(renewed, 1), true);
    const taken = { ...lease, epoch: 2, startedAt: START + 30_000, until: START + 40_000 };
    assert.equal(await other.putNode(taken, 1), true);
    assert.equal(await one.putNode({ ...renewed, until: START + 50_000 }, 1), false, "a zombie cannot renew");
    assert.deepEqual(await one.nodes(), [taken]);
    assert.equal(await other.putNode({ ...taken, gone: true }, 2), true);
    assert.equal(await one.putNode({ ...lease, id: "n2" }, 0), true);
    const ids = (await one.nodes()).map((node) => node.id).sort();
    assert.deepEqual(ids, ["n1", "n2"]);
  });

  storeCase(
    harness,
    "nodes that are long gone are forgotten when a name is taken, and only then",
    async (c) => {
      const [one, other] = [await c.open(), await c.open()];
      const lease = (id: string, startedAt: number, epoch = 1): NodeLease => ({
        id,
        epoch,
        startedAt,
        until: startedAt + 10_000,
      });
      const ids = async (): Promise<string[]> => (await other.nodes()).map((node) => node.id).sort();
      const dayAfter = START + 10_000 + 86_400_000;
      for (const id of ["gone", "silent", "zombie"]) assert.ok(await one.putNode(lease(id, START), 0));
      assert.ok(await one.putNode({ ...lease("gone", START), gone: true }, 1));
      assert.ok(await one.putNode({ ...lease("zombie", START, 2), gone: true }, 1));
      assert.ok(await other.putNode(lease("n1", dayAfter - 1), 0));
      assert.deepEqual(await ids(), ["gone", "n1", "silent", "zombie"], "people still see what went lately");
      assert.ok(await other.putNode({ ...lease("n1", dayAfter), until: dayAfter + 20_000 }, 1));
      assert.deepEqual(await ids(), ["gone", "n1", "silent", "zombie"], "renewing a lease forgets nothing");
      // A name comes back under its own lease, however long it was away; silent nodes are not gone before they were inherited.
      assert.ok(await other.putNode(lease("gone", dayAfter, 2), 1));
      assert.deepEqual(await ids(), ["gone", "n1", "silent"]);
      for (const epoch of [1, 2])
        assert.equal(
          await one.putNode(lease("zombie", START, epoch), epoch),
          false,
          "its lease is nobody's now",
        );
      assert.ok(await one.putNode(lease("zombie", dayAfter, 7), 0));
      assert.equal(await other.putNode(lease("zombie", dayAfter, 3), 2), false);
      assert.deepEqual(await ids(), ["gone", "n1", "silent", "zombie"]);
    },
  );

  storeCase(
    harness,
    "guarantee 7: a store that was closed says so, and closing twice is closing",
    async (c) => {
      const store = await c.open();
      const record = await put(store);
      await store.close();
      await store.close();
      const calls: Record<string, () => unknown> = {
        get: () => store.get(record.handle),
        standing: () => store.standing("ann"),
        create: () => store.create(sampleRecord(), [], { epoch: 0, barrierSeq: 0 }),
        update: () => store.update(record, following(record), []),
        list: () => store.list({ term: "live", limit: 1 }),
        due: () => store.due(START, 1),
        append: () => store.append([note("note")]),
        timeline: () => store.timeline(record.handle),
        takeTicket: () => store.takeTicket("t", START),
        nodes: () => store.nodes(),
        barriers: () => store.barriers(START),
      };
      for (const [name, call] of Object.entries(calls)) {
        await assert.rejects(
          async () => call(),
          (error) => isHoldfastError(error, "store-closed"),
          name,
        );
      }
    },
  );
}
