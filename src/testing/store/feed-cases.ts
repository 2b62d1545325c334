import assert from "node:assert/strict";

import type { Change, JournalEntry } from "../../kernel/journal.ts";
import type { SessionStore } from "../../kernel/store.ts";
import { inWaves } from "./concurrency.ts";
import { storeCase, until } from "./context.ts";
import type { StoreHarness } from "./harness.ts";
import { end, entryOf, note, put, sampleRecord, step } from "./samples.ts";

/** The journal: timelines, and the feed that keeps caches and nodes coherent. */
export function feedCases(harness: StoreHarness): void {
  storeCase(
    harness,
    "guarantee 10: a timeline tells a session's entries in order, and goes on after a cursor",
    async (c) => {
      const store = await c.open();
      const first = await put(store, sampleRecord({ principal: "ann" }));
      const other = await put(store);
      const second = await step(store, first);
      await store.append([
        { ...entryOf(second, "late-use"), by: "peer", detail: { from: "192.0.2.9", tries: [1, 2] } },
      ]);
      const third = await end(store, second);
      const timeline = await store.timeline(first.handle);
      assert.deepEqual(
        timeline.map((entry) => entry.event),
        ["establish", "update", "late-use", "end"],
      );
      assert.deepEqual(timeline.map(withoutCursor), [
        entryOf(first, "establish"),
        entryOf(second, "update"),
        { ...entryOf(second, "late-use"), by: "peer", detail: { from: "192.0.2.9", tries: [1, 2] } },
        entryOf(third, "end"),
      ]);
      assert.equal(new Set(timeline.map((entry) => entry.cursor)).size, 4);
      const after = timeline[1]?.cursor ?? "";
      assert.deepEqual(await store.timeline(first.handle, { after }), timeline.slice(2));
      assert.deepEqual(await store.timeline(first.handle, { limit: 3 }), timeline.slice(0, 3));
      assert.deepEqual(await store.timeline(first.handle, { after, limit: 1 }), timeline.slice(2, 3));
      assert.equal((await store.timeline(other.handle)).length, 1);
    },
  );

  storeCase(harness, "a session's newest 1,000 entries are kept, however small the journal", async (c) => {
    const store = await c.open({ journalLimit: 10 });
    const record = await put(store);
    for (let i = 0; i < 12; i++) {
      await store.append(
        Array.from({ length: 100 }, (_, n) => ({
          ...entryOf(record, "late-use"),
          detail: { n: i * 100 + n },
        })),
      );
    }
    const timeline = await store.timeline(record.handle, { limit: 5000 });
    assert.ok(timeline.length >= 1000, `${timeline.length} entries`);
    const numbers = timeline.slice(-1000).map((entry) => entry.detail?.["n"]);
    assert.deepEqual(
      numbers,
      Array.from({ length: 1000 }, (_, n) => 200 + n),
    );
  });

  storeCase(
    harness,
    "guarantee 10: a follower from now on hears `live`, then every change as it happens, on every handle",
    async (c) => {
      const [writer, reader] = [await c.open(), await c.open()];
      await put(writer);
      const feed = follow(reader, "now", c.signal);
      await until("live", () => (feed.live ? true : undefined));
      assert.deepEqual(feed.entries, [], "what was before is not told");
      const record = await put(writer, sampleRecord({ principal: "ann" }));
      await writer.raiseEpoch("ann", [], note("epoch", "ann"));
      await end(writer, record);
      const barrier = { id: "b", kind: "lock", selector: { all: true }, reason: "", at: 0 } as const;
      await writer.raiseBarrier(barrier, note("barrier"));
      await writer.liftBarrier("b", note("barrier-lifted"));
      await writer.append([note("note")]);
      await until("six entries", () => (feed.entries.length >= 6 ? true : undefined));
      // Order is promised for each session only.
      assert.deepEqual(
        once(feed.entries)
          .map((entry) => entry.event)
          .sort(),
        ["barrier", "barrier-lifted", "end", "epoch", "establish", "note"],
      );
      assert.deepEqual(
        once(feed.entries).filter((entry) => entry.handle === record.handle),
        await reader.timeline(record.handle),
        "with the cursors of the timeline",
      );
    },
  );

  storeCase(
    harness,
    "guarantee 10: a follower that was away goes on after its cursor, and misses nothing",
    async (c) => {
      const [writer, reader] = [await c.open(), await c.open()];
      const first = follow(reader, "now", c.signal);
      await until("live", () => (first.live ? true : undefined));
      const record = await put(writer);
      const second = await step(writer, record);
      await until("two entries", () => (first.entries.length >= 2 ? true : undefined));
      first.stop();
      await first.over;
      const third = await step(writer, second);
      await end(writer, third);
      const again = follow(await c.open(), first.cursor, c.signal);
      await until("live", () => (again.live ? true : undefined));
      assert.equal(again.gaps, 0);
      const all = once([...first.entries, ...again.entries]).filter(
        (entry) => entry.handle === record.handle,
      );
      assert.deepEqual(
        all.map((entry) => entry.version),
        [1, 2, 3, 4],
      );
      // Every single cursor is a place to go on from, not only the newest.
      const timeline = await reader.timeline(record.handle);
      const middle = follow(reader, timeline[1]?.cursor ?? "", c.signal);
      await until("live", () => (middle.live ? true : undefined));
      const rest = once(middle.entries).filter((entry) => entry.handle === record.handle);
      assert.deepEqual(
        rest.map((entry) => entry.version),
        [3, 4],
      );
    },
  );

  storeCase(
    harness,
    "guarantee 10: followers hear every entry of many writers, in order per session, while cut off again and again",
    async (c) => {
      const writers = [await c.open(), await c.open()];
      const reader = await c.open();
      const start = await liveCursor(reader, "now", c.signal);
      const whole = follow(reader, start, c.signal);
      const sessions = 100;
      const pieces: JournalEntry[] = [];
      let writing = true;
      const cutting = (async () => {
        let cursor = start;
        for (let last = false; !last;) {
          last = !writing;
          const piece = follow(reader, cursor, c.signal);
          await until("live", () => (piece.live ? true : undefined));
          piece.stop();
          await piece.over;
          assert.equal(piece.gaps, 0);
          pieces.push(...piece.entries);
          cursor = piece.cursor;
        }
      })();
      const handles = new Map<string, number>();
      await inWaves(sessions, 20, async (i) => {
        let record = await put(writers[i % 2] as SessionStore, sampleRecord({ principal: `p${i % 7}` }));
        for (let n = 0; n < 8; n++) record = await step(writers[(i + n) % 2] as SessionStore, record);
        record = await end(writers[i % 2] as SessionStore, record);
        handles.set(record.handle, record.version);
      });
      writing = false;
      await cutting;
      await until("all entries", () => (once(whole.entries).length >= sessions * 10 ? true : undefined));
      whole.stop();
      for (const [name, entries] of Object.entries({ whole: whole.entries, pieces })) {
        const heard = once(entries);
        assert.equal(heard.length, sessions * 10, name);
        for (const [handle, version] of handles) {
          const versions = heard.filter((entry) => entry.handle === handle).map((entry) => entry.version);
          assert.deepEqual(
            versions,
            Array.from({ length: version }, (_, n) => n + 1),
            name,
          );
        }
      }
    },
  );

  storeCase(
    harness,
    "guarantee 10: a cursor whose place was trimmed away is told as a gap, and so is one that never was",
    async (c) => {
      const store = await c.open({ journalLimit: 50 });
      const start = await liveCursor(store, "now", c.signal);
      const record = await put(store);
      const first = await until("a gap", async () => {
        await store.append(Array.from({ length: 100 }, () => ({ ...entryOf(record, "late-use") })));
        const feed = follow(store, start, c.signal);
        await until("live", () => (feed.live ? true : undefined));
        feed.stop();
        return feed.first === "gap" ? feed : undefined;
      });
      await put(store);
      const on = follow(store, first.cursor, c.signal);
      await until("an entry", () => (on.live && on.entries.length > 0 ? true : undefined));
      assert.equal(on.gaps, 0, "after a gap there is a place to go on from");
      for (const cursor of ["", "no cursor of ours", "99999999999999", "-1", "\u0000"]) {
        const feed = follow(store, cursor, c.signal);
        await until("live", () => (feed.live ? true : undefined));
        assert.equal(feed.first, "gap", JSON.stringify(cursor));
      }
    },
  );

  storeCase(
    harness,
    "guarantee 10: a follower that catches up has heard of all that was acknowledged before, whoever wrote it",
    async (c) => {
      const [writer, reader] = [await c.open(), await c.open()];
      const feed = follow(reader, "now", c.signal);
      await until("live", () => (feed.live ? true : undefined));
      for (let round = 0; round < 50; round++) {
        const record = await put(writer, sampleRecord(round % 2 === 0 ? { principal: `p${round}` } : {}));
        if (round % 3 === 0) await end(writer, record);
        const events = round % 3 === 0 ? ["establish", "end"] : ["establish"];
        await feed.caughtUp();
        const heard = feed.entries.filter(({ handle }) => handle === record.handle);
        assert.deepEqual(
          heard.map(({ event }) => event),
          events,
          `round ${round}`,
        );
      }
      // Many at once, with nothing to hear of, are all answered.
      await Promise.all(Array.from({ length: 20 }, () => feed.caughtUp()));
      feed.stop();
      await feed.over;
      await assert.rejects(feed.caughtUp(), "nobody iterates any more");
    },
  );

  storeCase(harness, "a feed ends when told to, also while it waits", async (c) => {
    const store = await c.open();
    const feed = follow(store, "now", c.signal);
    await until("live", () => (feed.live ? true : undefined));
    feed.stop();
    await feed.over;
    const stopped = AbortSignal.abort();
    for await (const change of store.changes("now", { signal: stopped }))
      assert.fail(`told of ${change.type}`);
  });
}

interface Feed {
  readonly entries: JournalEntry[];
  /** What the first change was. */
  first: Change["type"] | undefined;
  live: boolean;
  gaps: number;
  cursor: string;
  stop(): void;
  caughtUp(): Promise<void>;
  readonly over: Promise<void>;
}

/** Follows in the background and remembers what it heard. */
export function follow(store: SessionStore, from: string, signal: AbortSignal): Feed {
  const stop = new AbortController();
  const stopped = (): void => stop.abort();
  signal.addEventListener("abort", stopped);
  const changes = store.changes(from, { signal: stop.signal });
  const feed: { -readonly [K in keyof Feed]: Feed[K] } = {
    entries: [],
    first: undefined,
    live: false,
    gaps: 0,
    cursor: from,
    stop: () => stop.abort(),
    caughtUp: () => changes.caughtUp(),
    over: Promise.resolve(),
  };
  feed.over = (async () => {
    for await (const change of changes) {
      feed.first ??= change.type;
      feed.cursor = change.cursor;
      if (change.type === "live") feed.live = true;
      else if (change.type === "gap") feed.gaps += 1;
      else feed.entries.push(...change.entries);
    }
  })();
  // A failure shows where the case waits for the feed, not as an unhandled rejection.
  const forget = (): void => signal.removeEventListener("abort", stopped);
  feed.over.then(forget, forget);
  return feed;
}

/** A cursor after all that was committed by now. */
export async function liveCursor(store: SessionStore, from: string, signal: AbortSignal): Promise<string> {
  const feed = follow(store, from, signal);
  await until("live", () => (feed.live ? true : undefined));
  feed.stop();
  return feed.cursor;
}

/** Delivery is at least once: the entries without their repetitions, in the order in which each was first heard. */
function once(entries: readonly JournalEntry[]): JournalEntry[] {
  return [...new Map(entries.map((entry) => [entry.cursor, entry])).values()];
}

function withoutCursor(entry: JournalEntry): Omit<JournalEntry, "cursor"> {
  const { cursor: _cursor, ...rest } = entry;
  return rest;
}
