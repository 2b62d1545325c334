import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { CredentialKey, SecretDigest } from "../../../src/kernel/index.ts";
import { digestOfKey } from "../../../src/kernel/index.ts";
import { KeyTable } from "../../../src/store/near/key-table.ts";
import { freshKey, sessionOf } from "./scripted-store.ts";

const record = sessionOf("ada", 0);

test("the table holds what a Map would, through any sequence of sets and deletes", () => {
  const keys = Array.from({ length: 24 }, () => freshKey());
  // Neighbours that differ in a single character, at each end of what is compared.
  const one = keys[0] ?? freshKey();
  for (const at of [1, 21]) {
    const other = one.charAt(at) === "A" ? "B" : "A";
    keys.push(`${one.slice(0, at)}${other}${one.slice(at + 1)}` as CredentialKey);
  }
  const step = fc.record({
    key: fc.nat(keys.length - 1),
    value: fc.option(fc.nat(1_000), { nil: undefined }),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
      const table = new KeyTable(keys.length);
      const model = new Map<CredentialKey, number>();
      for (const { key: index, value } of steps) {
        const key = keys[index] ?? freshKey();
        if (value === undefined) {
          table.delete(key);
          model.delete(key);
        } else {
          table.set(key, value, record, Infinity);
          model.set(key, value);
        }
        assert.equal(table.size, model.size);
        for (const each of keys) assert.equal(table.get(each), model.get(each) ?? -1);
      }
    }),
    { numRuns: 300 },
  );
});

test("a key and its digest find the same, the digest only as long as it is told to", () => {
  const now = 1_800_000_000_000;
  const table = new KeyTable(8);
  const [limited, unlimited, unusable] = [freshKey(), freshKey(), freshKey()];
  table.set(limited, 1, record, now + 2_500);
  table.set(unlimited, 2, record, Infinity);
  table.set(unusable, 3, record, -Infinity);
  const usable = (key: CredentialKey, after: number): boolean => {
    const place = table.usable(digestOfKey(key) as SecretDigest, now + after);
    if (place === -1) return false;
    assert.equal(table.recordAt(place), record);
    assert.equal(table.numberAt(place), table.get(key));
    return true;
  };
  assert.deepEqual([usable(limited, 0), usable(unlimited, 0), usable(unusable, 0)], [true, true, false]);
  assert.deepEqual([usable(limited, 2_499), usable(limited, 2_500)], [true, false]);
  assert.equal(usable(unlimited, 1e15), true);
  assert.deepEqual(
    [limited, unlimited, unusable].map((key) => table.get(key)),
    [1, 2, 3],
  );
});

test("what is no key is never found, and no harm", () => {
  const table = new KeyTable(4);
  for (const text of ["", "x", "A".repeat(43), "A".repeat(45), "!".repeat(44)]) {
    table.set(text as CredentialKey, 1, record, Infinity);
    assert.equal(table.get(text as CredentialKey), -1);
    table.delete(text as CredentialKey);
  }
  assert.equal(table.size, 0);
});

test("a hundred thousand keys find their way", () => {
  const keys = Array.from({ length: 100_000 }, () => freshKey());
  const table = new KeyTable(keys.length);
  keys.forEach((key, i) => table.set(key, i, record, Infinity));
  keys.forEach((key, i) => assert.equal(table.get(key), i));
  keys.forEach((key, i) => i % 2 === 0 && table.delete(key));
  keys.forEach((key, i) => assert.equal(table.get(key), i % 2 === 0 ? -1 : i));
});
