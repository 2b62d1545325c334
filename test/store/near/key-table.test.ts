import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { CredentialKey, SecretDigest } from "../../../src/kernel/index.ts";
import { KeyTable } from "../../../src/store/near/key-table.ts";
import { freshKey } from "./scripted-store.ts";

test("the table holds what a Map would, through any sequence of sets and deletes", () => {
  const keys = Array.from({ length: 24 }, () => freshKey());
  // Neighbours that differ in a single character, at each end of what is compared.
  const one = keys[0] ?? freshKey();
  for (const at of [1, 24]) {
    const other = one.charAt(at) === "A" ? "B" : "A";
    keys.push(`${one.slice(0, at)}${other}${one.slice(at + 1)}` as CredentialKey);
  }
  const step = fc.record({
    key: fc.nat(keys.length - 1),
    value: fc.option(fc.nat(1_000), { nil: undefined }),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
      const table = new KeyTable(keys.length, 0);
      const model = new Map<CredentialKey, number>();
      for (const { key: index, value } of steps) {
        const key = keys[index] ?? freshKey();
        if (value === undefined) {
          table.delete(key);
          model.delete(key);
        } else {
          table.set(key, value);
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
  const table = new KeyTable(8, now);
  const [limited, unlimited, unusable] = [freshKey(), freshKey(), freshKey()];
  table.set(limited, 1, now + 2_500);
  table.set(unlimited, 2, Infinity);
  table.set(unusable, 3);
  const usable = (key: CredentialKey, after: number): number =>
    table.getUsable(key.slice(1) as SecretDigest, now + after);
  assert.deepEqual([usable(limited, 0), usable(unlimited, 0), usable(unusable, 0)], [1, 2, -1]);
  assert.deepEqual([usable(limited, 1_999), usable(limited, 2_000)], [1, -1], "whole seconds, rounded down");
  assert.equal(usable(unlimited, 1e15), 2);
  assert.deepEqual(
    [limited, unlimited, unusable].map((key) => table.get(key)),
    [1, 2, 3],
  );
});

test("what is no key is never found, and no harm", () => {
  const table = new KeyTable(4, 0);
  for (const text of ["", "x", "A".repeat(42), "A".repeat(45)]) {
    table.set(text as CredentialKey, 1);
    assert.equal(table.get(text as CredentialKey), -1);
    table.delete(text as CredentialKey);
  }
  assert.equal(table.size, 0);
});

test("a hundred thousand keys find their way", () => {
  const keys = Array.from({ length: 100_000 }, () => freshKey());
  const table = new KeyTable(keys.length, 0);
  keys.forEach((key, i) => table.set(key, i));
  keys.forEach((key, i) => assert.equal(table.get(key), i));
  keys.forEach((key, i) => i % 2 === 0 && table.delete(key));
  keys.forEach((key, i) => assert.equal(table.get(key), i % 2 === 0 ? -1 : i));
});
