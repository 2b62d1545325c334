import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import type { Handle } from "../../../src/kernel/index.ts";
import { mintHandle, parseHandle } from "../../../src/kernel/index.ts";
import { connect } from "../../../src/mechanisms/dialog/client-node.ts";
import { EventSplitter } from "../../../src/mechanisms/dialog/event-stream.ts";
import type { FeedItem } from "../../../src/mechanisms/dialog/feed.ts";
import { feedHandle, isFeedHandle } from "../../../src/mechanisms/dialog/feed.ts";
import { Feed, passOn, serveFeed } from "../../../src/mechanisms/dialog/index.ts";
import { sweepOrphans } from "../../../src/mechanisms/dialog/sweep.ts";
import { embeddedLog } from "../../../src/store/embedded/log.ts";
import { memoryLog } from "../../../src/store/memory/log.ts";
import { memory } from "../../../src/store/memory/index.ts";
import { isFault } from "../../../src/wire/fault.ts";
import { CutLink } from "./cut-link.ts";
import { numbered, reading, served, until } from "./served.ts";

const base = mkdtempSync(join(tmpdir(), "holdfast-feed-"));
after(() => rmSync(base, { recursive: true, force: true }));

async function take(feed: Feed, from: number | "oldest" | "newest", count: number): Promise<FeedItem[]> {
  const stop = new AbortController();
  const items: FeedItem[] = [];
  for await (const item of feed.follow(from, stop.signal)) {
    items.push(item);
    if (items.length >= count) break;
  }
  return items;
}

function said(items: readonly FeedItem[]): string[] {
  return items.map((item) =>
    item.type === "entry" ? `${item.number} ${Buffer.from(item.bytes).toString()}` : item.type,
  );
}

test("a feed keeps its newest, numbers them for good, and says what is gone", async () => {
  const feed = new Feed({ log: memoryLog(), name: "news", keep: 100 });
  const numbers = await Promise.all(numbered(1000).map((text) => feed.publish(text)));
  assert.deepEqual(numbers, [...Array(1000).keys()]);
  const [gap, first] = await take(feed, 3, 2);
  assert.ok(gap?.type === "gap" && gap.from === 3 && first?.type === "entry");
  assert.equal(first.number, gap.to + 1);
  assert.ok(first.number >= 1000 - 113 && first.number <= 900, `${first.number}`);
  assert.deepEqual(said(await take(feed, "oldest", 1)), said([first]));
  assert.deepEqual(said(await take(feed, 998, 2)), ["998 message 998", "999 message 999"]);
  const coming = take(feed, "newest", 2);
  await feed.publish(Uint8Array.of(104, 105));
  await feed.publish("ho");
  assert.deepEqual(said(await coming), ["1000 hi", "1001 ho"]);
  // A reader from before everything was lost is told that it was.
  assert.deepEqual(said(await take(new Feed({ log: memoryLog(), name: "news" }), 5, 1)), ["reset"]);
});

test("several processes write and read one feed; a source's message is added once, whoever passes it on", async () => {
  const path = join(base, "shared");
  const logs = [embeddedLog({ path }), embeddedLog({ path })] as const;
  const [one, two] = logs.map((log) => new Feed({ log, name: "shared", lookMs: 5 }));
  assert.ok(one !== undefined && two !== undefined);
  const reader = take(two, "oldest", 40);
  for (let turn = 0; turn < 20; turn++) {
    await one.publish(`one ${turn}`, { id: "dialog", number: turn });
    // The same again, elsewhere: it was accepted, and the confirmation was lost.
    assert.equal(await two.publish(`one ${turn}`, { id: "dialog", number: turn }), undefined);
    await two.publish(`two ${turn}`);
  }
  const expected = [...Array(40).keys()].map((at) => `${at} ${at % 2 === 0 ? "one" : "two"} ${at >> 1}`);
  assert.deepEqual(said(await reader), expected);
  assert.deepEqual(said(await take(one, "oldest", 40)), expected);
  for (const log of logs) await log.close();
  const again = embeddedLog({ path });
  assert.deepEqual(said(await take(new Feed({ log: again, name: "shared" }), 39, 1)), ["39 two 19"]);
  await again.close();
});

test("plain events of a feed go on behind the last id, on any node; the reader is a session that can be ended", async () => {
  const log = embeddedLog({ path: join(base, "plain") });
  const store = memory();
  const nodes = [await served({ store, log }), await served({ store, log })];
  const faults: unknown[] = [];
  const https = nodes.map(({ kernel }) => {
    const feed = new Feed({ log, name: "events", lookMs: 5 });
    const welcome = { principal: "ann" };
    return {
      feed,
      server: createServer((request, response) => {
        void serveFeed(request, response, { kernel, feed, welcome, onFault: (error) => faults.push(error) });
      }),
    };
  });
  const urls: string[] = [];
  for (const { server } of https) {
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const at = server.address();
    assert.ok(at !== null && typeof at === "object");
    urls.push(`http://127.0.0.1:${at.port}/`);
  }
  const got: string[] = [];
  let lastId = "";
  for (let turn = 0; turn < 4; turn++) {
    for (const text of numbered(50, `turn ${turn}`)) await https[turn % 2]?.feed.publish(text);
    const abort = new AbortController();
    const url = urls[(turn + 1) % 2] ?? "";
    const response = await fetch(lastId === "" ? `${url}?from=oldest` : url, {
      headers: lastId === "" ? {} : { "last-event-id": lastId },
      signal: abort.signal,
    });
    let text = "";
    for await (const chunk of response.body ?? []) {
      text += Buffer.from(chunk).toString();
      if (text.split("\ndata: ").length > 50 && text.endsWith("\n\n")) break;
    }
    abort.abort();
    const events = new EventSplitter(1 << 20).push(Buffer.from(text));
    assert.ok(!isFault(events));
    got.push(...events.map((event) => event.data));
    lastId = [...text.matchAll(/^id: (.*)$/gm)].at(-1)?.[1] ?? "";
  }
  assert.equal(lastId, "199");
  assert.deepEqual(
    got,
    [0, 1, 2, 3].flatMap((turn) => numbered(50, `turn ${turn}`)),
  );
  assert.equal((await fetch(urls[0] ?? "", { headers: { "last-event-id": "x" } })).status, 400);

  const [node] = nodes;
  assert.ok(node !== undefined);
  const response = await fetch(urls[0] ?? "");
  const readers: Handle[] = [];
  for await (const record of node.kernel.sessions({ mechanism: "dialog", principal: "ann" }))
    readers.push(record.handle);
  assert.equal(readers.length, 1);
  const ended = response.text().then(
    () => "ended",
    () => "cut",
  );
  await node.kernel.revoke({ principal: "ann" }, { reason: "lost phone" });
  await ended;
  await node.kernel.lock({ selector: { principal: "ann" }, reason: "lost phone" });
  assert.equal((await fetch(urls[0] ?? "")).status, 403);
  assert.deepEqual(faults, []);
  for (const { server } of https) {
    server.closeAllConnections();
    server.close();
  }
  for (const one of nodes) await one.stop();
  await log.close();
});

test("a feed is passed on over a dialog that moves between nodes, and loses nothing on the way", async () => {
  const log = embeddedLog({ path: join(base, "dialog") });
  const store = memory();
  const feed = new Feed({ log, name: "events", lookMs: 5 });
  const [one, two] = [await served({ store, log }), await served({ store, log })];
  for (const { dialogs } of [one, two])
    dialogs.on("open", (dialog, arrival) =>
      passOn(new Feed({ log, name: "events", lookMs: 5 }), dialog, arrival, "oldest"),
    );
  const cut = await new CutLink().start(one.port);
  const here = await connect(`ws://127.0.0.1:${cut.port}/dialog`, {
    authorization: "ann",
    mode: "simplex-down",
    reconnect: { minMs: 5, maxMs: 50 },
  });
  const got = reading(here);
  for (let turn = 1; turn <= 4; turn++) {
    for (const text of numbered(200, `turn ${turn}`)) await feed.publish(text);
    await until("some", () => got.length > (turn - 1) * 200 + 50);
    cut.target = turn % 2 === 1 ? two.port : one.port;
    if (turn % 2 === 0) cut.reset();
    else cut.halfOpen();
  }
  await until("everything", () => got.length >= 801);
  assert.equal(got.shift(), '{"n":-1,"topic":"events"}');
  assert.deepEqual(
    got,
    [1, 2, 3, 4]
      .flatMap((turn) => numbered(200, `turn ${turn}`))
      .map((text, n) => JSON.stringify({ n, text })),
  );
  here.abort();
  assert.deepEqual([...one.faults, ...two.faults], []);
  await cut.stop();
  await one.stop();
  await two.stop();
  await log.close();
});

test("streams of dialogs that the store has forgotten are dropped, and nothing else is", async () => {
  const log = embeddedLog({ path: join(base, "sweep") });
  const server = await served({ log, sweepMs: 20 });
  let opened = 0;
  server.dialogs.on("open", () => void opened++);
  const here = await connect(`ws://127.0.0.1:${server.port}/dialog`, { authorization: "ann" });
  await here.send("kept");
  const feed = new Feed({ log, name: "kept" });
  await feed.publish("kept");
  const orphan = mintHandle(3);
  await log.open(orphan, 7);
  await log.append(orphan, 7, { from: 0, entries: [Uint8Array.of(1)] }, "stored");
  await until("the sweep", async () => !(await log.handles(undefined, 10)).includes(orphan));
  assert.deepEqual(
    new Set(await log.handles(undefined, 10)),
    new Set([feed.handle, parseHandle(here.handle)]),
  );
  assert.equal(await sweepOrphans(server.kernel, log), 0);
  assert.equal(feedHandle("kept"), feed.handle);
  assert.ok(isFeedHandle(feed.handle) && !isFeedHandle(orphan));
  assert.equal(opened, 1);
  here.abort();
  await server.stop();
  await log.close();
});
