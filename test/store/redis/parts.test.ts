import assert from "node:assert/strict";
import { test } from "node:test";

import { isHoldfastError } from "../../../src/kernel/errors.ts";
import { SHARDS } from "../../../src/kernel/secret.ts";
import { entryCursor, parseCursor, Positions } from "../../../src/store/redis/cursor.ts";
import type { Command, RedisLink } from "../../../src/store/redis/link.ts";
import { redis } from "../../../src/store/redis/index.ts";
import { RedisStore } from "../../../src/store/redis/store.ts";
import { decodeStored, encodeStored } from "../../../src/store/redis/stored.ts";
import { Lane } from "../../../src/store/redis/lane.ts";
import { systemClock } from "../../../src/kernel/clock.ts";
import { following, sampleRecord } from "../../../src/testing/store/samples.ts";

test("a cursor says the place in each of the 64 journals, and comes back from its text", () => {
  const place = new Positions(Array.from({ length: SHARDS }, (_, shard) => shard * 1_000_003));
  place.move(5, Number.MAX_SAFE_INTEGER);
  const back = parseCursor(place.toString());
  for (let shard = 0; shard < SHARDS; shard++) assert.equal(back?.at(shard), place.at(shard));
  const entry = parseCursor(entryCursor(63, 36 ** 4));
  assert.equal(entry?.at(63), 36 ** 4);
  assert.equal(entry?.at(62), 0);
  for (const text of [
    "",
    "now",
    "r",
    "r1.2",
    "~64:1",
    "~1:",
    "~1:A",
    "12",
    `${place.toString()}.`,
    "r" + ".".repeat(64),
  ]) {
    assert.equal(parseCursor(text), undefined, text);
  }
});

test("a record comes back from its text, with the version and epoch of the head", () => {
  for (const principal of [undefined, "", "ann", "a:b:1:2:", "é𝄞\n1{", "p".repeat(3000)]) {
    const record = sampleRecord(principal === undefined ? {} : { principal });
    assert.deepEqual(decodeStored(encodeStored(record)), record);
    const raised = encodeStored(record).replace(/^1:0:/, "2:7:");
    assert.deepEqual(decodeStored(raised), { ...record, version: 2, epoch: 7 });
  }
  for (const text of ["", "1", "1:2:3", "{}", "x:1:0:0:1{}"]) {
    assert.throws(
      () => decodeStored(text),
      (error) => isHoldfastError(error, "store-corrupt"),
    );
  }
});

test("a way that is down lets one call through in a while, and knows the server's time by what it said", () => {
  const lane = new Lane();
  assert.equal(lane.serverTime(1000), 0, "what is not known is always too late");
  assert.equal(lane.refuses(0), false);
  lane.fell(100);
  assert.equal(lane.refuses(120), true);
  assert.equal(lane.refuses(150), false);
  assert.equal(lane.refuses(151), true);
  const now = performance.now();
  lane.learn(5_000_000, false);
  const known = lane.serverTime(now);
  assert.ok(known <= 5_000_000 && known > 4_990_000);
  lane.learn(4_000_000, false);
  assert.equal(lane.serverTime(now), known, "an answer that took longer says less");
  lane.learn(4_000_000, true);
  assert.ok(lane.serverTime(now) <= 4_000_000, "unless the server said that it was too late");
});

test("options out of range and targets that are none are mistakes", () => {
  for (const options of [
    { prefix: "a b" },
    { prefix: "{x}" },
    { prefix: "" },
    { timeoutMs: 0 },
    { journalLimit: Number.NaN },
  ]) {
    assert.throws(
      () => redis({ path: "/nowhere", lazyConnect: true }, options),
      (error) => isHoldfastError(error, "invalid-argument"),
    );
  }
});

test("durable by WAITAOF: writes of one moment share a wait, and are refused when the disk did not have them", async () => {
  const sent: (readonly Command[])[] = [];
  let onDisk = 1;
  const link = waitingLink((commands) => {
    sent.push(commands);
    return commands.map((command) => (command[0] === "WAITAOF" ? [onDisk, 0] : `updated ${Date.now()}`));
  });
  const store = new RedisStore(link, {
    prefix: "hf",
    timeoutMs: 1000,
    journalLimit: 1000,
    heartbeatMs: 1000,
    durable: undefined,
    durableTimeoutMs: 2000,
    clock: systemClock,
  });
  assert.equal(await store.durability(), "waitaof");
  const write = (): Promise<string> => {
    const record = sampleRecord();
    return store.update(record, following(record), [], "durable");
  };
  assert.deepEqual(await Promise.all([write(), write(), write()]), ["updated", "updated", "updated"]);
  assert.ok(sent.length < 3 + 1, "three writes, fewer waits");
  for (const commands of sent) {
    assert.deepEqual(commands.at(-1)?.slice(0, 3), ["WAITAOF", 1, 0]);
    assert.ok(commands.slice(0, -1).every(([name]) => name === "EVALSHA"));
  }
  onDisk = 0;
  await assert.rejects(write(), (error) => isHoldfastError(error, "store-unavailable"));
  await store.close();
});

/** A link to a Redis 7.2 with an append-only file, as far as durable writes see it. */
function waitingLink(batch: (commands: readonly Command[]) => unknown[]): RedisLink {
  const link: RedisLink = {
    topology: "single",
    ready: true,
    onReady: () => undefined,
    send: () => Promise.reject(new Error("a durable write goes with its wait")),
    batch: async (_key, commands) => batch(commands),
    everywhere: async ([name]) =>
      name === "INFO"
        ? ["redis_version:7.2.0\r\naof_enabled:1\r\n"]
        : [["appendonly", "yes", "appendfsync", "everysec"]],
    listen: () => Promise.reject(new Error("nobody follows")),
    fork: () => link,
    renew: () => undefined,
    close: () => undefined,
  };
  return link;
}
