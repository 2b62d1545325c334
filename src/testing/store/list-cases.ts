import assert from "node:assert/strict";

import type { Handle } from "../../kernel/secret.ts";
import { mintHandle } from "../../kernel/secret.ts";
import { refusal, storeCase } from "./context.ts";
import type { StoreHarness } from "./harness.ts";
import { end, listAll, put, sampleRecord, START, step } from "./samples.ts";

/** Lists by index term, and what is due. */
export function listCases(harness: StoreHarness): void {
  storeCase(
    harness,
    "guarantee 5: lists hold exactly the sessions of their term, in the order of the handles",
    async (c) => {
      const store = await c.open();
      const parent = await put(store, sampleRecord({ principal: "ann" }));
      const child = await put(
        store,
        sampleRecord({ principal: "ann", parent: parent.handle, mechanism: "dialog" }),
      );
      const owned = await put(store, sampleRecord({ principal: "anna", owner: { node: "n1", epoch: 1 } }));
      const nobody = await put(store, sampleRecord());
      const both = [parent, child].sort(byHandle);
      assert.deepEqual(await listAll(store, "p:ann"), both);
      assert.deepEqual(await listAll(store, "p:anna"), [owned], "a principal is not a prefix");
      assert.deepEqual(await listAll(store, `c:${parent.handle}`), [child]);
      assert.deepEqual(await listAll(store, "n:n1"), [owned]);
      assert.deepEqual(await listAll(store, "m:dialog"), [child]);
      assert.deepEqual(await listAll(store, "m:web"), [parent, owned, nobody].sort(byHandle));
      assert.deepEqual(await listAll(store, "live"), [parent, child, owned, nobody].sort(byHandle));
      assert.deepEqual(await listAll(store, "ended"), []);

      const moved = await step(store, owned, { owner: { node: "n2", epoch: 2 } }, "own");
      assert.deepEqual(await listAll(store, "n:n1"), []);
      assert.deepEqual(await listAll(store, "n:n2"), [moved]);

      const over = await end(store, child);
      assert.deepEqual(await listAll(store, "ended"), [over]);
      assert.deepEqual(await listAll(store, "e:ann"), [over]);
      assert.deepEqual(await listAll(store, "p:ann"), [parent]);
      assert.deepEqual(await listAll(store, "m:dialog"), []);
      assert.deepEqual(await listAll(store, `c:${parent.handle}`), []);
      const overToo = await end(store, nobody);
      assert.deepEqual(await listAll(store, "ended"), [over, overToo].sort(byHandle));
      assert.deepEqual(await listAll(store, "e:ann"), [over]);
    },
  );

  storeCase(
    harness,
    "guarantee 5: a list is paged without a session missing or told twice, while others come and go",
    async (c) => {
      const store = await c.open();
      const made = [];
      for (let i = 0; i < 25; i++) made.push(await put(store, sampleRecord({ principal: "ann" })));
      made.sort(byHandle);
      const first = await store.list({ term: "p:ann", limit: 10 });
      assert.deepEqual(
        first.found.map((found) => found.record),
        made.slice(0, 10),
      );
      assert.equal(first.next, made[9]?.handle);
      // One before and one after the place where the listing stands.
      await end(store, made[3] ?? sampleRecord());
      await end(store, made[12] ?? sampleRecord());
      const second = await store.list({ term: "p:ann", limit: 10, after: first.next as Handle });
      assert.deepEqual(
        second.found.map((found) => found.record),
        [...made.slice(10, 12), ...made.slice(13, 21)],
      );
      const third = await store.list({ term: "p:ann", limit: 10, after: second.next as Handle });
      assert.deepEqual(
        third.found.map((found) => found.record),
        made.slice(21),
      );
      assert.equal(third.next, undefined);

      const exact = await store.list({ term: "p:ann", limit: 23 });
      assert.equal(exact.found.length, 23);
      assert.equal(exact.next, undefined, "a page that holds the rest says so");
      const strangers = await store.list({ term: "p:ann", limit: 1000, after: mintHandle(63) });
      assert.ok(
        strangers.found.length <= 23,
        "a handle that is not in the list is a place in it nevertheless",
      );
      for (const limit of [0, -1, 1001, 1.5, Number.NaN]) {
        assert.equal(await refusal(() => store.list({ term: "live", limit })), "invalid-argument");
      }
    },
  );

  storeCase(harness, "principals of every kind have lists of their own", async (c) => {
    const store = await c.open();
    const names = [
      "a",
      "a:b",
      "b",
      "a*",
      "a%",
      "a_",
      "*",
      "",
      " ",
      "Ann",
      "ann",
      "é",
      "e\u0301",
      "𝄞",
      "{x}",
      "'; --",
      "x".repeat(2000),
      `${"x".repeat(2000)}y`,
    ];
    const made = new Map<string, Handle>();
    for (const principal of names)
      made.set(principal, (await put(store, sampleRecord({ principal }))).handle);
    for (const [principal, handle] of made) {
      const listed = await listAll(store, `p:${principal}`);
      assert.deepEqual(
        listed.map((record) => record.handle),
        [handle],
        JSON.stringify(principal.slice(0, 20)),
      );
    }
    assert.equal((await listAll(store, "live", 7)).length, names.length);
  });

  storeCase(
    harness,
    "guarantee 6: due: nearest deadline first, at most as many as asked, the same again until they are dealt with",
    async (c) => {
      const store = await c.open();
      const at = (idleAt: number): Promise<ReturnType<typeof sampleRecord>> =>
        put(store, sampleRecord({ idleAt }));
      const third = await at(START + 300);
      const first = await at(START + 100);
      const fourth = await at(START + 400);
      const second = await at(START + 200);
      const { idleAt: _i, idleMs: _s, absoluteAt: _a, ...endless } = sampleRecord();
      await put(store, endless);
      assert.deepEqual(await store.due(START + 99, 10), []);
      assert.deepEqual(await store.due(START + 100, 10), [first]);
      assert.deepEqual(await store.due(START + 1000, 2), [first, second]);
      assert.deepEqual(await store.due(START + 1000, 2), [first, second], "asking changes nothing");
      assert.deepEqual(await store.due(START + 1000, 10), [first, second, third, fourth]);

      const touched = await step(store, first, { idleAt: START + 350 }, "touch");
      const over = await end(store, second);
      assert.deepEqual(await store.due(START + 1000, 10), [third, touched, fourth]);
      assert.deepEqual(
        await store.due(over.ended?.purgeAt ?? 0, 10).then((all) => all.at(-1)),
        over,
        "then it can be forgotten",
      );
      const { idleAt: _t, ...forever } = third;
      const { absoluteAt: _f, ...never } = forever;
      assert.equal(await store.update(third, { ...never, version: 2 }, []), "updated");
      assert.deepEqual(await store.due(START + 1000, 10), [touched, fourth], "a deadline taken away is gone");
    },
  );

  storeCase(
    harness,
    "guarantee 6: an expired session that nobody swept is still told apart by its record",
    async (c) => {
      // The store forgets nothing by itself: the kernel refuses what is past its deadline, and journals that it did.
      const store = await c.open();
      const record = await put(store, sampleRecord({ idleAt: START + 1, absoluteAt: START + 2 }));
      assert.deepEqual((await store.get(record.handle))?.record, record);
      const [due] = await store.due(START + 2, 1);
      assert.deepEqual(due, record);
      const over = await end(store, record);
      assert.deepEqual((await store.get(record.handle))?.record, over);
    },
  );
}

function byHandle(a: { readonly handle: Handle }, b: { readonly handle: Handle }): number {
  return a.handle < b.handle ? -1 : 1;
}
