import assert from "node:assert/strict";

import { VirtualClock } from "../../kernel/clock.ts";
import { inWaves } from "./concurrency.ts";
import { storeCase } from "./context.ts";
import type { StoreHarness } from "./harness.ts";
import { START } from "./samples.ts";

/** Single-use values: tickets, resume secrets. */
export function ticketCases(harness: StoreHarness): void {
  storeCase(harness, "guarantee 4: a ticket is had once, with the bytes that were put", async (c) => {
    const clock = new VirtualClock(START);
    const [one, other] = [await c.open({ clock }), await c.open({ clock })];
    const bytes = Uint8Array.from({ length: 256 }, (_, i) => i);
    assert.equal(await one.putTicket("t1", bytes, START + 1000), true);
    assert.equal(await other.putTicket("t1", Uint8Array.of(9), START + 1000), false);
    const got = await other.takeTicket("t1", START + 999);
    assert.deepEqual(got === undefined ? undefined : [...got], [...bytes]);
    assert.equal(await other.takeTicket("t1", START + 999), undefined);
    assert.equal(await one.takeTicket("t1", START + 999), undefined);
    assert.equal(await one.putTicket("t2", new Uint8Array(0), START + 1000), true);
    assert.equal((await one.takeTicket("t2", START))?.length, 0);
    assert.equal(await one.putTicket("t3", bytes, START + 1000), true);
    for (const store of [one, other, one]) {
      const seen = await store.peekTicket("t3", START + 999);
      assert.deepEqual(seen === undefined ? undefined : [...seen], [...bytes], "looked at, not taken");
    }
    assert.equal(await one.peekTicket("t3", START + 1000), undefined);
    await other.dropTicket("t3");
    await other.dropTicket("t3");
    assert.equal(await one.takeTicket("t3", START), undefined);
    assert.equal(await one.peekTicket("t3", START), undefined);
  });

  storeCase(
    harness,
    "guarantees 4, 11: an expired ticket is had by nobody, and its key can be used again",
    async (c) => {
      const clock = new VirtualClock(START);
      const store = await c.open({ clock });
      assert.equal(await store.putTicket("t1", Uint8Array.of(1), START + 1000), true);
      assert.equal(await store.takeTicket("t1", START + 1000), undefined);
      assert.equal(await store.putTicket("t2", Uint8Array.of(2), START + 1000), true);
      clock.advance(1001);
      assert.equal(await store.putTicket("t2", Uint8Array.of(3), START + 5000), true);
      assert.deepEqual([...((await store.takeTicket("t2", START + 1001)) ?? [])], [3]);
    },
  );

  storeCase(
    harness,
    "guarantee 4: a ticket that many take at once goes to exactly one of them",
    async (c) => {
      const stores = [await c.open(), await c.open(), await c.open()];
      const far = Date.now() + 3_600_000;
      await inWaves(Math.ceil(c.trials / 10), 20, async (i) => {
        const key = `race-${i}`;
        assert.equal(await stores[0]?.putTicket(key, Uint8Array.of(1), far), true);
        const takes = await Promise.all(stores.map((store) => store.takeTicket(key, Date.now())));
        assert.equal(takes.filter((value) => value !== undefined).length, 1);
      });
    },
  );
}
