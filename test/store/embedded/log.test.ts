import assert from "node:assert/strict";
import {
  cpSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import type { Handle, SessionLog } from "../../../src/kernel/index.ts";
import { embeddedLog } from "../../../src/store/embedded/log.ts";
import { sampleHandle } from "../../../src/testing/log/samples.ts";

const base = mkdtempSync(join(tmpdir(), "holdfast-embedded-"));
after(() => rmSync(base, { recursive: true, force: true }));
let places = 0;
const ALL = { entries: 1e6, bytes: 1e9 };

function place(): string {
  return join(base, `place${places++}`);
}

function segmentsIn(path: string): string[] {
  return readdirSync(path, { recursive: true })
    .map((name) => join(path, String(name)))
    .filter((name) => name.endsWith(".seg"));
}

/** Batches of three entries, each with a mark that says how many there are. */
async function fill(log: SessionLog, handle: Handle, from: number, to: number, epoch = 1): Promise<void> {
  for (let next = from; next < to; next += 3) {
    const entries = [0, 1, 2].map((index) => Buffer.from(`entry ${next + index}`));
    const outcome = await log.append(
      handle,
      epoch,
      { from: next, entries, mark: Buffer.from(`${next + 3}`) },
      "stored",
    );
    assert.equal(outcome, "appended");
  }
}

test("a log that was torn or damaged anywhere gives a prefix of whole batches, with the mark that belongs to it", async (t) => {
  const path = place();
  const log = embeddedLog({ path });
  const handle = sampleHandle();
  await log.open(handle, 1);
  await fill(log, handle, 0, 60);
  await log.close();
  const [file] = segmentsIn(path).filter((name) => statSync(name).size > 0);
  assert.ok(file !== undefined);
  const whole = readFileSync(file);
  const seed = Number(process.env["SEED"] ?? Date.now() % 1e9);
  t.diagnostic(`SEED=${seed}`);
  for (let trial = 0; trial < 60; trial++) {
    const copy = place();
    cpSync(path, copy, { recursive: true });
    const [target] = segmentsIn(copy).filter((name) => statSync(name).size > 0);
    assert.ok(target !== undefined);
    const at = (seed * 31 + trial * 7919) % whole.length;
    if (trial % 2 === 0) truncateSync(target, at);
    else {
      const damaged = Buffer.from(whole);
      damaged[at] = (damaged[at] ?? 0) ^ 0x40;
      writeFileSync(target, damaged);
    }
    const again = embeddedLog({ path: copy });
    const state = await again.open(handle, 2);
    assert.ok(state !== "fenced");
    assert.equal(state.next % 3, 0, `half a batch came back (byte ${at})`);
    assert.equal(Buffer.from(state.mark ?? Buffer.from("0")).toString(), String(state.next));
    const entries = await again.read(handle, 0, ALL);
    assert.deepEqual(
      entries.map((entry) => Buffer.from(entry.bytes).toString()),
      [...Array(state.next).keys()].map((one) => `entry ${one}`),
    );
    await fill(again, handle, state.next, state.next + 3, 2);
    await again.close();
  }
});

test("what is not needed any more gives its room back, also what a dead process left", async () => {
  const path = place();
  const dead = embeddedLog({ path, segmentBytes: 2_000 });
  const handle = sampleHandle();
  await dead.open(handle, 1);
  await fill(dead, handle, 0, 300);
  await dead.append(handle, 1, { from: 300, entries: [], trim: 290 }, "stored");
  await dead.close();
  const before = segmentsIn(path).length;
  assert.ok(before > 5);
  const log = embeddedLog({ path, segmentBytes: 2_000, compactMs: 5 });
  const state = await log.open(handle, 2);
  assert.ok(state !== "fenced" && state.next === 300);
  const giveUp = Date.now() + 60_000;
  while (segmentsIn(path).length > 3 || readdirSync(path).length > 2) {
    assert.ok(Date.now() < giveUp, `${segmentsIn(path).length} segments are left`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  assert.deepEqual(
    (await log.read(handle, 290, ALL)).map((entry) => Buffer.from(entry.bytes).toString()),
    [...Array(10).keys()].map((one) => `entry ${290 + one}`),
  );
  await log.close();
});

test("whatever is appended, trimmed, dropped, compacted and taken over, every stream is as it should be", async (t) => {
  const seed = Number(process.env["SEED"] ?? Date.now() % 1e9);
  t.diagnostic(`SEED=${seed}`);
  let state = seed;
  const pick = (count: number): number => {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0;
    return (state >>> 8) % count;
  };
  const path = place();
  const open = (): SessionLog => embeddedLog({ path, segmentBytes: 600, compactBelow: 0.6, compactMs: 5 });
  const logs = [open(), open()];
  const model = new Map<
    Handle,
    { epoch: number; owner: SessionLog | undefined; first: number; next: number; mark: string }
  >();
  for (let step = 0; step < 1000; step++) {
    const handles = [...model.keys()];
    const handle = handles[pick(Math.max(1, handles.length))];
    const what = pick(20);
    if (handle === undefined || (what === 0 && handles.length < 12)) {
      model.set(sampleHandle(), { epoch: 0, owner: undefined, first: 0, next: 0, mark: "" });
      continue;
    }
    const stream = model.get(handle);
    assert.ok(stream !== undefined);
    if (stream.owner === undefined || what === 1) {
      const log = logs[pick(2)];
      assert.ok(log !== undefined);
      const opened = await log.open(handle, ++stream.epoch);
      assert.ok(opened !== "fenced");
      assert.equal(opened.next, stream.next, `step ${step}`);
      assert.equal(Buffer.from(opened.mark ?? []).toString(), stream.mark, `step ${step}`);
      const found = await log.read(handle, stream.first, ALL);
      assert.deepEqual(
        found.map((entry) => Buffer.from(entry.bytes).toString()),
        [...Array(stream.next - stream.first).keys()].map((one) => `${handle} ${stream.first + one}`),
      );
      stream.owner = log;
    } else if (what === 2) {
      assert.equal(await stream.owner.drop(handle, stream.epoch), true);
      model.delete(handle);
    } else if (what === 3 && pick(4) === 0) {
      // A process ends; its streams are taken over when they are touched next.
      const index = pick(2);
      await logs[index]?.close();
      for (const one of model.values()) if (one.owner === logs[index]) one.owner = undefined;
      logs[index] = open();
    } else if (what === 4) {
      await new Promise((resolve) => setTimeout(resolve, 2));
    } else {
      const entries = Array.from({ length: pick(4) }, (_, index) =>
        Buffer.from(`${handle} ${stream.next + index}`),
      );
      const from = stream.next;
      stream.next += entries.length;
      stream.mark = `mark ${step}`;
      if (pick(3) === 0) stream.first = Math.max(stream.first, stream.next - pick(20));
      const batch = { from, entries, mark: Buffer.from(stream.mark), trim: stream.first };
      assert.equal(
        await stream.owner.append(handle, stream.epoch, batch, "stored"),
        "appended",
        `step ${step}`,
      );
    }
  }
  const compactions = logs.reduce((sum, log) => sum + (log.stats()["compactions"] ?? 0), 0);
  assert.ok(compactions > 0, "nothing was ever compacted");
  const rest = await logs[0]?.handles(undefined, 100);
  const opened = [...model].filter(([, stream]) => stream.epoch > 0).map(([handle]) => handle);
  assert.deepEqual(rest, opened.sort());
  for (const log of logs) await log.close();
});
