import assert from "node:assert/strict";

import type { SessionRecord } from "../../kernel/record.ts";
import type { CredentialKey, SecretDigest } from "../../kernel/secret.ts";
import { digestOfKey, shardOfPrincipal } from "../../kernel/secret.ts";
import type { SessionStore } from "../../kernel/store.ts";
import { storeCase } from "./context.ts";
import type { StoreHarness } from "./harness.ts";
import { end, note, put, sampleKey, sampleRecord, START, step } from "./samples.ts";

/** What a store recalls may be used without another look: never what was replaced, has ended, expired or was revoked. */
export function recallCases(harness: StoreHarness): void {
  storeCase(harness, "guarantee 3: a replaced secret recalls nothing, nor does one on offer", async (c) => {
    const store = await c.open();
    const first = await put(store, sampleRecord({ principal: "ann" }));
    await recalls(store, first);
    const shard = shardOfPrincipal("ann");
    const [next, offered] = [sampleKey(shard), sampleKey(shard)];
    const before = currentOf(first);
    const rotated = await step(store, first, {
      credentials: {
        current: next,
        pending: offered,
        previous: { key: before, until: START + 60_000 },
        retired: [],
      },
    });
    await recalls(store, rotated);
    for (const key of [before, offered]) await recallsNothing(store, key);
    const data = await step(store, rotated, { data: { theme: "light" } });
    await recalls(store, data);
  });

  storeCase(harness, "what is past a limit, suspended, ended or purged recalls nothing", async (c) => {
    const store = await c.open();
    const record = await put(store, sampleRecord({ idleAt: START + 5_000, absoluteAt: START + 9_000 }));
    await recalls(store, record);
    const key = currentOf(record);
    await recallsNothing(store, key, START + 5_000);
    const used = await step(store, record, { idleAt: START + 60_000 });
    await recalls(store, used, START + 8_999);
    await recallsNothing(store, key, START + 9_000);
    const suspended = await step(store, used, { state: "suspended", suspendUntil: START + 8_000 }, "suspend");
    await recallsNothing(store, key);
    const { suspendUntil: _over, ...resumed } = suspended;
    const back = { ...resumed, version: resumed.version + 1, state: "established" as const };
    assert.equal(await store.update(suspended, back, []), "updated");
    await recalls(store, back);
    const over = await end(store, back);
    await recallsNothing(store, key);
    await store.purge(over);
    await recallsNothing(store, key);
  });

  storeCase(harness, "guarantee 5: a raised epoch recalls only what was carried over", async (c) => {
    const store = await c.open();
    const [kept, other] = [
      await put(store, sampleRecord({ principal: "ann" })),
      await put(store, sampleRecord({ principal: "ann" })),
    ];
    const bystander = await put(store, sampleRecord({ principal: "bob" }));
    for (const record of [kept, other, bystander]) await recalls(store, record);
    await store.raiseEpoch("ann", [kept.handle], note("epoch", "ann"));
    await recallsNothing(store, currentOf(other));
    const now = (await store.get(kept.handle, { fresh: true }))?.record;
    assert.ok(now);
    await recalls(store, now);
    await recalls(store, bystander);
  });
}

/** `undefined` says nothing; whatever else is answered must be the record as it is. */
async function recalls(store: SessionStore, record: SessionRecord, now: number = START): Promise<void> {
  const key = currentOf(record);
  await store.find(key);
  const recalled = store.recall?.(digestOf(key), now);
  if (recalled !== undefined) assert.deepEqual(recalled, record);
}

async function recallsNothing(store: SessionStore, key: CredentialKey, now: number = START): Promise<void> {
  assert.equal(store.recall?.(digestOf(key), now), undefined);
  // Nor when it was asked for by its key just now.
  await store.find(key);
  assert.equal(store.recall?.(digestOf(key), now), undefined);
}

function currentOf(record: SessionRecord): CredentialKey {
  const { current } = record.credentials;
  assert.ok(current !== undefined);
  return current;
}

function digestOf(key: CredentialKey): SecretDigest {
  const digest = digestOfKey(key);
  assert.ok(digest !== undefined);
  return digest;
}
