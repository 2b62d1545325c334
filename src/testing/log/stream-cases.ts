import assert from "node:assert/strict";
import { isHoldfastError } from "../../kernel/errors.ts";
import type { LogAck, LogBatch, SessionLog } from "../../kernel/log.ts";
import type { Handle } from "../../kernel/secret.ts";
import { logCase } from "./context.ts";
import type { LogHarness } from "./harness.ts";
import { entryBytes, sampleHandle } from "./samples.ts";

const ALL = { entries: 1_000_000, bytes: 1_000_000_000 };
const LEVELS: readonly LogAck[] = ["memory", "stored", "durable"];

function entries(from: number, count: number, epoch = 1): Uint8Array[] {
  return Array.from({ length: count }, (_, index) => entryBytes(from + index, epoch));
}

async function numbers(log: SessionLog, handle: Handle, from = 0): Promise<number[]> {
  return (await log.read(handle, from, ALL)).map((entry) => entry.number);
}

/** What one stream must do, as long as nobody dies. */
export function streamCases(harness: LogHarness): void {
  const ack = harness.strongest === "memory" ? "memory" : "stored";

  logCase(
    harness,
    "entries come back in order and byte by byte, from anywhere and within the limits",
    async ({ open }) => {
      const log = await open();
      const handle = sampleHandle();
      assert.deepEqual(await log.open(handle, 1), { first: 0, next: 0 });
      assert.deepEqual(await log.read(handle, 0, ALL), []);
      const batch = entries(0, 300);
      assert.equal(await log.append(handle, 1, { from: 0, entries: batch }, ack), "appended");
      const all = await log.read(handle, 0, ALL);
      assert.deepEqual(
        all.map((entry) => Buffer.from(entry.bytes).toString("hex")),
        batch.map((one) => Buffer.from(one).toString("hex")),
      );
      assert.deepEqual(
        (await log.read(handle, 250, { entries: 3, bytes: 1e9 })).map((entry) => entry.number),
        [250, 251, 252],
      );
      assert.equal((await log.read(handle, 10, { entries: 9, bytes: 1 })).length, 1);
      assert.deepEqual(await log.read(handle, 300, ALL), []);
    },
  );

  logCase(
    harness,
    "a mark replaces the one before it, together with the entries of its batch",
    async ({ open }) => {
      const log = await open();
      const handle = sampleHandle();
      await log.open(handle, 1);
      const mark = Buffer.from([0, 255, 10, 13, 128]);
      assert.equal(
        await log.append(handle, 1, { from: 0, entries: entries(0, 2), mark: Buffer.from("one") }, ack),
        "appended",
      );
      assert.equal(await log.append(handle, 1, { from: 2, entries: [], mark }, ack), "appended");
      assert.equal(await log.append(handle, 1, { from: 2, entries: entries(2, 1) }, ack), "appended");
      const state = await log.open(handle, 1);
      assert.ok(state !== "fenced");
      assert.equal(state.next, 3);
      assert.deepEqual([...(state.mark ?? [])], [...mark]);
    },
  );

  logCase(harness, "a batch that does not begin where the stream ends is not written", async ({ open }) => {
    const log = await open();
    const handle = sampleHandle();
    assert.equal(
      await log.append(handle, 1, { from: 0, entries: entries(0, 1) }, ack),
      "misplaced",
      "never opened",
    );
    await log.open(handle, 1);
    assert.equal(
      await log.append(handle, 1, { from: 1, entries: entries(1, 1), mark: Buffer.from("no") }, ack),
      "misplaced",
    );
    await log.append(handle, 1, { from: 0, entries: entries(0, 2) }, ack);
    assert.equal(await log.append(handle, 1, { from: 0, entries: entries(0, 1) }, ack), "misplaced");
    assert.deepEqual(await log.open(handle, 1), { first: 0, next: 2 });
  });

  logCase(harness, "many batches under way at once land in the order of the calls", async ({ open }) => {
    const log = await open();
    const streams = Array.from({ length: 5 }, sampleHandle);
    for (const handle of streams) await log.open(handle, 1);
    const calls: Promise<unknown>[] = [];
    for (let from = 0; from < 400; from += 4)
      for (const handle of streams)
        calls.push(
          log.append(handle, 1, { from, entries: entries(from, 4), mark: Buffer.from(`${from + 4}`) }, ack),
        );
    assert.deepEqual(new Set(await Promise.all(calls)), new Set(["appended"]));
    for (const handle of streams) {
      assert.deepEqual(await numbers(log, handle), [...Array(400).keys()]);
      const state = await log.open(handle, 1);
      assert.equal(
        state !== "fenced" && state.mark !== undefined && Buffer.from(state.mark).toString(),
        "400",
      );
    }
  });

  logCase(harness, "what is trimmed is gone in time, the numbers go on", async ({ open }) => {
    const log = await open();
    const handle = sampleHandle();
    await log.open(handle, 1);
    for (let from = 0; from < 100; from += 10)
      await log.append(handle, 1, { from, entries: entries(from, 10), trim: Math.max(0, from - 5) }, ack);
    await log.append(handle, 1, { from: 100, entries: [], trim: 100 }, ack);
    const giveUp = Date.now() + 60_000;
    while ((await numbers(log, handle)).length > 0) {
      assert.ok(Date.now() < giveUp, "trimmed entries stay");
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    const state = await log.open(handle, 1);
    assert.ok(state !== "fenced");
    assert.equal(state.next, 100);
    assert.equal(await log.append(handle, 1, { from: 100, entries: entries(100, 1) }, ack), "appended");
    assert.deepEqual(await numbers(log, handle), [100]);
  });

  logCase(harness, "whoever has the highest epoch writes, and nobody else", async ({ open }) => {
    const one = await open();
    const two = await open();
    const handle = sampleHandle();
    await one.open(handle, 1);
    await one.append(handle, 1, { from: 0, entries: entries(0, 3), mark: Buffer.from("1:3") }, ack);
    const taken = await two.open(handle, 2);
    assert.ok(taken !== "fenced");
    assert.equal(taken.next, 3);
    assert.equal(Buffer.from(taken.mark ?? []).toString(), "1:3");
    assert.equal(await one.append(handle, 1, { from: 3, entries: entries(3, 1) }, ack), "fenced");
    assert.equal(await one.open(handle, 1), "fenced");
    assert.equal(await one.drop(handle, 1), false);
    assert.equal(await two.append(handle, 2, { from: 3, entries: entries(3, 2, 2) }, ack), "appended");
    assert.deepEqual(await numbers(two, handle), [0, 1, 2, 3, 4]);
    const third = await one.open(handle, 3);
    assert.ok(third !== "fenced");
    assert.equal(third.next, 5);
    const fourth = (await one.read(handle, 3, ALL))[0];
    assert.deepEqual(
      [...(fourth?.bytes ?? [])],
      [...entryBytes(3, 2)],
      "not what the fenced one tried to write",
    );
  });

  logCase(
    harness,
    "a stream that is dropped is gone, and one of the same name begins anew",
    async ({ open }) => {
      const log = await open();
      const [one, two] = [sampleHandle(), sampleHandle()];
      for (const handle of [one, two]) {
        await log.open(handle, 1);
        await log.append(handle, 1, { from: 0, entries: entries(0, 5), mark: Buffer.from("m") }, ack);
      }
      assert.equal(await log.drop(one, 1), true);
      assert.equal(await log.drop(one, 1), true);
      assert.deepEqual(await numbers(log, one), []);
      assert.equal(await log.append(one, 1, { from: 5, entries: entries(5, 1) }, ack), "misplaced");
      assert.deepEqual(await log.handles(undefined, 10), [two]);
      assert.deepEqual(await log.open(one, 2), { first: 0, next: 0 });
      assert.deepEqual(await numbers(log, two), [0, 1, 2, 3, 4]);
    },
  );

  logCase(harness, "streams are listed page by page in the order of their handles", async ({ open }) => {
    const log = await open();
    const all = Array.from({ length: 25 }, sampleHandle);
    for (const handle of all) await log.open(handle, 1);
    const found: Handle[] = [];
    for (;;) {
      const page = await log.handles(found.at(-1), 10);
      found.push(...page);
      if (page.length < 10) break;
    }
    assert.deepEqual(found, all.sort());
  });

  logCase(
    harness,
    "an acknowledgement that cannot be given is refused, and a closed log says so",
    async ({ open, data }) => {
      const log = await open();
      const handle = sampleHandle();
      await log.open(handle, 1);
      const batch: LogBatch = { from: 0, entries: entries(0, 1) };
      for (const level of LEVELS) {
        if (LEVELS.indexOf(level) > LEVELS.indexOf(harness.strongest))
          await assert.rejects(log.append(handle, 1, batch, level), (error) =>
            isHoldfastError(error, "unsupported"),
          );
      }
      assert.equal(await log.append(handle, 1, batch, harness.strongest), "appended");
      const closed = await data.open();
      await closed.close();
      await assert.rejects(closed.append(handle, 1, batch, ack), (error) =>
        isHoldfastError(error, "store-closed"),
      );
      await assert.rejects(closed.open(handle, 1), (error) => isHoldfastError(error, "store-closed"));
    },
  );

  logCase(
    harness,
    "when the system below is away, calls are refused in bounded time, and go on when it is back",
    async ({ open, data, t }) => {
      if (data.outage === undefined) return t.skip("nothing below can be away");
      const log = await open();
      const handle = sampleHandle();
      await log.open(handle, 1);
      await log.append(handle, 1, { from: 0, entries: entries(0, 3) }, ack);
      const back = await data.outage();
      const refused = log.append(handle, 1, { from: 3, entries: entries(3, 1) }, ack);
      await assert.rejects(refused, (error) => isHoldfastError(error, "store-unavailable"));
      await assert.rejects(log.read(handle, 0, ALL), (error) => isHoldfastError(error, "store-unavailable"));
      await back();
      const giveUp = Date.now() + 60_000;
      for (;;) {
        try {
          const state = await log.open(handle, 2);
          assert.ok(state !== "fenced");
          assert.ok(state.next === 3 || state.next === 4, "the refused append may have happened, wholly");
          break;
        } catch (error) {
          assert.ok(Date.now() < giveUp && isHoldfastError(error, "store-unavailable"), String(error));
          await new Promise((resolve) => setTimeout(resolve, 50));
        }
      }
    },
  );
}
