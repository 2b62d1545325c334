import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import { createCluster } from "redis";

import { isHoldfastError } from "../../../src/kernel/errors.ts";
import type { Change } from "../../../src/kernel/journal.ts";
import type { SessionRecord } from "../../../src/kernel/record.ts";
import { shardOfHandle } from "../../../src/kernel/secret.ts";
import type { RedisStore } from "../../../src/store/redis/index.ts";
import { redis } from "../../../src/store/redis/index.ts";
import { end, put, sampleRecord, START, step } from "../../../src/testing/store/samples.ts";
import type { RedisCluster, RedisServer } from "../../peers/redis.ts";
import { redisMissing, startRedisCluster } from "../../peers/redis.ts";

const missing = redisMissing();

describe("redis cluster", { skip: missing ?? false, timeout: 180_000 }, () => {
  let cluster: RedisCluster;
  let store: RedisStore;

  before(async () => {
    cluster = await startRedisCluster();
    store = redis({ cluster: cluster.nodes }, { timeoutMs: 2000 });
    await eventually(() => store.standing("ann"));
  });
  after(async () => {
    await store?.close();
    await cluster?.stop();
  });

  test("all keys of a shard are in one slot, and the shards are on all nodes", async () => {
    for (let i = 0; i < 100; i++) {
      let record = await put(
        store,
        sampleRecord({ principal: `person ${i}{x}`, owner: { node: "n", epoch: 1 } }),
      );
      if (i % 2 === 0) record = await end(store, record);
      await store.putTicket(`{ticket}${i}`, Uint8Array.of(1), Date.now() + 60_000);
    }
    const slots = new Map<string, Set<number>>();
    for (const { client } of cluster.servers) {
      const keys = await client.keys("*");
      assert.ok(keys.length > 0, "a node without a shard");
      for (const key of keys) {
        const tag = /^hf:(\{\d\d\}):/.exec(key)?.[1] ?? assert.fail(key);
        const slot = Number(await client.call("CLUSTER", "KEYSLOT", key));
        slots.set(tag, (slots.get(tag) ?? new Set()).add(slot));
      }
    }
    assert.ok(slots.size > 32);
    assert.ok([...slots.values()].every((own) => own.size === 1));
  });

  test("a shard that moves to another node is found there, and its followers go on", async () => {
    let record = await put(store, sampleRecord({ principal: "mover" }));
    const tag = `hf:{${String(shardOfHandle(record.handle)).padStart(2, "0")}}:`;
    await moveSlot(`${tag}r`);
    record = await eventually(() => step(store, record));
    assert.deepEqual((await store.get(record.handle))?.record, record);
    const control = new AbortController();
    const feed = store.changes("now", { signal: control.signal })[Symbol.asyncIterator]();
    assert.equal((await feed.next()).value?.type, "live");
    const next = await step(store, record);
    const heard: Change | undefined = (await feed.next()).value;
    assert.ok(heard?.type === "entries" && heard.entries.some((entry) => entry.version === next.version));
    control.abort();
    await feed.next();
  });

  test("while one master hangs its shards are refused in time and the others answer", async () => {
    const records: SessionRecord[] = [];
    for (let i = 0; i < 30; i++) records.push(await put(store));
    const hung = cluster.servers[1] as RedisServer;
    hung.signal("SIGSTOP");
    try {
      const answers = await Promise.allSettled(records.map(async (record) => store.get(record.handle)));
      const refused = answers.filter((answer) => answer.status === "rejected");
      assert.ok(refused.every(({ reason }) => isHoldfastError(reason, "store-unavailable")));
      assert.ok(
        refused.length > 0 && refused.length < records.length,
        `${refused.length} of ${records.length}`,
      );
      const barrier = store.raiseBarrier(
        { id: "b", kind: "revocation", selector: { all: true }, reason: "", at: START },
        { at: START, phase: "governance", event: "barrier" },
      );
      // A revocation that did not reach every shard is none.
      await assert.rejects(barrier, (error) => isHoldfastError(error, "store-unavailable"));
    } finally {
      hung.signal("SIGCONT");
    }
    for (const record of records)
      assert.deepEqual((await eventually(() => store.get(record.handle)))?.record, record);
    const { seq } = await eventually(() =>
      store.raiseBarrier(
        { id: "b", kind: "revocation", selector: { all: true }, reason: "", at: START },
        { at: START, phase: "governance", event: "barrier" },
      ),
    );
    assert.deepEqual(
      (await store.barriers(START)).map((one) => [one.id, one.seq]),
      [["b", seq]],
    );
    for (let i = 0; i < 64; i++) assert.equal((await store.standing(`p${i}`)).barrierSeq, seq);
  });

  test("node-redis' cluster client shows the way as well", async () => {
    const client = createCluster({
      rootNodes: cluster.nodes.map(({ host, port }) => ({ socket: { host, port } })),
    });
    const other = redis(client, { timeoutMs: 2000 });
    try {
      const record = await put(store, sampleRecord({ principal: "ann" }));
      assert.deepEqual((await eventually(() => other.get(record.handle)))?.record, record);
      const control = new AbortController();
      const feed = other.changes("now", { signal: control.signal })[Symbol.asyncIterator]();
      assert.equal((await feed.next()).value?.type, "live");
      const next = await step(store, record);
      const heard: Change | undefined = (await feed.next()).value;
      assert.ok(heard?.type === "entries" && heard.entries.some((entry) => entry.version === next.version));
      control.abort();
      await feed.next();
      assert.equal(await other.durability(), "none");
      assert.equal((await end(other, next)).state, "ended");
    } finally {
      await other.close();
    }
  });

  /** Moves the slot of a key to the next node, keys and all, as `redis-cli --cluster reshard` does. */
  async function moveSlot(key: string): Promise<void> {
    const { servers } = cluster;
    const slot = Number(await servers[0]?.client.call("CLUSTER", "KEYSLOT", key));
    const from = Math.floor((slot * servers.length) / 16384);
    const [source, target] = [servers[from], servers[(from + 1) % servers.length]] as [
      RedisServer,
      RedisServer,
    ];
    const [sourceId, targetId] = await Promise.all(
      [source, target].map(async ({ client }) => String(await client.call("CLUSTER", "MYID"))),
    );
    await target.client.call("CLUSTER", "SETSLOT", slot, "IMPORTING", String(sourceId));
    await source.client.call("CLUSTER", "SETSLOT", slot, "MIGRATING", String(targetId));
    const keys = (await source.client.call("CLUSTER", "GETKEYSINSLOT", slot, 1000)) as string[];
    assert.ok(keys.length > 0);
    await source.client.call("MIGRATE", "127.0.0.1", target.port, "", 0, 10_000, "KEYS", ...keys);
    for (const { client } of servers) await client.call("CLUSTER", "SETSLOT", slot, "NODE", String(targetId));
  }
});

/** For what comes back by itself. */
async function eventually<T>(call: () => Promise<T>): Promise<T> {
  const giveUp = Date.now() + 60_000;
  for (;;) {
    try {
      return await call();
    } catch (error) {
      if (Date.now() > giveUp || !isHoldfastError(error, "store-unavailable")) throw error;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
}
