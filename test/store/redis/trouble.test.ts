import assert from "node:assert/strict";
import { after, afterEach, before, describe, test } from "node:test";

import { Redis } from "ioredis";

import { isHoldfastError } from "../../../src/kernel/errors.ts";
import type { Change } from "../../../src/kernel/journal.ts";
import type { CredentialKey } from "../../../src/kernel/secret.ts";
import { credentialKeys } from "../../../src/kernel/record.ts";
import type { RedisStore, RedisStoreOptions, RedisTarget } from "../../../src/store/redis/index.ts";
import { redis } from "../../../src/store/redis/index.ts";
import {
  end,
  entryOf,
  following,
  put,
  sampleRecord,
  START,
  step,
} from "../../../src/testing/store/samples.ts";
import type { RedisServer } from "../../peers/redis.ts";
import { redisMissing, startRedis } from "../../peers/redis.ts";

const missing = redisMissing();

describe("redis in trouble", { skip: missing ?? false, timeout: 120_000 }, () => {
  let server: RedisServer;
  const stores: RedisStore[] = [];

  before(async () => {
    server = await startRedis();
  });
  afterEach(async () => {
    await Promise.all(stores.splice(0).map((store) => store.close()));
    await server.client.flushall();
  });
  after(() => server?.stop());

  function open(options: RedisStoreOptions = {}, target: RedisTarget = { path: server.path }): RedisStore {
    const store = redis(target, { timeoutMs: 2000, ...options });
    stores.push(store);
    return store;
  }

  test("a write that was given up is not carried out when a stopped server goes on", async () => {
    const store = open({ timeoutMs: 250 });
    const record = await put(store, sampleRecord({ principal: "ann" }));
    const late = sampleRecord({ principal: "ann" });
    const standing = await store.standing("ann");
    server.signal("SIGSTOP");
    try {
      // They reach the server's socket, where they wait.
      const given = await Promise.allSettled([
        store.update(record, following(record, { data: "late" }), []),
        store.create(late, [], standing),
        store.putTicket("t", Uint8Array.of(1), START),
        store.raiseEpoch("ann", [], { at: START, phase: "governance", event: "epoch", principal: "ann" }),
      ]);
      for (const one of given) assert.equal(codeOf(one), "store-unavailable");
      assert.equal(await refusal(() => store.find(keyOf(record))), "store-unavailable");
    } finally {
      server.signal("SIGCONT");
    }
    const found = await eventually(() => store.find(keyOf(record)));
    assert.deepEqual(found, { record, epoch: 0 });
    assert.equal(await store.get(late.handle), undefined);
    assert.equal(await store.takeTicket("t", 0), undefined);
    assert.equal((await step(store, record)).version, 2);
  });

  test("while the server hangs, calls after the first fail at once instead of piling up", async () => {
    const store = open({ timeoutMs: 250 });
    const record = await put(store);
    server.signal("SIGSTOP");
    try {
      assert.equal(await refusal(() => store.find(keyOf(record))), "store-unavailable");
      // If the connection was given up meanwhile, the next ones wait for another; those after them do not.
      assert.equal(await refusal(() => store.standing("bob")), "store-unavailable");
      const calls = Array.from({ length: 500 }, () => refusal(() => store.standing("bob")));
      assert.ok((await Promise.all(calls)).every((code) => code === "store-unavailable"));
    } finally {
      server.signal("SIGCONT");
    }
    await eventually(() => store.find(keyOf(record)));
    const { refused } = await store.stats();
    assert.ok((refused ?? 0) > 400, `${refused} were refused at once`);
  });

  test("a connection that is cut is made again; reads do not notice", async () => {
    const store = open();
    const record = await put(store);
    for (let round = 0; round < 5; round++) {
      const reading = store.find(keyOf(record));
      await server.client.call("CLIENT", "KILL", "TYPE", "normal");
      assert.deepEqual((await reading)?.record, record);
      assert.deepEqual((await store.get(record.handle))?.record, record);
    }
  });

  test("a server that forgot the scripts is told them again", async () => {
    const store = open();
    const record = await put(store);
    await server.client.script("FLUSH");
    assert.deepEqual((await store.find(keyOf(record)))?.record, record);
    await server.client.script("FLUSH");
    const next = await step(store, record);
    assert.equal(next.version, 2);
    assert.ok(((await store.stats())["scriptsSent"] ?? 0) > 0);
  });

  test("nothing listens there: said within the time, and a server that starts later is found", async () => {
    await server.kill();
    const store = open({ timeoutMs: 250 });
    assert.equal(await refusal(() => store.standing("ann")), "store-unavailable");
    assert.equal(await refusal(() => store.standing("ann")), "store-unavailable");
    await server.start();
    assert.deepEqual(await eventually(() => store.standing("ann")), { epoch: 0, barrierSeq: 0 });
  });

  test("a server over its memory limit, or turned into a replica, takes no half write", async () => {
    const store = open();
    const record = await put(store, sampleRecord({ principal: "ann" }));
    const next = following(record, { data: "more", owner: { node: "n1", epoch: 1 } });
    for (const [spoil, mend] of [
      [
        ["CONFIG", "SET", "maxmemory", "1"],
        ["CONFIG", "SET", "maxmemory", "0"],
      ],
      [
        ["REPLICAOF", "127.0.0.1", "1"],
        ["REPLICAOF", "NO", "ONE"],
      ],
    ] as const) {
      const [name, ...args] = spoil;
      await server.client.call(name, ...args);
      const failure: unknown = await store
        .update(record, next, [entryOf(next, "own")])
        .catch((error: unknown) => error);
      const [undo, ...how] = mend;
      await server.client.call(undo, ...how);
      assert.ok(isHoldfastError(failure, "store-unavailable"), String(failure));
      assert.match(failure.message, /memory limit|replica/);
      assert.deepEqual(await eventually(() => store.get(record.handle)), { record, epoch: 0 });
      assert.deepEqual(await store.list({ term: "n:n1", limit: 10 }), { found: [] });
      assert.equal((await store.timeline(record.handle)).length, 1);
    }
    assert.equal(await eventually(() => store.update(record, next, [])), "updated");
  });

  test("a user without permission is told so", async () => {
    await server.client.call(
      "ACL",
      "SETUSER",
      "holdfast-none",
      "on",
      ">secret",
      "~other:*",
      "+@all",
      "resetchannels",
    );
    const store = open({}, { path: server.path, username: "holdfast-none", password: "secret" });
    const failure: unknown = await store.standing("ann").catch((error: unknown) => error);
    assert.ok(isHoldfastError(failure, "store-unavailable"), String(failure));
    assert.match(failure.message, /permission/);
    await server.client.call("ACL", "DELUSER", "holdfast-none");
  });

  test("the permissions of the documentation are enough", async () => {
    await server.client.call("ACL", "SETUSER", "holdfast", "on", ">secret", ...ACL_RULES);
    const store = open({}, { path: server.path, username: "holdfast", password: "secret" });
    const feed = follow(store, "now");
    await feed.live;
    const record = await put(store, sampleRecord({ principal: "ann" }));
    await feed.hears((entry) => entry.handle === record.handle);
    assert.equal((await store.list({ term: "p:ann", limit: 10 })).found.length, 1);
    assert.equal((await store.list({ term: "live", limit: 10 })).found.length, 1);
    assert.equal((await store.due(START * 2, 10)).length, 1);
    assert.equal((await store.timeline(record.handle)).length, 1);
    await store.raiseEpoch("ann", [record.handle], {
      at: 0,
      phase: "governance",
      event: "epoch",
      principal: "ann",
    });
    await store.raiseBarrier(
      { id: "b", kind: "lock", selector: { all: true }, reason: "", at: 0 },
      { at: 0, phase: "governance", event: "barrier" },
    );
    assert.equal((await store.barriers(0)).length, 1);
    assert.equal(await store.putTicket("t", Uint8Array.of(7), Date.now() + 60_000), true);
    assert.deepEqual(await store.takeTicket("t", Date.now()), Uint8Array.of(7));
    assert.equal(await store.putNode({ id: "n", epoch: 1, startedAt: 0, until: 1 }, 0), true);
    assert.equal((await store.nodes()).length, 1);
    assert.equal((await store.stats())["records"], 1);
    assert.equal(await store.durability(), "none");
    await feed.stop();
    await server.client.call("ACL", "DELUSER", "holdfast");
  });

  test("what another program keeps under our keys is said to be corrupt", async () => {
    const store = open();
    const record = await put(store);
    const shard = record.handle.startsWith("0") || record.handle.startsWith("1");
    assert.ok(shard);
    const [key] = await server.client.keys("hf:*:r");
    assert.ok(key !== undefined);
    await server.client.hset(key, record.handle, "something else");
    assert.equal(await refusal(() => store.get(record.handle)), "store-corrupt");
    await server.client.del(key);
    await server.client.set(key, "a string");
    assert.equal(await refusal(() => store.get(record.handle)), "store-corrupt");
  });

  test("a follower whose connection is cut is told, goes on after its cursor, and misses nothing", async () => {
    const store = open();
    const feed = follow(store, "now");
    await feed.live;
    const first = await put(store);
    await feed.hears((entry) => entry.handle === first.handle);
    await server.client.call("CLIENT", "KILL", "TYPE", "pubsub");
    assert.equal(codeOf((await Promise.allSettled([feed.over]))[0]), "store-unavailable");
    const missed = await put(store);
    const again = follow(store, feed.cursor());
    await again.hears((entry) => entry.handle === missed.handle);
    await again.live;
    assert.equal(again.changes.filter(({ type }) => type === "gap").length, 0);
    const heard = again.changes.flatMap((change) => (change.type === "entries" ? change.entries : []));
    assert.deepEqual(
      heard.map(({ handle }) => handle),
      [missed.handle],
    );
    await again.stop();
  });

  test("a follower hears of what was written without a message, if later", async () => {
    const store = open({ heartbeatMs: 50 });
    const feed = follow(store, "now");
    await feed.live;
    // A journal entry as a script writes it, but for the message on the channel.
    await server.client.hset("hf:{05}:m", "n", 1);
    await server.client.xadd(
      "hf:{05}:j",
      "1-0",
      "e",
      JSON.stringify({ at: 1, phase: "governance", event: "note" }),
    );
    await feed.hears((entry) => entry.cursor === "~5:1");
    await feed.stop();
  });

  test("a journal that was lost with its data is a gap", async () => {
    const store = open({ heartbeatMs: 50 });
    const feed = follow(store, "now");
    await feed.live;
    const record = await put(store);
    await feed.hears((entry) => entry.handle === record.handle);
    await server.client.flushall();
    await feed.sees((change) => change.type === "gap");
    const other = await put(store);
    await feed.hears((entry) => entry.handle === other.handle);
    await feed.stop();
  });

  test("the barrier sequence goes on when the authority lost it", async () => {
    const store = open();
    const raise = (id: string): Promise<number> =>
      store
        .raiseBarrier(
          { id, kind: "revocation", selector: { all: true }, reason: "", at: 0 },
          { at: 0, phase: "governance", event: "barrier" },
        )
        .then(({ seq }) => seq);
    assert.equal(await raise("a"), 1);
    assert.equal(await raise("b"), 2);
    const standing = await store.standing("ann");
    await server.client.hdel("hf:{00}:m", "b");
    assert.equal(await raise("c"), 3);
    assert.equal(
      await store.create(sampleRecord({ principal: "ann", barrierSeq: 2 }), [], standing),
      "stale-standing",
    );
    assert.equal((await store.standing("ann")).barrierSeq, 3);
    assert.equal((await store.standing(undefined)).barrierSeq, 3);
  });

  test("a client of the application shows the way and is left alone", async () => {
    const client = new Redis({ path: server.path, keyPrefix: "app:", db: 3 });
    const store = open({ prefix: "mine" }, client);
    const record = await put(store);
    await end(store, record);
    await store.close();
    assert.equal(await client.set("still", "here"), "OK");
    const keys = await client.keys("*");
    assert.ok(keys.includes("app:still"));
    assert.ok(
      keys.every((key) => key === "app:still" || /^mine:\{\d\d\}:/.test(key)),
      keys.join(" "),
    );
    client.disconnect();
  });

  test("durable is refused where nothing can promise it, and granted where every write goes to disk first", async () => {
    const store = open();
    assert.equal(await store.durability(), "none");
    const record = sampleRecord();
    const standing = await store.standing(undefined);
    assert.equal(await refusal(() => store.create(record, [], standing, "durable")), "unsupported");
    assert.equal(await store.get(record.handle), undefined);
    const durable = await startRedis({ appendonly: "yes", appendfsync: "always" });
    try {
      const other = open({}, durable.url);
      assert.equal(await other.durability(), "aof-always");
      assert.equal(await other.create(record, [], standing, "durable"), "created");
      await durable.kill();
      await durable.start();
      assert.deepEqual((await eventually(() => other.get(record.handle)))?.record, record);
    } finally {
      await durable.stop();
    }
  });
});

/** As docs/stores-redis.md gives them. */
const ACL_RULES =
  "resetkeys resetchannels nocommands ~hf:* &hf:* +evalsha +eval +time +hget +hset +hexists +hdel +hincrby +hvals +hlen +zadd +zrem +zscore +zcard +zlexcount +zrangebylex +zrangebyscore +xadd +xrange +xlen +rpush +ltrim +lrange +get +set +del +getdel +spublish +ssubscribe +ping +info +config|get +client +select +hello".split(
    " ",
  );

interface Following {
  readonly changes: readonly Change[];
  readonly live: Promise<void>;
  readonly over: Promise<void>;
  cursor(): string;
  sees(wanted: (change: Change) => boolean): Promise<void>;
  hears(wanted: (entry: Extract<Change, { type: "entries" }>["entries"][number]) => boolean): Promise<void>;
  stop(): Promise<void>;
}

function follow(store: RedisStore, from: string): Following {
  const control = new AbortController();
  const changes: Change[] = [];
  const waiting = new Set<() => void>();
  const over = (async () => {
    for await (const change of store.changes(from, { signal: control.signal })) {
      changes.push(change);
      for (const look of waiting) look();
      waiting.clear();
    }
  })();
  const sees = async (wanted: (change: Change) => boolean): Promise<void> => {
    while (!changes.some(wanted)) {
      await Promise.race([new Promise<void>((resolve) => waiting.add(resolve)), over]);
    }
  };
  return {
    changes,
    over,
    sees,
    live: sees(({ type }) => type === "live"),
    hears: (wanted) => sees((change) => change.type === "entries" && change.entries.some(wanted)),
    cursor: () => changes.at(-1)?.cursor ?? assert.fail("nothing heard yet"),
    async stop() {
      control.abort();
      await over;
    },
  };
}

function keyOf(record: Parameters<typeof credentialKeys>[0]): CredentialKey {
  return credentialKeys(record)[0] ?? assert.fail("a sample has a key");
}

function codeOf(result: PromiseSettledResult<unknown>): string {
  if (result.status === "fulfilled") return "fulfilled";
  return isHoldfastError(result.reason) ? result.reason.code : String(result.reason);
}

async function refusal(call: () => Promise<unknown>): Promise<string> {
  return codeOf((await Promise.allSettled([call()]))[0]);
}

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
