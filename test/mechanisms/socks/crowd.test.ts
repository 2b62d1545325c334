import assert from "node:assert/strict";
import test from "node:test";
import { crowd } from "./crowd.ts";

test("a thousand idle sessions stay within their memory", async () => {
  const { count, kib } = await crowd("idle", 1_000);
  console.log(`${kib.toFixed(1)} KiB for each of ${count} idle sessions`);
  // So few weigh their share of what everything else takes.
  assert.ok(kib < 60, `${kib} KiB`);
});

test("a thousand handshakes that stop half-way do too, and are closed at their deadline", async () => {
  const { count, kib } = await crowd("slow", 1_000);
  console.log(`${kib.toFixed(1)} KiB for each of ${count} half handshakes`);
  assert.ok(kib < 30, `${kib} KiB`);
});
