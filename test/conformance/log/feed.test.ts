import assert from "node:assert/strict";
import { test } from "node:test";
import type { SessionLog } from "../../../src/kernel/index.ts";
import { createKernel } from "../../../src/kernel/index.ts";
import { Feed } from "../../../src/mechanisms/dialog/index.ts";
import { sweepOrphans } from "../../../src/mechanisms/dialog/sweep.ts";
import { mintHandle } from "../../../src/kernel/index.ts";
import { memory } from "../../../src/store/memory/index.ts";
import { postgresLog } from "../../../src/store/postgres/log.ts";
import { redisLog } from "../../../src/store/redis/log.ts";
import { postgresBinaries, startPostgres } from "../../peers/postgres.ts";
import { redisMissing, startRedis } from "../../peers/redis.ts";

/** Two nodes write one feed in turns, and both at once; each reads what both have written. */
async function share(open: () => SessionLog): Promise<void> {
  const logs = [open(), open()];
  const [one, two] = logs.map((log) => new Feed({ log, name: "shared", keep: 100, lookMs: 10 }));
  const [log] = logs;
  assert.ok(one !== undefined && two !== undefined && log !== undefined);
  for (let turn = 0; turn < 10; turn++) {
    assert.equal(await one.publish(`one ${turn}`, { id: "dialog", number: turn }), turn * 2);
    assert.equal(await two.publish(`one ${turn}`, { id: "dialog", number: turn }), undefined);
    assert.equal(await two.publish(`two ${turn}`), turn * 2 + 1);
  }
  const numbers = await Promise.all(
    [...Array(100).keys()].flatMap((turn) => [one.publish(`a ${turn}`), two.publish(`b ${turn}`)]),
  );
  assert.deepEqual(
    numbers.map(Number).sort((a, b) => a - b),
    [...Array(200).keys()].map((index) => 20 + index),
  );
  for (const feed of [one, two]) {
    const stop = new AbortController();
    const seen: number[] = [];
    let gone = 0;
    for await (const item of feed.follow(5, stop.signal)) {
      if (item.type === "gap") gone = item.to;
      if (item.type === "entry") seen.push(item.number);
      if (seen.at(-1) === 219) break;
    }
    assert.ok(gone >= 99 && gone < 120, `${gone}`);
    assert.deepEqual(
      seen,
      [...Array(219 - gone).keys()].map((index) => gone + 1 + index),
    );
  }
  const orphan = mintHandle(5);
  await log.open(orphan, 3);
  await log.append(orphan, 3, { from: 0, entries: [Uint8Array.of(1)] }, "stored");
  const kernel = createKernel({ store: memory() });
  await kernel.start();
  assert.equal(await sweepOrphans(kernel, log), 1);
  assert.deepEqual(await log.handles(undefined, 10), [one.handle]);
  await kernel.close();
  for (const each of logs) await each.close();
}

test("a feed in Redis is one feed for all nodes", { skip: redisMissing() }, async () => {
  const server = await startRedis();
  try {
    await share(() => redisLog(server.url, { timeoutMs: 10_000 }));
  } finally {
    await server.stop();
  }
});

const missing =
  postgresBinaries() === undefined && process.env["CI"] !== "true"
    ? "PostgreSQL is not installed"
    : undefined;

test("a feed in PostgreSQL is one feed for all nodes", { skip: missing }, async () => {
  const server = await startPostgres();
  try {
    await share(() => postgresLog(server.url, { timeoutMs: 10_000 }));
  } finally {
    await server.stop();
  }
});
