import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { CredentialKey, SecretDigest, SessionRecord } from "../../../src/kernel/index.ts";
import {
  createKernel,
  credentialKey,
  digestOfKey,
  mintSecret,
  secretDigest,
  VirtualClock,
} from "../../../src/kernel/index.ts";
import { judge } from "../../../src/kernel/judge.ts";
import { memory } from "../../../src/store/memory/index.ts";
import { Entries } from "../../../src/store/near/entries.ts";
import { nearCache } from "../../../src/store/near/index.ts";
import { freshKey, sessionOf } from "./scripted-store.ts";

const NOW = 1_800_000_000_000;
const digestOf = (key: CredentialKey): SecretDigest => digestOfKey(key) as SecretDigest;

/** A record in any standing: with or without limits, of an old epoch, suspended, ended, with secrets in every slot. */
const standing = fc.record({
  state: fc.constantFrom<SessionRecord["state"]>("negotiating", "established", "suspended", "ended"),
  idleIn: fc.option(fc.integer({ min: -3_000, max: 5_000 }), { nil: undefined }),
  absoluteIn: fc.option(fc.integer({ min: -3_000, max: 5_000 }), { nil: undefined }),
  epoch: fc.nat(2),
  principalEpoch: fc.nat(2),
});

test("what is recalled is what the whole check lets pass, and only by the current secret", () => {
  fc.assert(
    fc.property(standing, ({ state, idleIn, absoluteIn, epoch, principalEpoch }) => {
      const [current, pending, previous, retired] = [freshKey(), freshKey(), freshKey(), freshKey()];
      const record: SessionRecord = {
        ...sessionOf("ada", epoch),
        state,
        ...(idleIn !== undefined && { idleAt: NOW + idleIn }),
        ...(absoluteIn !== undefined && { absoluteAt: NOW + absoluteIn }),
        ...(state === "suspended" && { suspendUntil: NOW + 60_000 }),
        credentials: {
          current,
          pending,
          previous: { key: previous, until: NOW + 60_000 },
          retired: [{ key: retired, quietUntil: NOW + 60_000 }],
        },
      };
      const found = { record, epoch: principalEpoch };
      const entries = new Entries(4);
      entries.put(found, [current, pending, previous, retired]);
      const recalled = entries.recall(digestOf(current), NOW);
      const verdict = judge(found, current, NOW, []);
      if (recalled !== undefined) {
        assert.equal(recalled, record);
        assert.equal(verdict.good, true);
      }
      // What is suspended takes the long way.
      if (verdict.good && state !== "suspended") assert.equal(recalled, record);
      for (const other of [pending, previous, retired, freshKey()])
        assert.equal(entries.recall(digestOf(other), NOW), undefined);
      assert.deepEqual(entries.find(current), found);
    }),
    { numRuns: 2_000 },
  );
});

test("nothing is recalled that was dropped, replaced or pushed out", () => {
  const entries = new Entries(2);
  const of = (principal: string): { record: SessionRecord; key: CredentialKey } => {
    const key = freshKey();
    return { record: { ...sessionOf(principal, 0), credentials: { current: key, retired: [] } }, key };
  };
  const [ada, bob, eve] = [of("ada"), of("bob"), of("eve")];
  for (const { record, key } of [ada, bob]) entries.put({ record, epoch: 0 }, [key]);
  assert.equal(entries.recall(digestOf(ada.key), NOW), ada.record);
  const rotated = freshKey();
  entries.put({ record: { ...ada.record, credentials: { current: rotated, retired: [] } }, epoch: 0 }, [
    rotated,
  ]);
  assert.equal(entries.recall(digestOf(ada.key), NOW), undefined);
  assert.equal(entries.recall(digestOf(rotated), NOW)?.handle, ada.record.handle);
  entries.put({ record: eve.record, epoch: 0 }, [eve.key]);
  assert.equal(entries.recall(digestOf(bob.key), NOW), undefined, "pushed out: it was used least");
  entries.dropPrincipal("ada");
  assert.equal(entries.recall(digestOf(rotated), NOW), undefined);
  entries.clear();
  assert.equal(entries.recall(digestOf(eve.key), NOW), undefined);
});

for (const kind of ["memory", "near cache"] as const) {
  test(`${kind}: a session that is recalled is refused at the millisecond of its limit`, async () => {
    const clock = new VirtualClock(NOW + 123);
    const store =
      kind === "memory" ? memory({ clock }) : nearCache(memory({ clock }), { clock, staleMs: 60_000 });
    const kernel = createKernel({ store, clock });
    await kernel.start();
    const { record, secret } = await kernel.establish({
      mechanism: "web",
      mode: "request-response",
      principal: "ada",
      absoluteMs: 10_000,
    });
    const text = secret?.reveal() ?? "";
    const digest = secretDigest(text) as SecretDigest;
    assert.equal((await kernel.verify(text))?.handle, record.handle);
    assert.equal(store.recall?.(digest, clock.now())?.handle, record.handle);
    clock.advance(9_999);
    assert.equal((await kernel.verify(text))?.handle, record.handle);
    clock.advance(1);
    assert.equal(store.recall?.(digest, clock.now()), undefined);
    assert.equal(await kernel.verify(text), undefined);
    await kernel.close();
    await store.close();
  });
}

test("a digest and a key of the same secret belong together", () => {
  const text = mintSecret(7).reveal();
  assert.equal(digestOfKey(credentialKey(text) as CredentialKey), secretDigest(text));
  assert.equal(digestOfKey("no key" as CredentialKey), undefined);
  assert.equal(digestOfKey("!".repeat(44) as CredentialKey), undefined);
  assert.equal(secretDigest("too short"), undefined);
});
