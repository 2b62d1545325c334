import assert from "node:assert/strict";

import type { SessionRecord } from "../../kernel/record.ts";
import { credentialKeys, indexTerms } from "../../kernel/record.ts";
import type { CredentialKey, Handle } from "../../kernel/secret.ts";
import { shardOfPrincipal } from "../../kernel/secret.ts";
import { refusal, storeCase } from "./context.ts";
import type { StoreHarness } from "./harness.ts";
import {
  end,
  ended,
  entryOf,
  following,
  listAll,
  put,
  sampleKey,
  sampleRecord,
  START,
  step,
} from "./samples.ts";

/** One record at a time: what is written is read back by every way, and only the next version replaces a version. */
export function recordCases(harness: StoreHarness): void {
  storeCase(
    harness,
    "guarantee 1: a created session is found by handle and by key, with everything it was given",
    async (c) => {
      const store = await c.open();
      const full = fullRecord();
      await put(store, full);
      assert.deepEqual(await store.get(full.handle), { record: full, epoch: 0 });
      for (const key of credentialKeys(full)) {
        assert.deepEqual(await store.find(key), { record: full, epoch: 0 });
      }
      assert.deepEqual(await (await c.open()).get(full.handle), { record: full, epoch: 0 });
    },
  );

  storeCase(harness, "an anonymous session has epoch 0 and is in no principal's list", async (c) => {
    const store = await c.open();
    const record = await put(store, sampleRecord({ data: null }));
    assert.deepEqual(await store.standing(undefined), { epoch: 0, barrierSeq: 0 });
    assert.equal((await store.get(record.handle))?.epoch, 0);
    assert.deepEqual(await listAll(store, "live"), [record]);
  });

  storeCase(harness, "guarantee 1: neither a handle nor a key is ever given twice", async (c) => {
    const store = await c.open();
    const first = await put(store, sampleRecord({ principal: "ann" }));
    const standing = await store.standing("ann");
    const again = sampleRecord({ principal: "ann", handle: first.handle });
    assert.equal(await store.create(again, [entryOf(again, "establish")], standing), "exists");
    const sameKey = sampleRecord({ principal: "ann", credentials: first.credentials });
    assert.equal(await store.create(sameKey, [entryOf(sameKey, "establish")], standing), "exists");
    assert.equal(await store.get(sameKey.handle), undefined);
    assert.deepEqual((await store.get(first.handle))?.record, first);
    assert.equal((await store.timeline(first.handle)).length, 1, "a refused create leaves no entry");

    const gone = await end(store, first);
    assert.equal(await store.create(again, [entryOf(again, "establish")], standing), "exists");
    assert.deepEqual((await store.get(first.handle))?.record, gone, "nor after it ended");
  });

  storeCase(harness, "guarantee 2: an update replaces exactly the version it read", async (c) => {
    const store = await c.open();
    const first = await put(store);
    const second = await step(store, first, { data: { cart: ["a", { n: 1 }] }, label: "left" });
    assert.deepEqual((await store.get(first.handle))?.record, second);
    const late = following(first, { data: "late" });
    assert.equal(await store.update(first, late, [entryOf(late, "update")]), "conflict");
    const early = following(following(second), { data: "early" });
    assert.equal(await store.update(following(second), early, [entryOf(early, "update")]), "conflict");
    assert.deepEqual((await store.get(first.handle))?.record, second);
    assert.deepEqual(
      (await store.timeline(first.handle)).map((entry) => entry.version),
      [1, 2],
      "a refused update leaves no entry",
    );
  });

  storeCase(
    harness,
    "guarantee 2: a missing session is not created by an update, an ended one not brought back",
    async (c) => {
      const store = await c.open();
      const never = sampleRecord();
      const next = following(never);
      assert.equal(await store.update(never, next, [entryOf(next, "update")]), "absent");
      assert.equal(await store.get(never.handle), undefined);
      assert.equal(await store.find(credentialKeys(never)[0] as CredentialKey), undefined);

      const first = await put(store);
      const over = await end(store, first);
      const slow = following(first, { data: "slow writer" });
      assert.equal(await store.update(first, slow, [entryOf(slow, "update")]), "conflict");
      assert.deepEqual((await store.get(first.handle))?.record, over);
      assert.equal(await store.purge(over), true);
      assert.equal(await store.update(first, slow, [entryOf(slow, "update")]), "absent");
      assert.equal(await store.get(first.handle), undefined);
    },
  );

  storeCase(
    harness,
    "guarantee 2: an update that skips a version or changes the handle is a mistake, not a conflict",
    async (c) => {
      const store = await c.open();
      const first = await put(store);
      const skipping = { ...first, version: 3 };
      assert.equal(await refusal(() => store.update(first, skipping, [])), "invalid-argument");
      const other = { ...following(first), handle: sampleRecord().handle };
      assert.equal(await refusal(() => store.update(first, other, [])), "invalid-argument");
      const second = { ...sampleRecord(), version: 2 };
      const standing = { epoch: 0, barrierSeq: 0 };
      assert.equal(await refusal(() => store.create(second, [], standing)), "invalid-argument");
    },
  );

  storeCase(
    harness,
    "guarantee 3: rotation: the old key leads here for as long as the record names it, and no longer",
    async (c) => {
      const store = await c.open();
      const shard = shardOfPrincipal("ann");
      const [old, fresh] = [sampleKey(shard), sampleKey(shard)];
      const first = await put(
        store,
        sampleRecord({ principal: "ann", credentials: { current: old, retired: [] } }),
      );
      const grace = { current: fresh, previous: { key: old, until: START + 5000 }, retired: [] };
      const second = await step(store, first, { credentials: grace }, "rotate");
      assert.deepEqual((await store.find(old))?.record, second);
      assert.deepEqual((await store.find(fresh))?.record, second);
      // Remembered, so that its use is recognised as reuse.
      const retired = { current: fresh, retired: [{ key: old, quietUntil: START + 5000 }] };
      const third = await step(store, second, { credentials: retired });
      assert.deepEqual((await store.find(old))?.record, third);
      await step(store, third, { credentials: { current: fresh, retired: [] } });
      assert.equal(await store.find(old), undefined);
      assert.equal((await store.find(fresh))?.record.handle, first.handle);
    },
  );

  storeCase(
    harness,
    "guarantee 3: rotation is atomic: while it happens, one of the two keys leads to the session",
    async (c) => {
      const [writer, reader] = [await c.open(), await c.open()];
      const shard = shardOfPrincipal("ann");
      const keys = Array.from({ length: 101 }, () => sampleKey(shard));
      const keyAt = (i: number): CredentialKey => keys[i] as CredentialKey;
      let record = await put(
        writer,
        sampleRecord({ principal: "ann", credentials: { current: keyAt(0), retired: [] } }),
      );
      for (let i = 1; i <= 100; i++) {
        const rotated = step(writer, record, { credentials: { current: keyAt(i), retired: [] } }, "rotate");
        let done = false;
        const watching = (async () => {
          while (!done) {
            // The old one first: found neither here nor, afterwards, under the new key would be a session lost between.
            const before = await reader.find(keyAt(i - 1));
            const after = await reader.find(keyAt(i));
            assert.ok(before !== undefined || after !== undefined, "the session was nowhere for a moment");
            await new Promise(setImmediate);
          }
        })();
        record = await rotated;
        done = true;
        await watching;
        assert.equal(await writer.find(keyAt(i - 1)), undefined);
        assert.equal(await reader.find(keyAt(i - 1)), undefined);
        assert.equal((await reader.find(keyAt(i)))?.record.version, i + 1);
      }
    },
  );

  storeCase(
    harness,
    "guarantee 3: a key of one session is not taken over by an update of another",
    async (c) => {
      const store = await c.open();
      const mine = await put(store, sampleRecord({ principal: "ann" }));
      const theirs = await put(store, sampleRecord({ principal: "ann" }));
      const thief = following(theirs, {
        credentials: { ...theirs.credentials, pending: credentialKeys(mine)[0] as CredentialKey },
      });
      assert.equal(await store.update(theirs, thief, [entryOf(thief, "issue")]), "conflict");
      assert.deepEqual((await store.find(credentialKeys(mine)[0] as CredentialKey))?.record, mine);
      assert.deepEqual((await store.get(theirs.handle))?.record, theirs);
    },
  );

  storeCase(harness, "changing what was read changes nothing that is stored", async (c) => {
    const store = await c.open();
    const data = { cart: ["a"] };
    const record = await put(store, sampleRecord({ data }));
    data.cart.push("b");
    const read = (await store.get(record.handle))?.record.data as { cart: string[] };
    try {
      read.cart.push("c");
    } catch (error) {
      assert.ok(error instanceof TypeError, "a store may also hand out what cannot be changed");
    }
    assert.deepEqual((await store.get(record.handle))?.record.data, { cart: ["a"] });
  });

  storeCase(
    harness,
    "guarantee 8: a purged session leaves nothing, and only the version that was meant is purged",
    async (c) => {
      const store = await c.open();
      const first = await put(store, fullRecord());
      const second = await step(store, first);
      assert.equal(await store.purge(first), false, "it has moved on");
      assert.deepEqual((await store.get(first.handle))?.record, second);
      assert.equal(await store.purge(second), true);
      assert.equal(await store.purge(second), false);
      assert.equal(await store.get(first.handle), undefined);
      for (const key of credentialKeys(second)) assert.equal(await store.find(key), undefined);
      for (const term of indexTerms(second)) assert.deepEqual(await listAll(store, term), [], term);
      assert.deepEqual(await store.due(Number.MAX_SAFE_INTEGER, 10), []);
      assert.deepEqual(await store.timeline(first.handle), []);
    },
  );

  storeCase(
    harness,
    "guarantee 9: acknowledged durable or visible, every other handle sees it at once",
    async (c) => {
      const [one, other] = [await c.open(), await c.open()];
      for (const ack of ["visible", "durable"] as const) {
        const record = sampleRecord();
        const standing = await one.standing(undefined);
        assert.equal(await one.create(record, [entryOf(record, "establish")], standing, ack), "created");
        assert.deepEqual((await other.get(record.handle))?.record, record);
        const next = following(record, { data: ack });
        assert.equal(await one.update(record, next, [entryOf(next, "update")], ack), "updated");
        assert.deepEqual((await other.get(record.handle))?.record, next);
        const over = ended(next);
        assert.equal(await other.update(next, over, [entryOf(over, "end")], ack), "updated");
        assert.deepEqual((await one.get(record.handle))?.record, over);
      }
    },
  );
}

/** A record with every field a record can have. */
function fullRecord(): SessionRecord {
  const shard = shardOfPrincipal("Zoë O'Hara <zoe@example.org>");
  return sampleRecord({
    principal: "Zoë O'Hara <zoe@example.org>",
    mechanism: "dialog",
    mode: "full-duplex",
    state: "suspended",
    parent: sampleRecord().handle as Handle,
    suspendUntil: START + 60_000,
    credentials: {
      current: sampleKey(shard),
      pending: sampleKey(shard),
      previous: { key: sampleKey(shard), until: START + 10 },
      retired: [
        { key: sampleKey(shard), quietUntil: START },
        { key: sampleKey(shard), quietUntil: START },
      ],
    },
    authentication: { at: START, amr: ["pwd", "otp"], aal: 2 },
    owner: { node: "n1", epoch: 3 },
    checkpoint: { position: 2 ** 40, at: START, total: 2 ** 41, note: { part: [1, null, true, "☂"] } },
    peer: { address: "2001:db8::7", agent: "suite/1.0", device: "d1" },
    roles: ["admin", "ops"],
    tenant: "t1",
    label: 'a "quoted" \\ label\u0000with every kind of\ncharacter 𝄞',
    data: { deep: { er: [{ x: -0.5 }, [], {}] }, "": null, text: "𝄞" },
  });
}
