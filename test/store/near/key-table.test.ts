import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { CredentialKey } from "../../../src/kernel/index.ts";
import { KeyTable } from "../../../src/store/near/key-table.ts";
import { freshKey } from "./scripted-store.ts";

test("the table holds what a Map would, through any sequence of sets and deletes", () => {
  const keys = Array.from({ length: 24 }, () => freshKey());
  // Neighbours that differ in a single character, at each end of what is compared.
  const one = keys[0] ?? freshKey();
  keys.push(`${one.charAt(0) === "A" ? "B" : "A"}${one.slice(1)}` as CredentialKey);
  keys.push(`${one.slice(0, 23)}${one.charAt(23) === "A" ? "B" : "A"}${one.slice(24)}` as CredentialKey);
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

test("what is no key is never found, and no harm", () => {
  const table = new KeyTable(4);
  for (const text of ["", "x", "A".repeat(43), "A".repeat(45)]) {
    table.set(text as CredentialKey, 1);
    assert.equal(table.get(text as CredentialKey), -1);
    table.delete(text as CredentialKey);
  }
  assert.equal(table.size, 0);
});

test("a hundred thousand keys find their way", () => {
  const keys = Array.from({ length: 100_000 }, () => freshKey());
  const table = new KeyTable(keys.length);
  keys.forEach((key, i) => table.set(key, i));
  keys.forEach((key, i) => assert.equal(table.get(key), i));
  keys.forEach((key, i) => i % 2 === 0 && table.delete(key));
  keys.forEach((key, i) => assert.equal(table.get(key), i % 2 === 0 ? -1 : i));
});
