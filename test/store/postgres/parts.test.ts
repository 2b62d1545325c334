import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { Change, Following } from "../../../src/kernel/index.ts";
import { isHoldfastError } from "../../../src/kernel/index.ts";
import type { PostgresClient, PostgresRow } from "../../../src/store/postgres/client.ts";
import { Coalescer } from "../../../src/store/postgres/coalescer.ts";
import { column, textArray } from "../../../src/store/postgres/column.ts";
import { formatPlace, parsePlace } from "../../../src/store/postgres/cursor.ts";
import { Database } from "../../../src/store/postgres/database.ts";
import { postgres } from "../../../src/store/postgres/index.ts";
import { Journal } from "../../../src/store/postgres/journal.ts";
import { settingsFrom } from "../../../src/store/postgres/options.ts";
import { Wake } from "../../../src/store/postgres/wake.ts";

test("different texts stay different in a column, and none holds what PostgreSQL cannot", () => {
  const character = fc.constantFrom("a", "\\", "\0", "\ud800", "\udc00", "𝄞", "é", "#", "0", "5c");
  const text = fc.oneof(
    fc.array(character, { maxLength: 12 }).map((parts) => parts.join("")),
    fc.array(character, { minLength: 300, maxLength: 900 }).map((parts) => parts.join("")),
  );
  fc.assert(
    fc.property(text, text, (a, b) => {
      const [one, other] = [column(a), column(b)];
      assert.equal(one === other, a === b);
      for (const each of [one, other]) {
        assert.ok(!/[\0\p{Cs}]/u.test(each));
        assert.ok(Buffer.byteLength(each) <= 1200);
        assert.equal(Buffer.from(each).toString(), each);
      }
    }),
    { numRuns: 2_000 },
  );
});

test("texts become one parameter, with what an array's text gives a meaning to taken by the letter", () => {
  assert.equal(textArray([]), "{}");
  assert.equal(textArray(["a-_0", "", "NULL"]), '{"a-_0","","NULL"}');
  assert.equal(textArray(['"', "\\", "a,b", "{}", " "]), '{"\\"","\\\\","a,b","{}"," "}');
});

test("a cursor says the place it was made from, and nothing else is one", () => {
  const number = fc.bigInt({ min: 0n, max: 2n ** 62n }).map(String);
  const generation = fc.nat().map(String);
  const place = fc.oneof(
    fc.record({
      kind: fc.constant("snapshot" as const),
      generation,
      snapshot: fc
        .tuple(number, number, fc.array(number, { maxLength: 4 }))
        .map(([xmin, xmax, open]) => `${xmin}:${xmax}:${open.join(",")}`),
    }),
    fc.record({
      kind: fc.constant("entry" as const),
      generation,
      horizon: number,
      xid: number,
      seq: fc.nat().map(String),
    }),
  );
  fc.assert(fc.property(place, (one) => assert.deepEqual(parsePlace(formatPlace(one)), { ...one })));
  for (const text of [
    "",
    "now",
    "s",
    "s1-",
    "s1-1:2",
    "s1-1:2:,",
    "e1-1.2",
    "e1-1.2.3.4",
    "x1-1.2.3",
    "e-1.2.3",
    "s1-1:2:3 ",
  ]) {
    assert.equal(parsePlace(text), undefined, text);
  }
});

test("what is asked for in one turn is one batch, and what comes meanwhile is the next", async () => {
  const batches: number[][] = [];
  const held: (() => void)[] = [];
  const coalescer = new Coalescer<number, number>({
    run: async (items) => {
      batches.push([...items]);
      await new Promise<void>((resolve) => held.push(resolve));
      return items.map((item) => item * 10);
    },
    maxBatch: 4,
    lanes: 1,
    timeoutMs: 60_000,
  });
  const first = [1, 2, 3, 4, 5].map((n) => coalescer.do(n));
  await settle();
  assert.deepEqual(batches, [[1, 2, 3, 4]]);
  const second = [6, 7].map((n) => coalescer.do(n));
  await settle();
  held.shift()?.();
  await settle();
  held.shift()?.();
  assert.deepEqual(await Promise.all([...first, ...second]), [10, 20, 30, 40, 50, 60, 70]);
  assert.deepEqual(batches, [
    [1, 2, 3, 4],
    [5, 6, 7],
  ]);
  coalescer.close(new Error("over"));
});

test("two of one identity are never in one batch, and keep their order", async () => {
  const batches: string[][] = [];
  const coalescer = new Coalescer<string, string>({
    run: async (items) => {
      batches.push([...items]);
      return items.map((item) => item.toUpperCase());
    },
    identity: (item) => item.charAt(0),
    maxBatch: 10,
    lanes: 1,
    timeoutMs: 60_000,
  });
  assert.deepEqual(await Promise.all(["a1", "b1", "a2", "c1", "a3"].map((item) => coalescer.do(item))), [
    "A1",
    "B1",
    "A2",
    "C1",
    "A3",
  ]);
  assert.deepEqual(batches, [["a1", "b1", "c1"], ["a2"], ["a3"]]);
  coalescer.close(new Error("over"));
});

test("each has its own time limit, also while it still waits for its turn; closing refuses the rest", async () => {
  let runs = 0;
  const coalescer = new Coalescer<number, number>({
    run: () => {
      runs++;
      return new Promise<never>(() => undefined);
    },
    maxBatch: 1,
    lanes: 1,
    timeoutMs: 30,
  });
  const [hanging, queued] = [coalescer.do(1), coalescer.do(2)];
  for (const one of [hanging, queued]) {
    await assert.rejects(one, (error) => isHoldfastError(error, "store-unavailable"));
  }
  assert.equal(runs, 1, "what nobody waits for any more is not begun");
  const late = coalescer.do(3);
  coalescer.close(new Error("over"));
  await assert.rejects(late, /over/);
  await assert.rejects(coalescer.do(4), /over/);
});

test("a failed batch fails those in it and nobody else", async () => {
  let fail = true;
  const coalescer = new Coalescer<number, number>({
    run: async (items) => {
      if (fail) throw new Error("down");
      return items;
    },
    maxBatch: 10,
    lanes: 2,
    timeoutMs: 60_000,
  });
  await assert.rejects(coalescer.do(1), /down/);
  fail = false;
  assert.equal(await coalescer.do(2), 2);
  coalescer.close(new Error("over"));
});

test("followers that look at one moment share the look, and each is told", async () => {
  let looks = 0;
  let found: PostgresRow = { xid: null };
  const client: PostgresClient = {
    query: async ({ text }) => {
      if (!text.includes("journal_page")) return { rows: [] };
      looks++;
      return { rows: [{ generation: "1", trimmed: "0", snapshot: "10:10:", alive: true, ...found }] };
    },
    on: () => undefined,
    removeListener: () => undefined,
    release: () => undefined,
  };
  const settings = settingsFrom({ pollMs: 60_000 });
  const database = new Database({ connect: async () => client }, settings);
  const wake = new Wake(database, settings);
  const journal = new Journal(database, settings, async () => undefined, wake);
  const over = new AbortController();
  const heard: Change[][] = [[], []];
  const followings = heard.map(() => journal.follow("now", over.signal));
  const ends = followings.map(async (following, i) => {
    for await (const change of following) heard[i]?.push(change);
  });
  const caughtUp = (following: Following): Promise<void> => following.caughtUp();
  await Promise.all(followings.map(caughtUp));
  looks = 0;
  await Promise.all(followings.map(caughtUp));
  assert.equal(looks, 1);
  found = { xid: "9", seq: "1", horizon: "9", entry: '{"at":1,"phase":"governance","event":"note"}' };
  await Promise.all(followings.map(caughtUp));
  assert.equal(looks, 2);
  for (const changes of heard)
    assert.deepEqual(
      changes.map(({ type }) => type),
      ["live", "entries"],
    );
  over.abort();
  wake.close();
  await Promise.all(ends);
});

test("options that make no sense are refused before anything is connected", () => {
  for (const options of [
    { schema: "Robert'); drop" },
    { schema: "pg_mine" },
    { schema: "" },
    { timeoutMs: 0 },
    { timeoutMs: NaN },
    { connections: 1.5 },
    { connections: 1 },
    { journalLimit: -1 },
  ]) {
    assert.throws(
      () => postgres("postgres://127.0.0.1:1/none", options),
      (error) => isHoldfastError(error, "invalid-argument"),
      JSON.stringify(options),
    );
  }
});

function settle(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 5));
}
