import assert from "node:assert/strict";
import test from "node:test";
import { crowd } from "./crowd.ts";

test("10,000 idle sessions stay within their memory", async () => {
  const { count, kib } = await crowd("idle", 10_000);
  console.log(`${kib.toFixed(1)} KiB for each of ${count} idle sessions`);
  assert.ok(kib < 20, `${kib} KiB`);
});

test("10,000 handshakes that stop half-way do too, and are closed at their deadline", async () => {
  const { count, kib } = await crowd("slow", 10_000);
  console.log(`${kib.toFixed(1)} KiB for each of ${count} half handshakes`);
  assert.ok(kib < 10, `${kib} KiB`);
});
